package toolworker

import (
	"encoding/json"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// call is a call for a worker to run.
type call struct {
	*stage
	job      *events.ToolJob
	lane     topology.Address
	messages <-chan bus.Message // of the conversation, from its beginning
	subject  string             // of the job
}

// newCall writes the Decision for a call and returns its job without publishing it.
func (s *stage) newCall(arguments string) *call {
	c := &call{stage: s, job: &events.ToolJob{Conversation: conformance.NewID(), Turn: conformance.NewID(), Call: conformance.NewID(), Tool: s.tool.Name,
		Effect: events.EffectPure, Arguments: json.RawMessage(arguments)}}
	c.lane = topology.OfCall(s.Shards(), c.job.Conversation, events.ChannelCall, c.job.Call)
	c.job.Subject = c.lane.Subject(topology.Conv)
	c.job.Output = topology.OfCall(s.Shards(), c.job.Conversation, events.ChannelOut, c.job.Call).Subject(topology.Conv)
	var err error
	c.subject, err = topology.ToolJob(s.tool.Name, c.job.Call)
	s.Must(err)
	c.job.Decision = c.decide(0, events.CallState{Call: c.job.Call, Tool: s.tool.Name})
	messages := make(chan bus.Message, 1000)
	c.messages = messages
	ctx := s.Within(time.Minute)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range s.Conversation(c.job.Conversation).Attach(ctx, bus.From{}) {
			if err != nil {
				return
			}
			messages <- m
		}
	}()
	s.Cleanup(func() { <-done }) // the test's context has ended by then
	return c
}

// decide appends a Decision with these calls in its state.
func (c *call) decide(after uint64, calls ...events.CallState) uint64 {
	return c.Write(topology.At(c.Shards(), c.job.Conversation, events.ChannelTurn), after,
		&events.Decision{State: events.State{Phase: events.PhaseCalling, Turn: c.job.Turn, Calls: calls}})
}

// publish publishes the job to its queue.
func (c *call) publish() *call {
	c.Must(c.Jobs().Publish(c.Within(5*time.Second), c.job.Conversation, c.subject, c.job.Call, c.job))
	return c
}

// write appends to the call's lane as another worker would.
func (c *call) write(after uint64, e events.Event) uint64 { return c.Write(c.lane, after, e) }

// publishInput publishes an input to the conversation.
func (c *call) publishInput(id string, e events.Event) { c.PublishInput(c.job.Conversation, id, e) }

// jobRemoved blocks until the job has left its queue.
func (c *call) jobRemoved(d time.Duration) { c.JobRemoved(c.subject, d) }

// read returns the events of the call's lane.
func (c *call) read() []conformance.Written { return c.ReadLane(c.lane, 0) }

// await blocks until a worker writes an event of a type, and returns it.
func await[E events.Event](c *call, d time.Duration) E {
	end := time.NewTimer(d)
	defer end.Stop()
	for {
		select {
		case m := <-c.messages:
			for _, l := range m.Lines {
				if e, ok := l.Event.(E); ok {
					return e
				}
			}
		case <-c.Context().Done():
			c.Fatalf("the rule's time is up; the lane holds %s", c.lanes())
		case <-end.C:
			var e E
			c.Fatalf("no %s within %v, expected one; the lane holds %s", e.Type(), d, c.lanes())
		}
	}
}

// lanes describes the call's lane for messages.
func (c *call) lanes() string { return conformance.Types(c.read()) }
