package orchestrator

import "github.com/parleybus/parley/internal/events"

// fault ends a turn that cannot continue, as failed.
func (d *decision) fault() {
	if d.env.Fault == nil || d.c.Turn == "" {
		return
	}
	d.stop(events.OutcomeFailed, string(events.ErrInternal), events.StatusCancelled, "the turn failed before the call had a result",
		&events.Error{Class: events.ErrInternal, Message: "the orchestrator cannot continue this turn: " + d.env.Fault.Error()})
}
