package orchestrator

import (
	"fmt"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// Bounds of what others can make long. Each Decision carries the whole state, so
// without bounds the cost of a conversation would be quadratic.
const (
	maxInputs  = 64  // inputs in one message
	maxBatch   = 256 // inputs that one Decision answers, plus the rest of the last message
	maxQueued  = 100 // messages that wait for the next turn
	maxCalls   = 512 // calls of one answer
	maxRulings = 512 // calls that one Verdict decides
	maxGrants  = 256 // standing approvals of a conversation
	maxHooks   = 100 // hooks that have not answered
)

const reasonTooManyCalls = "too_many_calls"

// tooManyCalls returns the error of an answer with too many calls.
func tooManyCalls(n int) *events.Error {
	return &events.Error{Class: events.ErrUnsupported,
		Message: fmt.Sprintf("the answer makes %d calls, at most %d are run: ask the model to make fewer at once", n, maxCalls)}
}

// boundedMessage returns an answer with the first maxCalls calls; cut
// reports whether there were more.
func boundedMessage(g *accumulator.Generation) (m events.Message, cut bool) {
	m = g.Message()
	calls := 0
	kept := m.Parts[:0]
	for _, p := range m.Parts {
		if p.Kind == events.PartCall {
			if calls++; calls > maxCalls {
				continue
			}
		}
		kept = append(kept, p)
	}
	m.Parts = kept
	return m, calls > maxCalls
}

// batch returns the inputs that the next Decision answers: the first
// maxBatch, and the rest of the last one's message.
func batch(c *accumulator.Conversation) []accumulator.Input {
	n := maxBatch
	for n < len(c.Inputs) && c.Inputs[n].Sequence == c.Inputs[n-1].Sequence {
		n++
	}
	return c.Inputs[:min(n, len(c.Inputs))]
}
