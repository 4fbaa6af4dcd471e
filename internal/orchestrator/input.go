package orchestrator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// inputs answers the inputs of the batch, in log order.
func (d *decision) inputs() {
	for _, in := range d.batch {
		over, tooMuch := d.tooMuchHere(in)
		if d.c.Gone() {
			d.gone(in)
			continue
		}
		if d.repeated(in) {
			continue
		}
		if in.Line >= maxInputs {
			why := "too many inputs in a message"
			if in.Line == maxInputs { // said once: a Decision holds the answers of all
				why = fmt.Sprintf("a message holds at most %d inputs: send this one, and those behind it, in other messages, under other ids", maxInputs)
			}
			d.exceeds(in.ID, events.AnswerRefused, ceilings.CodeInputs, why)
			continue
		}
		if d.refusedFor(in, tooMuch) {
			continue
		}
		if size := int64(len(in.Raw)); in.Event != nil && size > d.env.Ceilings.InputBytes {
			in.Event, in.Bad = nil, inputTooLarge(size, d.env.Ceilings.InputBytes)
		}
		if !d.admit(in) {
			continue
		}
		if !over && d.refusedFor(in, d.tooMuchOfApp(in)) {
			continue
		}
		switch e := in.Event.(type) {
		case nil:
			d.exceeds(in.ID, events.AnswerInvalid, ceilings.CodeOf(in.Bad), "this input cannot be read: "+in.Bad.Error())
		case *events.Settings:
			d.settings(in)
		case *events.UserMessage:
			d.message(in.ID, e)
		case *events.Cancel:
			d.cancel(in.ID, e)
		case *events.Compact:
			d.compactAsked(in.ID)
		case *events.Delete:
			d.delete(in.ID, e)
		case *events.Verdict:
			d.verdict(in.ID, e)
		case *events.Unknown:
			d.answer(in.ID, events.AnswerInvalid, "", fmt.Sprintf("inputs of type %q are not known to this version", e.Name))
		default:
			d.answer(in.ID, events.AnswerInvalid, "", fmt.Sprintf("a %s is not an input: people and apps write Settings, UserMessage, Verdict, Cancel and Delete", e.Type()))
		}
	}
	if d.joined && d.fresh() && d.c.Phase == events.PhaseGenerating {
		d.requestGeneration(d.choose(d.c.Step, 1), d.c.Step, 1, 0, nil)
	}
}

// refusedFor refuses an input that exceeds a ceiling; false when err is nil.
func (d *decision) refusedFor(in accumulator.Input, err error) bool {
	if err != nil {
		d.exceeds(in.ID, events.AnswerRefused, ceilings.CodeOf(err), err.Error())
	}
	return err != nil
}

// repeated answers an input whose id was answered before in the same way,
// and reports whether it was one. It has no other effect, however
// much later it comes. Messages that are part of a turn are answered by
// message instead.
func (d *decision) repeated(in accumulator.Input) bool {
	old := d.transcript.Answered(in.ID)
	if _, ok := in.Event.(*events.UserMessage); old == nil || ok && d.transcript.TurnOf(in.ID) != "" {
		return false
	}
	if old.Answer == events.AnswerQueued && !slices.Contains(d.c.Queue, in.ID) {
		d.unqueued(in.ID)
		return true
	}
	a := &events.InputAnswered{Input: in.ID, Answer: old.Answer, Turn: old.Turn, Calls: old.Calls,
		Reason: "this input was answered before and has no further effect; use a new id for another input"}
	if old.Reason != "" {
		a.Reason += ": " + old.Reason
	}
	d.emit(a)
	return true
}

// unqueued answers a message that is published again and that this decision
// has just taken off the queue.
func (d *decision) unqueued(input string) {
	for _, e := range d.out {
		if t, ok := e.(*events.TurnStarted); ok && t.Turn == d.c.Turn && slices.Contains(t.Inputs, input) {
			d.answer(input, events.AnswerAccepted, t.Turn, "")
			return
		}
	}
	d.answer(input, events.AnswerAlreadyEnded, "", "this message was already answered or dropped; use a new id for another message")
}

