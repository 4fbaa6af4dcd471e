package toolworker

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// cancel is a Cancel without its id.
type cancel = events.Cancel

// running starts a worker and returns a running call.
func running(s *stage, effect events.Effect) (*call, *conformance.Process) {
	s.MakeQueue(s.served)
	p := s.start("one")
	c := s.newCall(s.tool.long())
	c.job.Effect = effect
	c.publish()
	await[*events.ToolOutput](c, conformance.Soon)
	return c, p
}

// ended waits for the call's result and job, and checks how it ended.
func (c *call) ended(status events.Status) *events.ToolResult {
	r := await[*events.ToolResult](c, conformance.Soon)
	if r.Status != status {
		c.Errorf("the call ended as %s (%s), expected %s", r.Status, r.Content, status)
	}
	c.jobRemoved(conformance.Soon)
	return r
}

// succeeded waits for a result ok, and checks its text.
func (c *call) succeeded() *events.ToolResult {
	r := c.ended(events.StatusOK)
	if r.Content == "" || !strings.Contains(r.Content, c.tool.Answer) {
		c.Errorf("the result's content is %q, expected one with %q", r.Content, c.tool.Answer)
	}
	return r
}

// untouched waits for the job to be acknowledged and checks that the lane holds
// as many events as before, and that there was no output.
func (c *call) untouched(want int) {
	c.jobRemoved(conformance.Soon)
	if got := c.read(); len(got) != want {
		c.Errorf("the lane holds %s, expected %d as before", c.lanes(), want)
	}
	c.notRun()
}

// notRun checks that the tool published no output.
func (c *call) notRun() {
	out, err := c.JS.Stream(c.Context(), topology.ConvStream(c.lane.Shard))
	c.Must(err)
	if _, err := out.GetLastMsgForSubject(c.Context(), c.job.Output); err == nil {
		c.Errorf("the tool was run: it published output; expected it not to run")
	}
}

func heartbeats(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	c := s.newCall(s.tool.pausing(2 * conformance.AckWait)).publish()
	c.succeeded()
	if all := c.read(); len(all) != 2 {
		s.Errorf("the job was delivered more than once: the lane holds %s, expected 2", c.lanes())
	}
}

// claimed publishes a claim in place of the call's job.
func (c *call) claimed(object *events.Object) *call {
	c.Must(c.Jobs().Publish(c.Within(conformance.Soon), c.job.Conversation, c.subject, c.job.Call, &events.Claim{Of: c.job.Type(), Object: *object}))
	return c
}

func fetchesClaims(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	c := s.newCall(large(s.tool.Arguments))
	frame, err := events.AppendFrame(nil, c.job)
	s.Must(err)
	c.claimed(s.Put(c.job.Conversation, frame)).succeeded()
}

// ignoresForgeries stores other descriptions of a job's object, as any worker may:
// before and after the right one, of another job with the same size.
func ignoresForgeries(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	c := s.newCall(large(s.tool.Arguments))
	frame, err := events.AppendFrame(nil, c.job)
	s.Must(err)
	other := *c.job
	other.Arguments = json.RawMessage(large(s.tool.Failing))
	forged, err := events.AppendFrame(nil, &other)
	s.Must(err)
	c.claimed(s.Forge(c.job.Conversation, frame, forged)).succeeded()
}

func leavesResults(s *stage) {
	s.MakeQueue(s.served)
	c := s.newCall(s.tool.Arguments)
	attempt := conformance.NewID()
	at := c.write(0, &events.ToolStarted{Call: c.job.Call, Attempt: attempt, Tool: s.tool.Name, Worker: "before"})
	c.write(at, &events.ToolResult{Call: c.job.Call, Attempt: attempt, Tool: s.tool.Name, Status: events.StatusOK, Content: "from before"})
	s.start("one")
	c.publish().untouched(2)
}

func leavesStale(s *stage) {
	s.MakeQueue(s.served)
	c := s.newCall(s.tool.Arguments)
	c.decide(c.job.Decision, events.CallState{Call: c.job.Call, Tool: s.tool.Name, Status: events.StatusCancelled})
	s.start("one")
	c.publish().untouched(0)
	c = s.newCall(s.tool.Arguments)
	c.decide(c.job.Decision) // the turn is over
	c.publish().untouched(0)
}

