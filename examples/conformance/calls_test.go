package conformance_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// cancel is a Cancel without its id.
type cancel = events.Cancel

// soon bounds the time of immediate actions of a worker on a busy machine. It is
// well below the duration of a call that pauses.
const soon = 10 * time.Second

// pausing returns valid arguments of a call with this duration.
func (l language) pausing(d time.Duration) string {
	return l.good + `,"pause_ms":` + strconv.FormatInt(d.Milliseconds(), 10) + "}"
}

// long returns the arguments of a call that only ends when it is stopped.
func (l language) long() string { return l.pausing(50 * time.Second) }

// running starts a worker and returns a running call.
func running(s *stage, l language, effect events.Effect) (*call, *process) {
	s.t.Helper()
	s.queue(l)
	p := s.start(l, "one")
	c := s.newCall(l, l.long())
	c.job.Effect = effect
	c.publish()
	await[*events.ToolOutput](c, soon)
	return c, p
}

// ended waits for the call's result and job, and checks how it ended.
func (c *call) ended(status events.Status) *events.ToolResult {
	c.t.Helper()
	r := await[*events.ToolResult](c, soon)
	if r.Status != status {
		c.t.Errorf("the call ended as %s (%s), want %s", r.Status, r.Content, status)
	}
	c.jobRemoved(soon)
	return r
}

// untouched waits for the job to be acknowledged and checks that the lane holds
// as many events as before, and that there was no output.
func (c *call) untouched(want int) {
	c.t.Helper()
	c.jobRemoved(soon)
	if got := c.read(); len(got) != want {
		c.t.Errorf("want %d events, the lane holds %s", want, c.lanes())
	}
	c.notRun()
}

// notRun checks that the tool published no output.
func (c *call) notRun() {
	c.t.Helper()
	out, err := c.js.Stream(c.t.Context(), topology.ConvStream(c.lane.Shard))
	c.done(err)
	if _, err := out.GetLastMsgForSubject(c.t.Context(), c.job.Output); err == nil {
		c.t.Error("the tool was run: it published output")
	}
}

func heartbeats(s *stage, l language) {
	s.queue(l)
	s.start(l, "one")
	c := s.newCall(l, l.pausing(2*ackWait)).publish()
	if r := c.ended(events.StatusOK); !strings.Contains(r.Content, l.answer) {
		s.t.Errorf("the result is %q", r.Content)
	}
	if all := c.read(); len(all) != 2 {
		s.t.Errorf("the job was handed out more than once: the lane holds %s", c.lanes())
	}
}

// large returns arguments that need several chunks of an object.
func (l language) large(arguments string) string {
	return arguments + `,"padding":"` + strings.Repeat("x", 300<<10) + `"}`
}

// claimed publishes a claim in place of the call's job.
func (c *call) claimed(object *events.Object) *call {
	c.t.Helper()
	c.done(c.Jobs().Publish(c.within(soon), c.job.Conversation, c.subject, c.job.Call, &events.Claim{Of: c.job.Type(), Object: *object}))
	return c
}

func fetchesClaims(s *stage, l language) {
	s.queue(l)
	s.start(l, "one")
	c := s.newCall(l, l.large(l.good))
	frame, err := events.AppendFrame(nil, c.job)
	s.done(err)
	object, err := s.Objects().Put(s.within(soon), c.job.Conversation, frame)
	s.done(err)
	if r := c.claimed(object).ended(events.StatusOK); !strings.Contains(r.Content, l.answer) {
		s.t.Errorf("the result is %q", r.Content)
	}
}

