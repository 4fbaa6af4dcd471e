package parley

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Waiting is one thing that a conversation waits for: a call that needs approval,
// what a tool asks, an external result, permission to continue past a limit, or a
// time. A Waiting without a client, such as one from JSON, cannot be decided.
type Waiting struct {
	Conversation string `json:"conversation"`
	// Since is when the turn began to wait.
	Since *time.Time `json:"since,omitempty"`
	Awaited
	client *Client
}

// Approve lets the call run, or the turn continue past a limit. It returns an
// [AnswerError] with [AnswerAlreadyDecided] when another verdict was first, and with
// [AnswerNotAllowed] when Needs names other people. Where several people must
// approve, nil says that the approval counts: the call runs after the last one.
func (w Waiting) Approve(ctx context.Context, options ...VerdictOption) error {
	return w.decide(ctx, RulingApprove, CallVerdict{}, options)
}

// ApproveAlways approves the call and lets calls of the same tool, asked about by
// the same rule, run without asking in this conversation from now on. See
// [Conversation.Revoke].
func (w Waiting) ApproveAlways(ctx context.Context, options ...VerdictOption) error {
	return w.decide(ctx, RulingAlways, CallVerdict{}, options)
}

// Reject rejects the call; the model reads that it was, and the reason.
func (w Waiting) Reject(ctx context.Context, options ...VerdictOption) error {
	return w.decide(ctx, RulingReject, CallVerdict{}, options)
}

// Edit lets the call run with other arguments: a JSON object that is valid against
// the tool's schema.
func (w Waiting) Edit(ctx context.Context, arguments json.RawMessage, options ...VerdictOption) error {
	return w.decide(ctx, RulingEdit, CallVerdict{Arguments: arguments}, options)
}

// Answer gives the call's result in place of its tool, as the model will read it.
// For a question of a tool, content is a JSON object that is valid against the
// schema in Arguments.
func (w Waiting) Answer(ctx context.Context, content string, options ...VerdictOption) error {
	return w.decide(ctx, RulingAnswer, CallVerdict{Content: content}, options)
}

// VerdictOption adds to a verdict.
type VerdictOption func(*Verdict)

// Because gives the reason of a verdict; the model reads it after a rejection.
func Because(reason string) VerdictOption { return func(v *Verdict) { v.Reason = reason } }

// By sets who decides, as the app knows them.
func By(name string) VerdictOption { return func(v *Verdict) { v.From = name } }

func (w Waiting) decide(ctx context.Context, ruling Ruling, c CallVerdict, options []VerdictOption) error {
	if w.client == nil {
		return errorf(CodeInvalid, "this Waiting has no client: take one from Client.Waiting or Conversation.Waiting")
	}
	c.Call, c.Digest = w.Call, w.Digest
	verdict := Verdict{Verdict: ruling, Calls: []CallVerdict{c}}
	for _, o := range options {
		o(&verdict)
	}
	answer, err := w.client.Conversation(w.Conversation).Submit(ctx, &verdict)
	if err != nil {
		return err
	}
	return accepted(answer)
}

// Standing is the state of a conversation and what it waits for.
type Standing struct {
	State State
	// Sequence is that of the Decision that State is of; 0 when nothing was decided.
	Sequence uint64
	// Waiting is in the model's order, a question at a limit last.
	Waiting []Waiting
}

// Standing returns the conversation's state after its last Decision, and what it
// waits for. It reads a few messages, however long the conversation is.
func (v *Conversation) Standing(ctx context.Context) (Standing, error) {
	var s Standing
	if err := v.check(); err != nil {
		return s, err
	}
	b := v.client.bus
	d, sequence, err := b.Conversation(v.id).LastDecision(ctx, 0)
	if err != nil || d == nil {
		return s, err
	}
	s.State, s.Sequence = d.State, sequence
	if s.State.Phase != events.PhasePaused {
		return s, nil
	}
	listed := map[string]Awaited{}
	list(d, listed)
	complete := v.collect(&s, listed)
	if !complete {
		// The last Decision lists all in most cases; here an earlier one does.
		if listed, err = v.listedBefore(ctx, sequence); err != nil {
			return s, err
		}
		v.collect(&s, listed)
	}
	return s, v.dropAnswered(ctx, &s)
}

// Waiting returns what the conversation waits for, in the model's order.
func (v *Conversation) Waiting(ctx context.Context) ([]Waiting, error) {
	s, err := v.Standing(ctx)
	return s.Waiting, err
}

// list adds what a Decision lists as awaited, by call.
func list(d *Decision, into map[string]Awaited) {
	for _, l := range d.Events {
		if e, ok := l.Event.(*events.Paused); ok {
			for _, a := range e.Awaiting {
				into[a.Call] = a
			}
		}
	}
}

