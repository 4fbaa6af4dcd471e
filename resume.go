package parley

import (
	"context"
	"slices"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// resumeDecisions bounds how many Decisions a viewer that resumes looks at for the
// beginning of the turn that is open there.
const resumeDecisions = 32

// attemptsBefore returns which attempts count before a message of the log, so that a
// viewer that resumes there gets the same marks of superseded attempts as one that
// reads from the beginning. What has expired is not known.
func (v *Conversation) attemptsBefore(ctx context.Context, sequence uint64) (attempts, error) {
	var a attempts
	conv := v.client.bus.Conversation(v.id)
	at, answers := sequence-1, 0
	for range resumeDecisions {
		if at == 0 {
			break
		}
		d, lane, err := conv.LastDecision(ctx, at)
		if err != nil {
			return a, err
		}
		if at = lane; d == nil || d.State.Turn == "" || begins(d) {
			break
		}
		if answered(d) {
			answers++
		}
		if answers == 2 { // events of the answer before last do not come any more
			break
		}
		at--
	}
	for m, err := range conv.Attach(ctx, bus.From{After: Cursor{Sequence: at, Index: WholeMessage}, Left: true, Ended: true}) {
		if err != nil {
			return a, err
		}
		if m.Sequence >= sequence {
			break
		}
		a.eventsOf(&m, Cursor{}, func(Event) bool { return true })
	}
	return a, nil
}

// begins reports whether a Decision begins a turn.
func begins(d *Decision) bool {
	return slices.ContainsFunc(d.Events, func(l events.Line) bool { _, ok := l.Event.(*TurnStarted); return ok })
}

// answered reports whether a Decision has the answer of a generation.
func answered(d *Decision) bool {
	return slices.ContainsFunc(d.Events, func(l events.Line) bool { _, ok := l.Event.(*AssistantMessage); return ok })
}
