package orchestrator

import (
	"cmp"
	"context"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// maxUndecided is how many bytes of fetched payloads a conversation holds before it
// decides on them. Messages beyond it stay in its inbox as they came.
const maxUndecided = 16 << 20

// largeRate is how many bytes of large inputs an orchestrator reads in a second, behind
// the first [ceilings.MostInputBytes]: large inputs take their turns, so that
// conversations without any get the processors in between.
const largeRate = 4 << 20

// largeInline is from how many bytes on an input that is in its message is a large one.
const largeInline = 64 << 10

// inlineSize returns the bytes of the inputs of a message that are in it.
func inlineSize(m bus.Message) (size int) {
	if m.Channel != events.ChannelIn || m.Claim() != nil {
		return 0
	}
	for _, l := range m.Lines {
		size += len(l.Raw)
	}
	return size
}

// takeTurn blocks until a large input of a size is to be read.
func (s *shard) takeTurn(ctx context.Context, size int) error {
	if err := s.o.large.WaitN(ctx, max(min(size, s.o.large.Burst()), 0)); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}

// applyInbox applies the messages that have arrived, until their payloads have to be
// decided on first. It returns the messages that it has not applied.
//
// Payloads are fetched here, not by the goroutine that follows the log: a large
// object delays its own conversation only.
func (s *shard) applyInbox(ctx context.Context, c *conversation, t pendingWork) (rest []bus.Message, err error) {
	var held int64
	for i, m := range t.inbox {
		if claim := m.Claim(); claim != nil {
			if held >= maxUndecided || !t.live && m.Channel == events.ChannelIn {
				return t.inbox[i:], nil
			}
			if err := s.fetch(ctx, c, &m, claim); err != nil {
				return t.inbox[i:], err
			}
			if m.Bad == nil {
				held += claim.Object.Size
			}
		}
		if size := inlineSize(m); size >= largeInline && t.live {
			if err := s.takeTurn(ctx, size); err != nil {
				return t.inbox[i:], err
			}
		}
		if m.Bad != nil {
			s.strays.deadLetter(ctx, m)
		}
		c.apply(m)
	}
	return nil, nil
}

// fetch fetches what a message claims, unless it exceeds a ceiling: then it is a
// message that cannot be read.
//
// Inputs in a row that refer to one object share what was fetched for the first: a few
// bytes must not cost a fetch each.
func (s *shard) fetch(ctx context.Context, c *conversation, m *bus.Message, claim *events.Claim) error {
	size := claim.Object.Size
	switch most := s.o.Ceilings; {
	case m.Channel == events.ChannelIn && size > most.InputBytes:
		m.Lines, m.Bad = nil, inputTooLarge(size, most.InputBytes)
		return nil
	case m.Channel != events.ChannelIn && m.Channel != events.ChannelTurn && size > most.ClaimBytes:
		m.Lines, m.Bad = nil, ceilings.Errorf(ceilings.CodeClaimBytes, "the message refers to an object of %d bytes, at most %d are read: raise claim_bytes", size, most.ClaimBytes)
		return nil
	}
	if m.Channel == events.ChannelIn && c.fetched.object == claim.Object {
		m.Lines, m.Bad = c.fetched.lines, c.fetched.bad
		return nil
	}
	object := claim.Object
	if m.Channel == events.ChannelIn {
		if err := s.takeTurn(ctx, int(size)); err != nil {
			return err
		}
	}
	if err := s.o.Bus.Objects().Fetch(ctx, m); err != nil {
		return err
	}
	if m.Channel == events.ChannelIn {
		c.fetched = fetched{object, m.Lines, m.Bad}
	}
	return nil
}

// fetched is the input that was fetched last for a conversation.
type fetched struct {
	object events.Object
	lines  []events.Line
	bad    error
}

func inputTooLarge(size, most int64) error {
	return ceilings.Errorf(ceilings.CodeInputBytes, "the input has %d bytes, at most %d are taken: send less, or raise input_bytes", size, most)
}

// readFacts folds the facts of a conversation. Inputs that were refused because of
// their size are not fetched again. An input that this deployment accepted when its
// ceiling was higher is fetched in a second pass.
func (s *shard) readFacts(ctx context.Context, id string, upTo uint64) (*accumulator.Conversation, error) {
	for most := s.o.Ceilings.InputBytes; ; most = bus.MaxInput {
		said := &accumulator.Conversation{ID: id, Transcript: accumulator.NewTranscript()}
		err := s.o.Bus.Conversation(id).FactsWithin(ctx, upTo, most, func(m bus.Message) error {
			said.Apply(m.Folded())
			return nil
		})
		if err != nil || most == bus.MaxInput || !unfetched(said) {
			said.Drain()
			return said, err
		}
	}
}

// unfetched reports whether an input that was not fetched has no answer under the id
// that it has then: it was answered under its own.
func unfetched(c *accumulator.Conversation) bool {
	for _, in := range c.Inputs {
		if ceilings.CodeOf(in.Bad) == ceilings.CodeInputBytes {
			return true
		}
	}
	return false
}
