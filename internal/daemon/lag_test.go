package daemon_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/topology"
)

// lagScript answers the first message, and makes a call for the second.
const lagScript = `
model: demo
pace: 0
rules:
  - {match: 'first', steps: [{text: The first answer.}]}
  - {match: 'second', steps: [{calls: [{tool: calculate, arguments: {expression: "2+2"}}]}, {text: The second answer.}]}
`

// lagging is a cluster of three servers, one of which misses messages.
type lagging struct {
	*brokertest.Lagging
	t   *testing.T
	log *slog.Logger
}

func newLagging(t *testing.T) *lagging {
	t.Helper()
	c := brokertest.Start(t, brokertest.Slow())
	b, err := bus.Wait(t.Context(), bus.Config{URL: c.URL()}, &topology.Plan{Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	// Only warnings and errors: the test has many turns.
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	return &lagging{c.Behind(topology.ConvStream(0)), t, log}
}

// at returns a deployment connected to one server.
func (l *lagging) at(node int) *deployment {
	l.t.Helper()
	b, err := bus.Wait(l.t.Context(), bus.Config{URL: l.Node(node), Log: l.log}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(b.Close)
	return &deployment{b, l.t, l.log}
}

// fall stops one server, calls fn, which writes through another, and starts the
// server again. It returns the end of the log.
func (l *lagging) fall(b *deployment, fn func()) uint64 {
	l.t.Helper()
	l.Stop(l.Away)
	subjects := []string{"$O." + topology.BucketObjects + ".C.other"}
	for range 4 { // facts, which HISTORY copies
		subjects = append(subjects, topology.OfCall(b.Shards(), newID(l.t), events.ChannelCall, newID(l.t)).Subject(topology.Conv))
	}
	l.Write(subjects...)
	fn()
	end, _, err := b.Shard(0).End(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	l.Serve(l.Away)
	return end
}

// each calls fn for n conversations, 32 at a time.
func (l *lagging) each(n int, fn func(ctx context.Context, i int) error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Minute)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := range n {
		g.Go(func() error { return fn(ctx, i) })
	}
	if err := g.Wait(); err != nil {
		l.t.Fatal(err)
	}
}

// print logs the inputs of a conversation and their answers.
func (l *lagging) print(d *deployment, ids []string, number string) {
	var i int
	if _, err := fmt.Sscan(number, &i); err != nil || i >= len(ids) {
		return
	}
	err := d.Conversation(ids[i]).Facts(l.t.Context(), 0, func(m bus.Message) error {
		for _, line := range m.Lines {
			switch e := line.Event.(type) {
			case *events.Settings:
				l.t.Logf("%d: settings %s", m.Sequence, e.ID)
			case *events.UserMessage:
				l.t.Logf("%d: message %s %q", m.Sequence, e.ID, e.Text)
			case *events.Decision:
				for _, line := range e.Events {
					if a, is := line.Event.(*events.InputAnswered); is {
						l.t.Logf("%d: answered %s %s %s, owner %s", m.Sequence, a.Input, a.Answer, a.Reason, e.Owner)
					}
				}
			}
		}
		return nil
	})
	l.t.Log(err)
}

func systemOf(i int) string { return fmt.Sprintf("You serve customer %d.", i) }

// TestTurnsThroughAReplicaThatLagsHaveTheirTranscript runs the second turn of
// conversations with roles that are connected to a server without the first, and
// checks the requests to the model.
func TestTurnsThroughAReplicaThatLagsHaveTheirTranscript(t *testing.T) {
	n := 60
	if brokertest.Full() {
		n = 300
	}
	l := newLagging(t)
	d := l.at(l.Leader)
	var ids []string
	for range n {
		ids = append(ids, newID(t))
	}
	end := l.fall(d, func() {
		defer d.run(d.orchestrator("first"))()
		defer d.run(d.models("first", scriptFile(t, lagScript)))()
		l.each(n, func(ctx context.Context, i int) error {
			input := newID(t)
			if _, err := d.Conversation(ids[i]).Publish(ctx, input, &events.Settings{ID: input, System: systemOf(i),
				Policy: &events.Policy{Rules: []events.Rule{{Tool: "calculate", Action: events.ActionDeny, Reason: "no sums"}}}}); err != nil {
				return err
			}
			_, _, err := d.tryTurn(ctx, ids[i], fmt.Sprintf("first %d", i))
			return err
		})
	})
	d = l.at(l.Away)
	d.run(d.tools("second", builtins(t)))
	held := l.Holds(l.Away, topology.ConvStream(0))
	models, recorder := d.recorded("second", lagScript)
	d.run(models)
	d.run(d.orchestrator("second"))
	began := time.Now()
	l.each(n, func(ctx context.Context, i int) error {
		_, e, err := d.tryTurn(ctx, ids[i], fmt.Sprintf("second %d", i))
		if err == nil && e.Outcome != events.OutcomeCompleted {
			t.Errorf("turn of conversation %s: %s %s %v", ids[i], e.Outcome, e.Reason, e.Error)
		}
		return err
	})
	t.Logf("%d turns took %s; the node held %d of %d when they began and holds %d", n, time.Since(began).Round(time.Millisecond), held, end, l.Holds(l.Away, topology.ConvStream(0)))
	steps := map[string]int{}
	faults := map[string]bool{} // conversations with a wrong request
	for _, req := range recorder.requests {
		i := requestOf(req)
		steps[i]++
		if fault := faultOf(req, i, steps[i]); fault != "" {
			if !faults[i] {
				t.Errorf("conversation %s, step %d: %s: %q %+v", i, steps[i], fault, req.System, req.Messages)
				l.print(d, ids, i)
			}
			faults[i] = true
		}
	}
	t.Logf("%d of %d turns had no system prompt, transcript or policy", len(faults), n)
	if len(steps) != n {
		t.Errorf("%d of %d conversations called a model", len(steps), n)
	}
}

// requestOf returns the number of a request's conversation, from the last user
// message.
func requestOf(req llm.Request) (n string) {
	for _, m := range req.Messages {
		if m.Role == events.RoleUser {
			for _, p := range m.Parts {
				_, n, _ = strings.Cut(p.Text, "second ")
			}
		}
	}
	return n
}

// faultOf returns what is missing in the request of the second turn.
func faultOf(req llm.Request, n string, step int) string {
	if want := "You serve customer " + n + "."; !strings.Contains(req.System, want) {
		return "no system prompt"
	}
	text := fmt.Sprintf("%+v", req.Messages)
	switch {
	case !strings.Contains(text, "first "+n) || !strings.Contains(text, "The first answer."):
		return "no transcript"
	case step == 2 && !strings.Contains(text, "no sums"):
		return "no policy"
	}
	return ""
}

// TestOnceCallsThroughAReplicaThatLagsRunOnce redelivers jobs of calls that have
// started or ended to a worker that is connected to a server without these events.
func TestOnceCallsThroughAReplicaThatLagsRunOnce(t *testing.T) {
	n := 300
	if brokertest.Full() {
		n = 1500
	}
	l := newLagging(t)
	d := l.at(l.Leader)
	d.presence(3 * time.Second)
	ran := newRuns()
	once := slow{"once", events.EffectOnce, ran}
	jobs := make([]*events.ToolJob, n)
	end := l.fall(d, func() {
		l.each(n, func(ctx context.Context, i int) error {
			j := &events.ToolJob{Conversation: newID(t), Turn: newID(t), Call: newID(t), Tool: "once", Effect: events.EffectOnce, Arguments: []byte("{}")}
			lane := topology.OfCall(d.Shards(), j.Conversation, events.ChannelCall, j.Call)
			j.Subject = lane.Subject(topology.Conv)
			jobs[i] = j
			attempt := newID(t)
			frame, err := events.AppendFrame(nil, &events.ToolStarted{Call: j.Call, Attempt: attempt, Tool: "once", Worker: "killed"})
			if err != nil {
				return err
			}
			after, err := d.Lane(lane).Append(ctx, 0, frame)
			if err != nil || i%3 == 0 { // the worker was killed
				return err
			}
			// The worker was killed before it could acknowledge the job.
			if frame, err = events.AppendFrame(nil, &events.ToolResult{Call: j.Call, Attempt: attempt, Tool: "once", Status: events.StatusOK, Content: "first"}); err == nil {
				_, err = d.Lane(lane).Append(ctx, after, frame)
			}
			return err
		})
	})
	d = l.at(l.Away)
	held, began := l.Holds(l.Away, topology.ConvStream(0)), time.Now()
	d.run(d.tools("second", registry(t, once)))
	queue, err := topology.ToolQueue("once")
	if err == nil {
		err = d.Jobs().EnsureQueue(t.Context(), queue)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.each(n, func(ctx context.Context, i int) error {
		subject, err := topology.ToolJob("once", jobs[i].Call)
		if err != nil {
			return err
		}
		return d.Jobs().Publish(ctx, jobs[i].Conversation, subject, jobs[i].Call, jobs[i])
	})
	until := sync.OnceValue(func() uint64 { return l.Holds(l.Away, topology.ConvStream(0)) })
	l.each(n, func(ctx context.Context, i int) error {
		until()
		return d.endedOnce(ctx, jobs[i], i%3 == 0)
	})
	within(t, "jobs are left", func() bool { return d.jobs() == 0 })
	ran.mu.Lock()
	defer ran.mu.Unlock()
	t.Logf("%d of %d calls ran twice, in %s; the node held %d of %d when they began and %d when they were published", len(ran.calls), n, time.Since(began).Round(time.Millisecond), held, end, until())
	if len(ran.calls) > 0 {
		t.Errorf("%d of %d calls ran twice", len(ran.calls), n)
	}
}

// endedOnce waits for the result of a call; its status is unknown if its worker
// was killed.
func (d *deployment) endedOnce(ctx context.Context, j *events.ToolJob, killed bool) error {
	for m, err := range d.Conversation(j.Conversation).Attach(ctx, bus.From{}) {
		if err != nil {
			return err
		}
		for _, line := range m.Lines {
			r, ok := line.Event.(*events.ToolResult)
			if !ok {
				continue
			}
			if killed != (r.Status == events.StatusUnknown) {
				d.t.Errorf("call %s ended as %s: %s", j.Call, r.Status, r.Content)
			}
			return nil
		}
	}
	return nil
}
