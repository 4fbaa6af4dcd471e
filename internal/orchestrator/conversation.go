package orchestrator

import (
	"slices"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func addressOf(s *shard, conversation string) topology.Address {
	return topology.Address{Shard: s.n, Conversation: conversation, Channel: events.ChannelTurn}
}

func (c *conversation) apply(m bus.Message) {
	c.follow(func() { c.state.Apply(m.Folded()) })
	if m.Channel != events.ChannelGen {
		return
	}
	for _, l := range m.Lines {
		switch e := l.Event.(type) {
		case *events.GenerationStarted:
			c.complete = nil
		case *events.ToolCallEnd:
			c.complete = append(c.complete, e.Block)
		}
	}
}

// arguments returns the raw arguments with which a call runs; false for a call of an
// attempt that was superseded before its answer was complete.
func (c *conversation) arguments(e *events.ToolCallRequested) (string, bool) {
	if _, known := c.state.Transcript.Call(e.Call); known || e.GenerationAttempt == "" {
		return c.state.Transcript.Arguments(e.Call), true
	}
	if c.state.Open == nil {
		return "", false
	}
	return c.state.Open.Arguments(e.Call)
}

// adopt takes over the state of the owner's Decision, stored at sequence
// seq.
func (c *conversation) adopt(draft *accumulator.Conversation, d *events.Decision, seq uint64) {
	c.follow(func() { c.state.Adopt(draft, d, seq) })
}

// follow changes the state and records the position of the gen lane at which
// a generation was requested.
func (c *conversation) follow(change func()) {
	generation, before := c.state.Generation, c.state.GenLane
	change()
	if c.state.Generation != generation {
		c.requestedAt = before
	}
}

// unfinished returns the requests that have no end yet. The job of one that a worker has
// started may be gone with its queue, and the worker too.
func (c *conversation) unfinished() []events.Line {
	var lines []events.Line
	if r := c.state.Requested; r != nil && (c.state.Open == nil || c.state.Open.Ended == nil) {
		lines = append(lines, events.Line{Event: r})
	}
	for _, call := range c.state.Calls {
		if r := c.state.RequestedCalls[call.Call]; r != nil && call.Status == "" {
			lines = append(lines, events.Line{Event: r})
		}
	}
	return lines
}

// unstarted returns the requests that no worker has started: their jobs may
// never have reached the queue.
func (c *conversation) unstarted() []events.Line {
	return slices.DeleteFunc(c.unfinished(), func(l events.Line) bool {
		if call, is := l.Event.(*events.ToolCallRequested); is {
			return c.state.Started[call.Call]
		}
		return c.state.Open != nil
	})
}