// listedBefore reads what all Decisions up to a sequence list as awaited.
func (v *Conversation) listedBefore(ctx context.Context, sequence uint64) (map[string]Awaited, error) {
	listed := map[string]Awaited{}
	err := v.client.bus.Conversation(v.id).Facts(ctx, sequence, func(m bus.Message) error {
		for _, l := range m.Lines {
			if d, ok := l.Event.(*events.Decision); ok {
				list(d, listed)
			}
		}
		return nil
	})
	return listed, err
}

// collect sets what the state waits for and reports whether all of it is listed.
func (v *Conversation) collect(s *Standing, listed map[string]Awaited) (complete bool) {
	s.Waiting, complete = nil, true
	var since *time.Time
	if s.State.PausedMS > 0 {
		at := time.UnixMilli(s.State.PausedMS).UTC()
		since = &at
	}
	add := func(a Awaited) { s.Waiting = append(s.Waiting, Waiting{v.id, since, a, v.client}) }
	for i := range s.State.Calls {
		c := &s.State.Calls[i]
		if !c.Waiting() || c.Waits == events.WaitLimit {
			continue
		}
		a, ok := listed[c.Call]
		ok = ok && a.Question == c.Question // a call may ask several times
		if complete = complete && ok; !ok {
			a = Awaited{For: c.Waits, Call: c.Call, Question: c.Question, Tool: c.Tool, Effect: c.Effect, Digest: c.Digest, Rule: c.Rule, DueMS: c.DueMS, DeadlineMS: c.DeadlineMS}
		}
		a.Needs, a.Approved = c.Needs, c.Approved // approvals come after the list
		add(a)
	}
	if s.State.Question != nil {
		add(s.State.Question.Awaited())
	}
	return complete
}

// dropAnswered removes calls whose external result is in the log and has had no
// Decision yet.
func (v *Conversation) dropAnswered(ctx context.Context, s *Standing) error {
	var failed error
	b := v.client.bus
	s.Waiting = slices.DeleteFunc(s.Waiting, func(w Waiting) bool {
		if w.For != events.WaitResult || !w.Needs.Anybody() || failed != nil {
			return false
		}
		last, err := b.Lane(topology.OfCall(b.Shards(), v.id, events.ChannelCall, w.Call)).Last(ctx)
		failed = err
		return slices.ContainsFunc(last.Lines, func(l events.Line) bool { _, ok := l.Event.(*events.ToolResult); return ok })
	})
	return failed
}

// readers is how many conversations are read at once.
const readers = 16

// Waiting returns what all conversations wait for, the oldest first. Conversations
// that cannot be read are left out and joined into the error, which is not nil
// then although the others are returned: see [UnreadableError].
func (c *Client) Waiting(ctx context.Context) ([]Waiting, error) {
	ids, err := c.bus.Timers().List(ctx)
	if err != nil {
		return nil, err
	}
	ids = c.paused.with(ids)
	found, unreadable := make([][]Waiting, len(ids)), make([]*UnreadableError, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, id := range ids {
		g.Go(func() error {
			w, err := c.Conversation(id).Waiting(ctx)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil && !c.Connected() {
				return err
			}
			if err != nil { // only this one, and no reason to hide the others
				unreadable[i] = &UnreadableError{id, err}
			}
			found[i] = w
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(found...)
	slices.SortStableFunc(all, func(a, b Waiting) int {
		return cmp.Or(a.since().Compare(b.since()), cmp.Compare(a.Conversation, b.Conversation))
	})
	return all, joined(unreadable)
}

func (w Waiting) since() time.Time {
	if w.Since == nil {
		return time.Time{}
	}
	return *w.Since
}

// UnreadableError reports that one conversation of several cannot be read.
type UnreadableError struct {
	Conversation string
	Err          error
}

// Error implements error.
func (e *UnreadableError) Error() string {
	return "conversation " + e.Conversation + " cannot be read: " + e.Err.Error()
}

// Unwrap returns why.
func (e *UnreadableError) Unwrap() error { return e.Err }

// UnreadableErrors are the conversations that were left out of a list.
type UnreadableErrors []*UnreadableError

// Error implements error.
func (all UnreadableErrors) Error() string {
	text := ""
	for i, e := range all {
		if i > 0 {
			text += "\n"
		}
		text += e.Error()
	}
	return text
}

// joined returns the errors that are not nil; nil if all are.
func joined(errs []*UnreadableError) error {
	errs = slices.DeleteFunc(errs, func(e *UnreadableError) bool { return e == nil })
	if len(errs) == 0 {
		return nil
	}
	return UnreadableErrors(errs)
}