// ignoresForgeries stores other descriptions of a job's object, as any worker may:
// before and after the right one, of another job with the same size.
func ignoresForgeries(s *stage, l language) {
	s.queue(l)
	s.start(l, "one")
	c := s.newCall(l, l.large(l.good))
	frame, err := events.AppendFrame(nil, c.job)
	s.done(err)
	other := *c.job
	other.Arguments = json.RawMessage(l.large(l.wrong))
	forged, err := events.AppendFrame(nil, &other)
	s.done(err)
	forged = append(forged, strings.Repeat(" ", max(len(frame)-len(forged), 0))...)
	sum := sha256.Sum256(frame)
	name := c.job.Conversation + "/" + hex.EncodeToString(sum[:])
	nc, _ := s.accounts.Connect(s.t, string(topology.LLMWorker))
	store := func(subject string, data []byte) {
		s.t.Helper()
		answer, err := nc.RequestWithContext(s.within(soon), subject, data)
		s.done(err)
		if !strings.Contains(string(answer.Data), `"seq"`) {
			s.t.Fatalf("the server answers %s", answer.Data)
		}
	}
	forge := func(id string) {
		s.t.Helper()
		store(topology.ChunksSubject(id), forged)
		store(topology.ObjectSubject(name), fmt.Appendf(nil, `{"name":%q,"bucket":%q,"nuid":%q,"size":%d,"chunks":1}`, name, topology.BucketObjects, id, len(frame)))
	}
	store(topology.ObjectSubject(name), []byte("no description"))
	store(topology.ObjectSubject(name), fmt.Appendf(nil, `{"name":%q,"nuid":"* >","size":%d}`, name, len(frame)))
	forge("before")
	object, err := s.Objects().Put(s.within(soon), c.job.Conversation, frame)
	s.done(err)
	if object.Name != name {
		s.t.Fatalf("the object is named %s, the descriptions were stored under %s", object.Name, name)
	}
	forge("after")
	if r := c.claimed(object).ended(events.StatusOK); !strings.Contains(r.Content, l.answer) {
		s.t.Errorf("the result is %q", r.Content)
	}
}

func leavesResults(s *stage, l language) {
	s.queue(l)
	c := s.newCall(l, l.good+"}")
	attempt := newID()
	at := c.write(0, &events.ToolStarted{Call: c.job.Call, Attempt: attempt, Tool: l.tool, Worker: "before"})
	c.write(at, &events.ToolResult{Call: c.job.Call, Attempt: attempt, Tool: l.tool, Status: events.StatusOK, Content: "from before"})
	s.start(l, "one")
	c.publish().untouched(2)
}

func leavesStale(s *stage, l language) {
	s.queue(l)
	c := s.newCall(l, l.good+"}")
	c.decide(c.job.Decision, events.CallState{Call: c.job.Call, Tool: l.tool, Status: events.StatusCancelled})
	s.start(l, "one")
	c.publish().untouched(0)
	c = s.newCall(l, l.good+"}")
	c.decide(c.job.Decision) // the turn is over
	c.publish().untouched(0)
}

func startsThenEnds(s *stage, l language) {
	s.queue(l)
	s.start(l, "one")
	for range 3 { // later calls show whether earlier ones left state behind
		c := s.newCall(l, l.good+"}").publish()
		if r := c.ended(events.StatusOK); !strings.Contains(r.Content, l.answer) || r.Tool != l.tool {
			s.t.Errorf("the result is %+v", r)
		}
		all := c.read()
		if len(all) != 2 {
			s.t.Fatalf("the lane holds %s", c.lanes())
		}
		start, first := all[0].event.(*events.ToolStarted)
		end, second := all[1].event.(*events.ToolResult)
		if !first || !second {
			s.t.Fatalf("the lane holds %s", c.lanes())
		}
		if start.Call != c.job.Call || start.Tool != l.tool || !named(start.Worker, "one") || start.Delivery != 1 || topology.CheckID("attempt", start.Attempt) != nil || start.Attempt[14] != '7' {
			s.t.Errorf("the start is %+v", start)
		}
		if end.Call != c.job.Call || end.Attempt != start.Attempt {
			s.t.Errorf("the result is %+v, of the start %+v", end, start)
		}
		if all[0].after != "0" || all[1].after != strconv.FormatUint(all[0].at, 10) {
			s.t.Errorf("the start expects the last sequence %q, the result %q, and the start is at %d", all[0].after, all[1].after, all[0].at)
		}
		for _, w := range all {
			if w.header[jetstream.MsgIDHeader] != nil {
				s.t.Errorf("a %s has a message id: the expected sequence already refuses duplicates", w.event.Type())
			}
		}
	}
}

