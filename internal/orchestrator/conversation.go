package orchestrator

import (
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func addressOf(s *shard, conversation string) topology.Address {
	return topology.Address{Shard: s.n, Conversation: conversation, Channel: events.ChannelTurn}
}

func (c *conversation) apply(m bus.Message) {
	generation := c.state.Generation
	before := c.state.GenLane
	c.state.Apply(m.Folded())
	if c.state.Generation != generation {
		c.requestedAt = before
	}
}

// undone is what was asked for and not begun: its jobs may never have reached
// the queue.
func (c *conversation) undone() []events.Line {
	var lines []events.Line
	if r := c.state.Requested; r != nil && c.state.Open == nil {
		lines = append(lines, events.Line{Event: r})
	}
	for _, call := range c.state.Calls {
		if r := c.state.Asked[call.Call]; r != nil && call.Status == "" && !c.state.Begun[call.Call] {
			lines = append(lines, events.Line{Event: r})
		}
	}
	return lines
}
