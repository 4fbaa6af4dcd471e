package orchestrator

import (
	"fmt"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// The ceilings of what others can make long. Each Decision carries the state with
// all of it, so that without them a conversation would cost by the square.
const (
	mostInputs  = 64  // inputs in one message
	mostAtOnce  = 256 // inputs that one Decision answers, but for the last message's
	mostQueued  = 100 // messages that wait for the next turn
	mostCalls   = 512 // calls of one answer
	mostRulings = 512 // calls that one Verdict decides
	mostGrants  = 256 // standing approvals of a conversation
	mostHooks   = 100 // hooks that have not answered
)

const reasonTooManyCalls = "too_many_calls"

// tooManyCalls is why an answer is not taken that makes more calls than one may.
func tooManyCalls(n int) *events.Error {
	return &events.Error{Class: events.ErrUnsupported,
		Message: fmt.Sprintf("the answer makes %d calls, at most %d are run: ask the model to make fewer at once", n, mostCalls)}
}

// said is an answer as it is kept: of too many calls the first; cut reports
// whether there were more.
func said(g *accumulator.Generation) (m events.Message, cut bool) {
	m = g.Message()
	calls := 0
	kept := m.Parts[:0]
	for _, p := range m.Parts {
		if p.Kind == events.PartCall {
			if calls++; calls > mostCalls {
				continue
			}
		}
		kept = append(kept, p)
	}
	m.Parts = kept
	return m, calls > mostCalls
}

// batch returns the first inputs that wait: as many as one Decision answers. The
// inputs of a message stay together.
func batch(c *accumulator.Conversation) []accumulator.Input {
	n := mostAtOnce
	for n < len(c.Inputs) && c.Inputs[n].Sequence == c.Inputs[n-1].Sequence {
		n++
	}
	return c.Inputs[:min(n, len(c.Inputs))]
}