func showsOutput(s *stage, l language) {
	c, _ := running(s, l, events.EffectPure)
	all := c.read()
	if len(all) != 1 {
		s.t.Fatalf("during the call the lane holds %s", c.lanes())
	}
	conv, err := s.js.Stream(s.t.Context(), topology.ConvStream(c.lane.Shard))
	s.done(err)
	m, err := conv.GetMsg(s.t.Context(), 1, jetstream.WithGetMsgSubject(c.job.Output))
	s.done(err)
	lines, err := events.DecodeFrame(m.Data)
	s.done(err)
	out, ok := lines[0].Event.(*events.ToolOutput)
	if start := all[0].event.(*events.ToolStarted); !ok || out.Call != c.job.Call || out.Attempt != start.Attempt || out.Index != 0 || out.Text == "" {
		s.t.Errorf("the first output is %s", m.Data)
	}
}

func fails(s *stage, l language) {
	s.queue(l)
	s.start(l, "one")
	c := s.newCall(l, l.wrong+"}").publish()
	if r := c.ended(events.StatusFailed); r.Content == "" {
		s.t.Error("the result has no reason")
	}
}

func timesOut(s *stage, l language) {
	s.queue(l)
	s.start(l, "one")
	c := s.newCall(l, l.long())
	c.job.TimeoutMS = 300
	c.publish().ended(events.StatusTimeout)
}

func cancels(which func(c *call) cancel) func(*stage, language) {
	return func(s *stage, l language) {
		c, _ := running(s, l, events.EffectPure)
		e := which(c)
		e.ID = newID()
		c.publishInput(e.ID, &e)
		c.ended(events.StatusCancelled)
	}
}

func ignoresOthers(s *stage, l language) {
	s.queue(l)
	s.start(l, "one")
	c := s.newCall(l, l.pausing(time.Second)).publish()
	await[*events.ToolOutput](c, soon)
	for _, text := range []string{"no event", `{"type":"Claim","of":"Cancel","object":{"bucket":"PARLEY_OBJECTS","name":"missing","size":9,"sha256":"00"}}`} {
		_, err := s.js.Publish(c.within(soon), topology.At(s.Shards(), c.job.Conversation, events.ChannelIn).Subject(topology.Conv), []byte(text))
		s.done(err)
	}
	for _, e := range []cancel{{}, {Scope: "all"}, {Call: newID()}, {Turn: newID()}, {Scope: "queue"}, {Turn: c.job.Turn, Scope: "queue"}} {
		e.ID = newID()
		c.publishInput(e.ID, &e)
	}
	c.decide(c.job.Decision, events.CallState{Call: newID(), Tool: "other"}, events.CallState{Call: c.job.Call, Tool: l.tool})
	c.ended(events.StatusOK)
}

func heedsDecisions(s *stage, l language) {
	c, _ := running(s, l, events.EffectPure)
	c.decide(c.job.Decision, events.CallState{Call: c.job.Call, Tool: l.tool, Status: events.StatusSuperseded})
	c.ended(events.StatusCancelled)
}

func neverTwice(s *stage, l language) {
	s.queue(l)
	c := s.newCall(l, l.good+"}")
	c.job.Effect = events.EffectOnce
	at := c.write(0, &events.ToolStarted{Call: c.job.Call, Attempt: newID(), Tool: l.tool})
	s.start(l, "one")
	r := c.publish().ended(events.StatusUnknown)
	c.counts(r)
	if all := c.read(); all[1].after != strconv.FormatUint(at, 10) {
		s.t.Errorf("the second start expects the last sequence %s, the first is at %d", all[1].after, at)
	}
	c.untouched(len(c.read()))
}

// counts checks that the result is of the attempt that started last.
func (c *call) counts(r *events.ToolResult) {
	c.t.Helper()
	attempt := ""
	for _, w := range c.read() {
		if start, ok := w.event.(*events.ToolStarted); ok {
			attempt = start.Attempt
		}
	}
	if attempt == "" || r.Attempt != attempt {
		c.t.Errorf("the result is of attempt %q, the last that started is %q: the lane holds %s", r.Attempt, attempt, c.lanes())
	}
}