// settings merges Settings into the accepted ones. Waiting calls that the
// new policy denies are refused.
func (d *decision) settings(in accumulator.Input) {
	if why := d.maySet(in); why != "" {
		d.answer(in.ID, events.AnswerNotAllowed, "", why)
		return
	}
	document, merged, err := d.document.Merge(in)
	if err == nil {
		err = cmp.Or(checkExtensions(document.ExtensionBytes()), d.checkSettings(&merged))
	}
	if err != nil {
		d.exceeds(in.ID, events.AnswerInvalid, ceilings.CodeOf(err), "the settings are unchanged: "+err.Error())
		return
	}
	d.answer(in.ID, events.AnswerAccepted, "", "")
	d.document, d.env.Settings = document, merged
	d.requesters = append(d.requesters, d.signers[in.ID])
	for _, call := range slices.Clone(d.c.Calls) {
		if !call.Waiting() || call.Waits == events.WaitLimit || call.Waits == events.WaitAnswer { // not dispatched yet, or running
			continue
		}
		if r := d.judge(call, d.arguments(call.Call)); r.Action == events.ActionDeny {
			d.deny(call.Call, call.Tool, r)
		}
	}
	d.resume()
}

func (d *decision) checkSettings(e *events.Settings) error {
	switch e.Priority {
	case "", events.PriorityNormal, events.PriorityLow:
	default:
		return fmt.Errorf("priority %q is neither normal nor low", e.Priority)
	}
	if d.compiled += policy.NewConditions(e.Policy, d.env.Settings.Policy); d.compiled > 2*d.env.Ceilings.ConditionBytes {
		return ceilings.Errorf(ceilings.CodeConditionBytes, "too many new conditions were published at the same time: send these settings again under another id")
	}
	if err := d.env.checkExtra(cmp.Or(e.Route, d.env.Route), e); err != nil {
		return err
	}
	if err := d.env.checkAnswerSchema(e.AnswerSchema); err != nil {
		return err
	}
	_, unknown := d.env.Identities.CheckPolicy(e.Policy)
	return cmp.Or(checkCompaction(e.Compaction), d.env.Judge.Check(e.Policy), unknown, policy.CheckLimits(e.Limits), d.env.checkLimits(e.Limits), policy.CheckTools(e.Tools), policy.CheckParameters(e.Parameters),
		policy.CheckArrival(e.WhileRunning, e.WhileWaiting), policy.CheckHooks(e.Hooks))
}

// message handles a UserMessage: it starts a turn, or arrives during one.
func (d *decision) message(input string, e *events.UserMessage) {
	switch turn := d.transcript.TurnOf(input); {
	case turn != "" && turn == d.c.Turn:
		d.answer(input, events.AnswerAccepted, turn, "")
	case turn != "":
		d.answer(input, events.AnswerAlreadyEnded, turn, "this message was already answered; use a new id for another message")
	case strings.TrimSpace(e.Text) == "" && len(e.Parts) == 0:
		d.answer(input, events.AnswerInvalid, "", "the message has no text")
	case d.unusable(input, e) != nil:
		err := d.unusable(input, e)
		d.exceeds(input, events.AnswerInvalid, ceilings.CodeOf(err), "the message is not taken: "+err.Error())
	case d.transcript.Size() > d.env.Ceilings.ConversationBytes:
		d.exceeds(input, events.AnswerRefused, ceilings.CodeConversationBytes, conversationTooLarge(d.transcript.Size(), d.env.Ceilings.ConversationBytes).Message)
	case d.queued+e.Size() > d.env.Ceilings.QueueBytes:
		d.exceeds(input, events.AnswerRefused, ceilings.CodeQueueBytes, fmt.Sprintf(
			"the messages that wait have %d bytes, with this one more than %d: send it again when the turn has ended, or raise queue_bytes", d.queued, d.env.Ceilings.QueueBytes))
	case d.c.Turn == "" && d.env.Running[d.signers[input]] >= d.env.Ceilings.AppConversations:
		d.exceeds(input, events.AnswerRefused, ceilings.CodeAppConversations, fmt.Sprintf(
			"turns of %d conversations of the same app run: publish this again when some have ended, or raise app_conversations", d.env.Ceilings.AppConversations))
	case d.c.Turn == "":
		d.waiting = append(d.waiting, input)
		d.queued += e.Size()
	default:
		d.queued += e.Size()
		d.arrive(input, e)
	}
}