func startsThenEnds(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	for range 3 { // later calls show whether earlier ones left state behind
		c := s.newCall(s.tool.Arguments).publish()
		if r := c.succeeded(); r.Tool != s.tool.Name {
			s.Errorf("the result names tool %q, expected %q", r.Tool, s.tool.Name)
		}
		all := c.read()
		if len(all) != 2 {
			s.Fatalf("the lane holds %s, expected a ToolStarted and a ToolResult", c.lanes())
		}
		start, first := all[0].Event.(*events.ToolStarted)
		end, second := all[1].Event.(*events.ToolResult)
		if !first || !second {
			s.Fatalf("the lane holds %s, expected a ToolStarted and a ToolResult", c.lanes())
		}
		if start.Call != c.job.Call || start.Tool != s.tool.Name || !conformance.Named(start.Worker, "one") || start.Delivery != 1 || !conformance.IsUUIDv7(start.Attempt) {
			s.Errorf("the start is %s, expected a new UUIDv7 as attempt, the call, the tool, the worker's unique name, and delivery 1", all[0].Raw)
		}
		if end.Call != c.job.Call || end.Attempt != start.Attempt {
			s.Errorf("the result is %s after the start %s, expected its call and attempt", all[1].Raw, all[0].Raw)
		}
		if !all[0].Follows(0) || !all[1].Follows(all[0].At) {
			s.Errorf("header Nats-Expected-Last-Subject-Sequence: the start has %q, the result %q; expected 0 and %d, the sequence of the start", all[0].After, all[1].After, all[0].At)
		}
		for _, w := range all {
			if w.Header[jetstream.MsgIDHeader] != nil {
				s.Errorf("a %s has the header Nats-Msg-Id, expected none: the expected sequence already refuses duplicates", w.Event.Type())
			}
		}
	}
}

func showsOutput(s *stage) {
	c, _ := running(s, events.EffectPure)
	all := c.read()
	if len(all) != 1 {
		s.Fatalf("during the call the lane holds %s, expected a ToolStarted", c.lanes())
	}
	conv, err := s.JS.Stream(s.Context(), topology.ConvStream(c.lane.Shard))
	s.Must(err)
	m, err := conv.GetMsg(s.Context(), 1, jetstream.WithGetMsgSubject(c.job.Output))
	s.Must(err)
	lines, err := events.DecodeFrame(m.Data)
	s.Must(err)
	out, ok := lines[0].Event.(*events.ToolOutput)
	if start := all[0].Event.(*events.ToolStarted); !ok || out.Call != c.job.Call || out.Attempt != start.Attempt || out.Index != 0 || out.Text == "" {
		s.Errorf("the first output is %s, expected a ToolOutput with the call, the attempt of its start, index 0 and a text", m.Data)
	}
}

func fails(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	c := s.newCall(s.tool.Failing).publish()
	if r := c.ended(events.StatusFailed); r.Content == "" {
		s.Errorf("the result has no content, expected a text that says why it failed")
	}
}

func timesOut(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	c := s.newCall(s.tool.long())
	c.job.TimeoutMS = 300
	c.publish().ended(events.StatusTimeout)
}

func cancels(which func(c *call) cancel) func(*stage) {
	return func(s *stage) {
		c, _ := running(s, events.EffectPure)
		e := which(c)
		e.ID = conformance.NewID()
		c.publishInput(e.ID, &e)
		c.ended(events.StatusCancelled)
	}
}

func ignoresOthers(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	c := s.newCall(s.tool.pausing(time.Second)).publish()
	await[*events.ToolOutput](c, conformance.Soon)
	for _, text := range []string{"no event", `{"type":"Claim","of":"Cancel","object":{"bucket":"PARLEY_OBJECTS","name":"missing","size":9,"sha256":"00"}}`} {
		_, err := s.JS.Publish(c.Within(conformance.Soon), topology.At(s.Shards(), c.job.Conversation, events.ChannelIn).Subject(topology.Conv), []byte(text))
		s.Must(err)
	}
	for _, e := range []cancel{{}, {Scope: "all"}, {Call: conformance.NewID()}, {Turn: conformance.NewID()}, {Scope: "queue"}, {Turn: c.job.Turn, Scope: "queue"}} {
		e.ID = conformance.NewID()
		c.publishInput(e.ID, &e)
	}
	c.decide(c.job.Decision, events.CallState{Call: conformance.NewID(), Tool: "other"}, events.CallState{Call: c.job.Call, Tool: s.tool.Name})
	c.ended(events.StatusOK)
}

func heedsDecisions(s *stage) {
	c, _ := running(s, events.EffectPure)
	c.decide(c.job.Decision, events.CallState{Call: c.job.Call, Tool: s.tool.Name, Status: events.StatusSuperseded})
	c.ended(events.StatusCancelled)
}

