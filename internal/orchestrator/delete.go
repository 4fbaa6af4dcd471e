package orchestrator

import (
	"cmp"
	"slices"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// delete starts the deletion of the conversation: it stops the turn like a
// Cancel with scope all and drops all messages that wait. The Delete is
// answered when the purge is complete.
func (d *decision) delete(input string, e *events.Delete) {
	for _, id := range d.waiting {
		d.answer(id, events.AnswerDeleted, "", deletedReason)
	}
	dropped := slices.Clone(d.c.Queue)
	d.waiting, d.joined = nil, false
	if d.c.Turn != "" {
		d.stop(events.OutcomeCancelled, cmp.Or(e.Reason, "deleted"), events.StatusCancelled, "the conversation was deleted before the call had a result", nil)
	}
	started := &events.DeletionStarted{Inputs: []string{input}, Dropped: dropped, AtMS: d.now.UnixMilli()}
	if signer := d.signers[input]; signer != "" {
		started.Signers = []string{signer}
	}
	d.emit(started)
}

const deletedReason = "the conversation was deleted: send the message to another one"

// gone answers an input of a conversation that is deleted or being deleted.
// Another Delete is answered together with the first.
func (d *decision) gone(in accumulator.Input) {
	if _, again := in.Event.(*events.Delete); again && d.c.Phase == events.PhaseDeleting {
		deletes := slices.Clone(d.c.Deletes)
		if !slices.Contains(deletes, in.ID) { // it was not published twice
			deletes = append(deletes, in.ID)
		}
		d.emit(&events.DeletionStarted{Inputs: deletes, Signers: slices.Clone(d.c.Deleters), AtMS: d.now.UnixMilli()})
		return
	}
	// The previous Decision will be purged: this one must give the state by itself.
	switch {
	case len(d.out) > 0:
	case d.c.Deleted != nil:
		d.emit(d.c.Deleted)
	default:
		d.emit(&events.DeletionStarted{Inputs: slices.Clone(d.c.Deletes), Signers: slices.Clone(d.c.Deleters), AtMS: d.now.UnixMilli()})
	}
	d.answer(in.ID, events.AnswerDeleted, "", deletedReason)
}

// purged completes the deletion once the purge is complete.
func (d *decision) purged() {
	if d.env.Purged == nil || d.c.Phase != events.PhaseDeleting {
		return
	}
	deletes := d.c.Deletes
	receipt := *d.env.Purged
	receipt.AtMS, receipt.Signers = d.now.UnixMilli(), d.c.Deleters
	d.emit(&receipt)
	for _, id := range deletes {
		d.answer(id, events.AnswerAccepted, "", "")
	}
}