// arrive handles a message that comes while a turn runs or waits.
func (d *decision) arrive(input string, e *events.UserMessage) {
	turn, waits := d.c.Turn, d.c.Phase == events.PhasePaused
	usual := d.env.Settings.WhileRunning
	if waits {
		usual = d.env.Settings.WhileWaiting
	}
	switch arrival := cmp.Or(e.Arrival, usual, events.ArrivalQueue); {
	case (arrival == events.ArrivalQueue || arrival == events.ArrivalSupersede) && len(d.c.Queue) >= maxQueued:
		d.emit(&events.InputAnswered{Input: input, Answer: events.AnswerRefused, Turn: turn, Code: ceilings.CodeQueued, Reason: fmt.Sprintf(
			"%d messages already wait for the next turn: send this again when the turn has ended, or cancel the queue", len(d.c.Queue))})
	case arrival == events.ArrivalRefuse && waits:
		d.answer(input, events.AnswerRefused, turn, "the turn is paused: decide what it waits for, or cancel it, then send this again")
	case arrival == events.ArrivalRefuse:
		d.answer(input, events.AnswerRefused, turn, "a turn is running: send this again when it has ended")
	case arrival == events.ArrivalInterrupt && d.fresh():
		// The model has not answered yet: the message joins the turn, and the
		// generation is requested again.
		d.answer(input, events.AnswerAccepted, turn, "")
		d.joined = true
		d.requesters = append(d.requesters, d.signers[input])
	case arrival == events.ArrivalInterrupt:
		d.stop(events.OutcomeCancelled, "interrupted", events.StatusCancelled, "a new message interrupted the turn before the call had a result", nil)
		d.waiting = append(d.waiting, input)
	case arrival == events.ArrivalSupersede && waits:
		d.emit(&events.InputAnswered{Input: input, Answer: events.AnswerQueued, Supersedes: turn, Reason: "pending approvals are dropped; this message starts the next turn"})
		d.supersede()
	case arrival == events.ArrivalQueue && waits:
		d.answer(input, events.AnswerQueued, "", "the turn is paused; this message waits for the next turn")
	case arrival == events.ArrivalQueue, arrival == events.ArrivalSupersede:
		d.answer(input, events.AnswerQueued, "", "a turn is running; this message waits for the next turn")
	default:
		d.answer(input, events.AnswerInvalid, "", fmt.Sprintf("arrival %q is none of queue, interrupt, supersede, refuse", arrival))
	}
}

// fresh reports whether the turn has no content and no calls yet.
func (d *decision) fresh() bool {
	c := d.c
	return c.Phase == events.PhasePreparing || c.Phase == events.PhaseGenerating && c.Step == 1 && (c.Open == nil || c.Open.Empty())
}

// supersede ends what waits. Running calls finish; then the turn ends.
func (d *decision) supersede() {
	for _, call := range slices.Clone(d.c.Calls) {
		switch {
		case call.Waits == events.WaitAnswer:
			d.decline(call, "")
		case call.Waiting():
			d.refuse(call.Call, call.Tool, events.StatusSuperseded, "a new message superseded this call before it was decided: it did not run")
		}
	}
	d.emit(&events.Resumed{Turn: d.c.Turn, AtMS: d.now.UnixMilli()})
}
