package orchestrator

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// cancel answers a Cancel: it stops a turn, one of its calls, or what is
// queued.
func (d *decision) cancel(input string, e *events.Cancel) {
	switch e.What() {
	case events.ScopeTurn, events.ScopeAll:
		d.cancelTurn(input, e)
	case events.ScopeCall:
		d.cancelCall(input, e)
	case events.ScopeQueue:
		d.cancelQueue(input, e)
	default:
		d.answer(input, events.AnswerInvalid, "", fmt.Sprintf("scope %q is none of turn, call, queue, all", e.Scope))
	}
}

// cancelTurn stops the turn that runs, or the one that the messages before
// the Cancel in the log would have started.
func (d *decision) cancelTurn(input string, e *events.Cancel) {
	if d.c.Turn == "" && e.Turn == "" && len(d.waiting) > 0 {
		d.open()
	}
	a := &events.InputAnswered{Input: input, Answer: events.AnswerAccepted, Turn: d.c.Turn}
	runs := d.c.Turn != "" && (e.Turn == "" || e.Turn == d.c.Turn)
	if e.What() == events.ScopeAll {
		a.Dropped = slices.Clone(d.c.Queue)
	}
	if !runs && len(a.Dropped) == 0 {
		d.answer(input, events.AnswerAlreadyEnded, e.Turn, "this turn is not running")
		return
	}
	d.emit(a)
	if runs {
		d.stop(events.OutcomeCancelled, cmp.Or(e.Reason, "cancelled"), events.StatusCancelled, "the turn was cancelled before the call had a result", nil)
	}
}

func (d *decision) cancelCall(input string, e *events.Cancel) {
	call := d.call(e.Call)
	_, known := d.transcript.Call(e.Call)
	switch {
	case e.Call == "":
		d.answer(input, events.AnswerInvalid, "", "to cancel a call, name its id")
	case e.Turn != "" && e.Turn != d.c.Turn && (call != nil || known):
		d.answer(input, events.AnswerAlreadyEnded, e.Turn, "this turn is not running")
	case call == nil && !known:
		d.answer(input, events.AnswerUnknownCall, "", "this conversation has no such call")
	case call == nil:
		d.answer(input, events.AnswerAlreadyEnded, "", "the call has ended already")
	case call.Status != "":
		d.answer(input, events.AnswerAlreadyEnded, d.c.Turn, fmt.Sprintf("the call has ended already, as %s", call.Status))
	default:
		d.answer(input, events.AnswerAccepted, d.c.Turn, "")
		why := "a person cancelled this call before it had a result"
		if e.Reason != "" {
			why += ": " + e.Reason
		}
		d.refuse(call.Call, call.Tool, events.StatusCancelled, why)
		d.resume()
	}
}

func (d *decision) cancelQueue(input string, e *events.Cancel) {
	if len(d.c.Queue) == 0 {
		d.answer(input, events.AnswerAlreadyEnded, "", "no message is queued")
		return
	}
	d.emit(&events.InputAnswered{Input: input, Answer: events.AnswerAccepted, Dropped: slices.Clone(d.c.Queue), Reason: e.Reason})
}
