package parley

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

const (
	// storeTimeout is how long an input may take to be stored.
	storeTimeout = 15 * time.Second
	// answerTimeout is how long the answer to an input may take, and ownedTimeout how long
	// while an orchestrator owns the conversation: of a cluster that has lost a node,
	// several streams elect a leader within 9 s.
	answerTimeout = 10 * time.Second
	ownedTimeout  = 15 * time.Second
	// diagnosisTimeout bounds finding out why there is no answer.
	diagnosisTimeout = 8 * time.Second
)

// Submit publishes an input, one of *[UserMessage], *[Settings], *[Verdict],
// *[Cancel], *[Compact] and *[Delete], and returns the orchestrator's answer, whatever it is.
// An input without an id gets one; the same id is the same input for good, so an
// input may be submitted again after an error. It fails with [CodeNotStored],
// [CodeNoOrchestrator] or [CodeNoAnswer] when there is no answer within 10 s, or 15 s
// while an orchestrator owns the conversation: the input may be in the log then, and is
// answered there later.
func (v *Conversation) Submit(ctx context.Context, input Body) (*InputAnswered, error) {
	id, sequence, err := v.publish(ctx, input)
	if err != nil {
		return nil, err
	}
	return v.answerTo(ctx, id, sequence, input.Type())
}

// Publish publishes an input as [Conversation.Submit] does, and returns when it is
// stored, with the position after it.
func (v *Conversation) Publish(ctx context.Context, input Body) (Cursor, error) {
	_, sequence, err := v.publish(ctx, input)
	return Cursor{Sequence: sequence, Index: WholeMessage}, err
}