func yields(s *stage, l language) {
	c, _ := running(s, l, events.EffectPure)
	other := newID()
	at := c.write(c.read()[0].at, &events.ToolStarted{Call: c.job.Call, Attempt: other, Tool: l.tool, Worker: "other"})
	id := newID()
	c.publishInput(id, &cancel{ID: id, Turn: c.job.Turn}) // the call ends, and its worker tries to write its result
	end := c.write(at, &events.ToolResult{Call: c.job.Call, Attempt: other, Tool: l.tool, Status: events.StatusOK, Content: "theirs"})
	c.jobRemoved(2 * soon)
	if all := c.read(); all[len(all)-1].at != end {
		s.t.Errorf("after the other worker's result the lane holds %s", c.lanes())
	}
}

func givesUp(s *stage, l language) {
	s.queue(l)
	c := s.newCall(l, l.good+"}")
	var at uint64
	for range topology.JobAttempts {
		at = c.write(at, &events.ToolStarted{Call: c.job.Call, Attempt: newID(), Tool: l.tool})
	}
	c.publish()
	s.start(l, "one")
	r := c.ended(events.StatusFailed)
	c.counts(r)
	c.notRun()
}

// leavesRunning redelivers the job of a worker that is present, and then is not. It
// has withdrawn the tool: it still runs what it has started.
func leavesRunning(s *stage, l language) {
	s.queue(l)
	other, offer := "other-worker", bus.Offer{Kind: "tool", Name: l.tool, Worker: "other-worker", Withdrawn: true}
	ctx, leave := context.WithCancel(s.within(time.Minute))
	s.done(s.Presence().Announce(ctx, []bus.Offer{offer}))
	left := make(chan error, 1)
	go func() { left <- s.Presence().Stay(ctx, []bus.Offer{offer}) }()
	c := s.newCall(l, l.good+"}")
	c.write(0, &events.ToolStarted{Call: c.job.Call, Attempt: newID(), Tool: l.tool, Worker: other})
	s.start(l, "one")
	c.publish()
	select {
	case <-time.After(topology.PresenceTTL + ackWait): // the lifetime of a dead worker's key
	case <-c.started():
		s.t.Errorf("the job of a present worker was taken: the lane holds %s", c.lanes())
	}
	leave()
	<-left
	c.ended(events.StatusOK)
}

// started is closed when the lane holds a second start.
func (c *call) started() <-chan struct{} {
	twice := make(chan struct{})
	starts, ctx := 0, c.within(time.Minute)
	stop, over := context.WithCancel(ctx)
	done := make(chan struct{})
	c.t.Cleanup(func() { over(); <-done })
	go func() {
		defer close(done)
		for m, err := range c.Conversation(c.job.Conversation).Attach(stop, bus.From{}) {
			if err != nil {
				return
			}
			for _, l := range m.Lines {
				if _, ok := l.Event.(*events.ToolStarted); ok {
					if starts++; starts == 2 {
						close(twice)
					}
				}
			}
		}
	}()
	return twice
}

func takesReleased(s *stage, l language) {
	s.queue(l)
	c := s.newCall(l, l.good+"}")
	attempt := newID()
	at := c.write(0, &events.ToolStarted{Call: c.job.Call, Attempt: attempt, Tool: l.tool, Worker: "other-worker"})
	c.write(at, &events.ToolReleased{Call: c.job.Call, Attempt: attempt})
	s.start(l, "one")
	c.publish().ended(events.StatusOK)
}

func runsOutsideTurns(s *stage, l language) {
	s.queue(l)
	s.start(l, "one")
	c := s.newCall(l, l.pausing(time.Second))
	at := c.decide(c.job.Decision, events.CallState{Call: newID(), Tool: l.tool})
	c.job.Decision = 0
	c.publish()
	await[*events.ToolOutput](c, soon)
	c.decide(at)
	id := newID()
	c.publishInput(id, &cancel{ID: id, Scope: events.ScopeTurn})
	c.ended(events.StatusOK)
}
