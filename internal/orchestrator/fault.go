package orchestrator

import (
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// fault ends a turn that cannot go on, as failed.
func (d *decision) fault() {
	if d.env.Fault == nil || d.c.Turn == "" {
		return
	}
	d.stop(events.OutcomeFailed, string(events.ErrInternal), events.StatusCancelled, "the turn failed before the call had a result",
		&events.Error{Class: events.ErrInternal, Message: "the orchestrator cannot go on with this turn: " + d.env.Fault.Error()})
}

// rejected takes note of jobs that no worker can run: a generation's ends the
// turn as failed, a call's is the call's result. It reports whether there was one.
func (d *decision) rejected() bool {
	c := d.c
	if reason, ok := d.env.Rejected[c.Generation]; ok && c.Phase == events.PhaseGenerating {
		d.stop(events.OutcomeFailed, string(events.ErrInternal), events.StatusCancelled, "the turn failed before the call had a result",
			&events.Error{Class: events.ErrInternal, Message: "the job of this generation was rejected by its worker: " + reason})
		return true
	}
	if len(d.env.Rejected) == 0 {
		return false
	}
	found := false
	for _, call := range slices.Clone(c.Calls) {
		if reason, ok := d.env.Rejected[call.Call]; ok && call.Status == "" && !call.Waiting() {
			d.refuse(call.Call, call.Tool, events.StatusFailed, "the call could not be run: "+reason)
			found = true
		}
	}
	return found
}