func neverTwice(s *stage) {
	s.MakeQueue(s.served)
	c := s.newCall(s.tool.Arguments)
	c.job.Effect = events.EffectOnce
	at := c.write(0, &events.ToolStarted{Call: c.job.Call, Attempt: conformance.NewID(), Tool: s.tool.Name})
	s.start("one")
	r := c.publish().ended(events.StatusUnknown)
	c.counts(r)
	if all := c.read(); !all[1].Follows(at) {
		s.Errorf("the second start expects the last sequence %s, expected %d, that of the first", all[1].After, at)
	}
	c.untouched(len(c.read()))
}

// counts checks that the result is of the attempt that started last.
func (c *call) counts(r *events.ToolResult) {
	attempt := ""
	for _, w := range c.read() {
		if start, ok := w.Event.(*events.ToolStarted); ok {
			attempt = start.Attempt
		}
	}
	if attempt == "" || r.Attempt != attempt {
		c.Errorf("the result is of attempt %q, expected %q, the last that started: the lane holds %s", r.Attempt, attempt, c.lanes())
	}
}

func yields(s *stage) {
	c, _ := running(s, events.EffectPure)
	other := conformance.NewID()
	at := c.write(c.read()[0].At, &events.ToolStarted{Call: c.job.Call, Attempt: other, Tool: s.tool.Name, Worker: "other"})
	id := conformance.NewID()
	c.publishInput(id, &cancel{ID: id, Turn: c.job.Turn}) // the call ends, and its worker tries to write its result
	end := c.write(at, &events.ToolResult{Call: c.job.Call, Attempt: other, Tool: s.tool.Name, Status: events.StatusOK, Content: "theirs"})
	c.jobRemoved(2 * conformance.Soon)
	if all := c.read(); all[len(all)-1].At != end {
		s.Errorf("after the other worker's result it wrote more: the lane holds %s", c.lanes())
	}
}

func givesUp(s *stage) {
	s.MakeQueue(s.served)
	c := s.newCall(s.tool.Arguments)
	var at uint64
	for range topology.JobAttempts {
		at = c.write(at, &events.ToolStarted{Call: c.job.Call, Attempt: conformance.NewID(), Tool: s.tool.Name})
	}
	c.publish()
	s.start("one")
	r := c.ended(events.StatusFailed)
	c.counts(r)
	c.notRun()
}

// leavesRunning redelivers the job of a worker that is present, and then is not. It
// has withdrawn the tool: it still runs what it has started.
func leavesRunning(s *stage) {
	s.MakeQueue(s.served)
	other, offer := "other-worker", bus.Offer{Kind: "tool", Name: s.tool.Name, Worker: "other-worker", Withdrawn: true}
	ctx, leave := context.WithCancel(s.Within(time.Minute))
	s.Must(s.Presence().Announce(ctx, []bus.Offer{offer}))
	left := make(chan error, 1)
	go func() { left <- s.Presence().Stay(ctx, []bus.Offer{offer}) }()
	c := s.newCall(s.tool.Arguments)
	c.write(0, &events.ToolStarted{Call: c.job.Call, Attempt: conformance.NewID(), Tool: s.tool.Name, Worker: other})
	s.start("one")
	c.publish()
	select {
	case <-time.After(topology.PresenceTTL + conformance.AckWait): // the lifetime of a dead worker's key
	case <-c.started():
		s.Errorf("it took the job of a worker whose key exists: the lane holds %s", c.lanes())
	}
	leave()
	<-left
	c.ended(events.StatusOK)
}

// started is closed when the lane holds a second start.
func (c *call) started() <-chan struct{} {
	twice := make(chan struct{})
	starts, ctx := 0, c.Within(time.Minute)
	stop, over := context.WithCancel(ctx)
	done := make(chan struct{})
	c.Cleanup(func() { over(); <-done })
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

func takesReleased(s *stage) {
	s.MakeQueue(s.served)
	c := s.newCall(s.tool.Arguments)
	attempt := conformance.NewID()
	at := c.write(0, &events.ToolStarted{Call: c.job.Call, Attempt: attempt, Tool: s.tool.Name, Worker: "other-worker"})
	c.write(at, &events.ToolReleased{Call: c.job.Call, Attempt: attempt})
	s.start("one")
	c.publish().ended(events.StatusOK)
}

func runsOutsideTurns(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	c := s.newCall(s.tool.pausing(time.Second))
	at := c.decide(c.job.Decision, events.CallState{Call: conformance.NewID(), Tool: s.tool.Name})
	c.job.Decision = 0
	c.publish()
	await[*events.ToolOutput](c, conformance.Soon)
	c.decide(at)
	id := conformance.NewID()
	c.publishInput(id, &cancel{ID: id, Scope: events.ScopeTurn})
	c.ended(events.StatusOK)
}