// publish stores an input and returns its id and sequence.
func (v *Conversation) publish(ctx context.Context, input Body) (id string, sequence uint64, err error) {
	if err := v.check(); err != nil {
		return "", 0, err
	}
	field := inputID(input)
	if field == nil {
		return "", 0, errorf(CodeInvalid, "a %s is no input: submit a UserMessage, Settings, a Verdict, a Cancel, a Compact or a Delete", input.Type())
	}
	if *field == "" {
		*field = NewID()
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	sequence, err = v.client.bus.Conversation(v.id).Publish(ctx, *field, input)
	return *field, sequence, err
}

// inputID is the field with an input's id; nil for what is no input.
func inputID(input Body) *string {
	switch e := input.(type) {
	case *UserMessage:
		return &e.ID
	case *Settings:
		return &e.ID
	case *Verdict:
		return &e.ID
	case *Cancel:
		return &e.ID
	case *Delete:
		return &e.ID
	case *Compact:
		return &e.ID
	}
	return nil
}

// answerTo waits for the answer to the input at a sequence.
func (v *Conversation) answerTo(ctx context.Context, id string, sequence uint64, what string) (answer *InputAnswered, err error) {
	err = v.decided(ctx, sequence, what, func(body Body) bool {
		a, ok := body.(*InputAnswered)
		if ok && a.Input == id {
			answer = a
		}
		return answer != nil
	})
	return answer, err
}

// decided reads what follows the input at a sequence until stop reports true.
func (v *Conversation) decided(ctx context.Context, sequence uint64, what string, stop func(Body) bool) error {
	ctx, done := watched(ctx, func(ctx context.Context) error { return v.overdue(ctx, what) })
	defer done()
	for e, err := range v.Events(ctx, From{After: Cursor{Sequence: sequence, Index: WholeMessage}}) {
		if err != nil {
			return err
		}
		if stop(e.Body) {
			return nil
		}
	}
	return errLogEnded
}

// overdue blocks until no answer to an input is to be expected any more, and returns why;
// nil when ctx has ended.
func (v *Conversation) overdue(ctx context.Context, what string) error {
	since := time.Now()
	for wait := answerTimeout; ; wait = testAfter {
		if !bus.Pause(ctx, wait) {
			return nil
		}
		if err := v.unanswered(ctx, what, since); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// unanswered returns why an input has had no answer since it was stored: messages are not
// stored, no orchestrator runs, or the one that runs does not get to it. It is nil while
// an answer may still come.
func (v *Conversation) unanswered(ctx context.Context, what string, since time.Time) error {
	look, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	b := v.client.bus
	owners, err := b.Deployment().Owners(look)
	owner, owned := owners[topology.ShardOf(v.id, b.Shards())]
	if (owned || err != nil) && time.Since(since) < ownedTimeout {
		return nil
	}
	if err := v.unwritable(look, what); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // the caller waits no longer
	}
	waited := time.Since(since).Round(time.Second)
	if owned {
		return errorf(CodeNoAnswer, "orchestrator %s owns the conversation and did not answer the %s within %s: see its log and its /readyz, or use `parley doctor`; the %s is in the log, see `parley tail %s`",
			owner, what, waited, what, v.id)
	}
	return errorf(CodeNoOrchestrator, "no orchestrator took the %s within %s: it is in the log and is answered when one runs; start `orchestrator` or `parley up --only orchestrator`, then see `parley tail %s`",
		what, waited, v.id)
}

// unwritable returns an error if no answer can be stored.
func (v *Conversation) unwritable(ctx context.Context, what string) error {
	if err := v.client.testWrites(ctx); err != nil {
		return &Error{CodeNotStored, fmt.Errorf("the %s is in the log and the orchestrator cannot write its answer: %w", what, err)}
	}
	return nil
}

// testWrites returns why messages are not stored; nil if they are, or if it cannot
// be found out.
func (c *Client) testWrites(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	if err := c.bus.Deployment().TestWrites(ctx); bus.NotStored(err) {
		return err
	}
	return nil
}

// Configure changes the conversation's settings from the next turn on. A zero
// field changes nothing. It fails with an [AnswerError] if they are refused.
func (v *Conversation) Configure(ctx context.Context, settings Settings) error {
	if fault.Planted(fault.MergeInClient) {
		if view, err := v.View(ctx); err == nil {
			settings = mergedInClient(view.Settings, settings)
		}
	}
	answer, err := v.Submit(ctx, &settings)
	if err != nil {
		return err
	}
	return accepted(answer)
}

// mergedInClient is the planted bug: all settings as this client knows them are
// written back, and replace what others have changed since.
func mergedInClient(all, changed Settings) Settings {
	all.ID = changed.ID
	if changed.System != "" {
		all.System = changed.System
	}
	if changed.Limits.Steps > 0 {
		all.Limits = changed.Limits
	}
	return all
}

// Cancel submits a cancellation: by default of the turn that runs or waits. It
// returns what was stopped, and an [AnswerError] with [AnswerAlreadyEnded] when
// there was nothing to stop.
func (v *Conversation) Cancel(ctx context.Context, cancel Cancel) (*InputAnswered, error) {
	answer, err := v.Submit(ctx, &cancel)
	if err != nil {
		return nil, err
	}
	return answer, accepted(answer)
}

// Compact leaves out about half of what the next requests to the model would have of
// the conversation: the oldest results first, then the oldest turns. The log and the
// transcript keep everything. It returns what is left out, nil when nothing could be.
func (v *Conversation) Compact(ctx context.Context, request Compact) (*Compacted, error) {
	id, sequence, err := v.publish(ctx, &request)
	if err != nil {
		return nil, err
	}
	var answer *InputAnswered
	var left *Compacted // it follows its answer, in the same Decision
	err = v.decided(ctx, sequence, request.Type(), func(body Body) bool {
		switch body := body.(type) {
		case *InputAnswered:
			if body.Input == id {
				answer = body
			}
		case *Compacted:
			if answer != nil {
				left = body
			}
		}
		return left != nil || answer != nil && (answer.Answer != AnswerAccepted || answer.Reason != "")
	})
	if err != nil {
		return nil, err
	}
	return left, accepted(answer)
}

// Revoke revokes standing approvals: those with the given ids, or all of the
// conversation. Calls that run already continue.
func (v *Conversation) Revoke(ctx context.Context, grants ...string) (*InputAnswered, error) {
	answer, err := v.Submit(ctx, &Verdict{Verdict: RulingRevoke, Grants: grants})
	if err != nil {
		return nil, err
	}
	return answer, accepted(answer)
}

// Delete deletes the conversation: the orchestrator stops what runs and purges its
// messages, jobs, timers and objects. Delete returns the receipt when all is done;
// the request is in the log and is carried out also if ctx ends before. It cannot
// be undone. It fails with [CodeNotFound] or [CodeDeleted] if there is nothing to
// delete. Fields of request may be left out.
func (v *Conversation) Delete(ctx context.Context, request Delete) (*ConversationDeleted, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	// One that is being deleted is waited for; one that cannot be read can still be
	// deleted.
	b := v.client.bus
	known, err := b.Conversation(v.id).Describe(ctx)
	switch {
	case known.State.Phase == PhaseDeleted:
		return nil, v.deleted(&known.State)
	case err == nil && known.Last.IsZero():
		return nil, v.missing()
	}
	if _, _, err := v.publish(ctx, &request); err != nil {
		return nil, err
	}
	// The log is purged meanwhile: look at the last decision in place of following it.
	for backoff := 5 * time.Millisecond; ; backoff = min(2*backoff, time.Second) {
		if !bus.Pause(ctx, backoff) {
			return nil, &Error{CodeNoAnswer, errors.Join(fmt.Errorf("conversation %s is not deleted yet: the request is in its log and is carried out when an orchestrator runs", v.id), context.Cause(ctx))}
		}
		d, _, err := b.Conversation(v.id).LastDecision(ctx, 0)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if d != nil && d.State.Phase == PhaseDeleted {
			return d.State.Deleted, nil
		}
	}
}
