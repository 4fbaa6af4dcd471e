package orchestrator

import (
	"context"
	"fmt"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func addressOf(s *shard, conversation string) topology.Address {
	return topology.Address{Shard: s.n, Conversation: conversation, Channel: events.ChannelTurn}
}

// folded is a message of the bus as the fold takes it.
func folded(m bus.Message) accumulator.Message {
	return accumulator.Message{Channel: m.Channel, Call: m.Call, Sequence: m.Sequence, Lines: m.Lines, Bad: m.Bad,
		Position: bus.Cursor{Sequence: m.Sequence, Index: len(m.Lines)}.String()}
}

func (c *conversation) apply(m bus.Message) {
	generation := c.state.Generation
	before := c.state.GenLane
	c.state.Apply(folded(m))
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

// bury puts a message that cannot be read with the dead letters. What stood on
// the in channel is also answered in its conversation.
func (s *shard) bury(ctx context.Context, m bus.Message) {
	id := fmt.Sprintf("%s %d", topology.ConvStream(s.n), m.Sequence)
	if err := s.o.Bus.Bury(ctx, m.Subject, m.Data, m.Bad.Error(), id); err != nil && ctx.Err() == nil {
		s.o.Log.Warn("a dead letter could not be written; the message stays in the log", "subject", m.Subject, "sequence", m.Sequence, "error", err)
	}
}
