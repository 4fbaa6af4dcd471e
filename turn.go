package parley

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Turn is the turn that answers a message. It is safe for concurrent use.
type Turn struct {
	conversation *Conversation
	input        string // id of the message
	settings     string // id of the Settings that were sent before it; may be empty
	first        uint64 // sequence of what was sent first

	mu     sync.Mutex
	id     string
	queued bool
}

// Turn returns the turn with an id, which runs or waits, for a program that did not
// send its message.
func (v *Conversation) Turn(id string) *Turn { return &Turn{conversation: v, id: id} }

// Input is the id of the message; empty for a turn of [Conversation.Turn].
func (t *Turn) Input() string { return t.input }

// Start is the position before the message, and before the settings sent with it;
// the zero value for a turn of [Conversation.Turn], and of a message that was sent
// before ([WithInputID]).
func (t *Turn) Start() Cursor {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first <= 1 {
		return Cursor{}
	}
	return Cursor{Sequence: t.first - 1, Index: WholeMessage}
}

// ID is the id of the turn; empty until [Turn.Events] or [Turn.Wait] has seen it
// start.
func (t *Turn) ID() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.id
}

// Events yields the turn's events: the message, then what happens in the turn,
// last its [TurnEnded]. Each call starts again from the message. It waits while
// another turn runs before it, and while the turn waits for a person.
//
// The error, as the last pair, is an [AnswerError] when the message or its settings
// are refused or dropped from the queue; it has [CodeNoOrchestrator],
// [CodeNoAnswer] or [CodeNotStored] when the message has no answer for 10 s (15 s while
// an orchestrator owns the conversation) or answers cannot be stored. The message is in the log then, and Events may be
// called again.
func (t *Turn) Events(ctx context.Context) iter.Seq2[Event, error] {
	return t.follow(ctx, From{After: t.Start()}, false)
}

// EventsFrom yields all events of the conversation from a position on, those of other
// turns too, until the [Decision] that ends the turn. It fails as [Turn.Events] does.
func (t *Turn) EventsFrom(ctx context.Context, from From) iter.Seq2[Event, error] {
	return t.follow(ctx, from, true)
}

// follow yields events until the turn ends. all is whether it yields those of other
// turns, and the Decision behind the last event.
func (t *Turn) follow(ctx context.Context, from From, all bool) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := newFollower(t)
		f.seen.Store(from.After.Sequence)
		if !all {
			f.doubt.behind = f.lost
		}
		err := t.followLog(ctx, f, from, all, yield)
		for errors.Is(err, errLost) { // each time behind more of what HISTORY has
			from, err = t.followFacts(ctx, f, all, yield)
			if err == nil {
				err = t.followLog(ctx, f, from, all, yield)
			}
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Event{}, err)
		}
	}
}

// followLog yields events of the log. It fails with [errStopped] when nothing is to be
// yielded any more, and with [errLost] when HISTORY has what follows, and the log does
// not.
func (t *Turn) followLog(ctx context.Context, f *follower, from From, all bool, yield func(Event, error) bool) error {
	ctx, done := watched(ctx, f.doubt.run)
	defer done()
	for e, err := range t.conversation.Events(ctx, from) {
		if expired, is := errors.AsType[*CursorExpiredError](err); is && expired.OtherLog && !all {
			if lost := f.lost(ctx); lost != nil {
				err = lost
			}
		}
		if err == nil {
			err = t.follows(ctx, f, e, all, yield)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// followFacts yields the facts that follow what the follower has seen, and returns where
// to continue in the log.
func (t *Turn) followFacts(ctx context.Context, f *follower, all bool, yield func(Event, error) bool) (From, error) {
	last := f.seen.Load()
	var decided []Event // of the Decision that comes next: only its own cursor tells where it is
	for e, err := range t.conversation.Facts(ctx) {
		if err == nil && e.Decided {
			decided = append(decided, e)
			continue
		}
		batch := append(decided, e)
		if decided = nil; err == nil && e.Cursor.Sequence <= last {
			continue
		}
		for _, e := range batch {
			if err == nil {
				err = t.follows(ctx, f, e, all, yield)
			}
		}
		if err != nil {
			return From{}, err
		}
	}
	return From{After: Cursor{Sequence: f.seen.Load(), Index: WholeMessage}}, nil
}

// follows yields an event if it is one of those that are followed. It returns
// [errStopped] behind the last one.
func (t *Turn) follows(ctx context.Context, f *follower, e Event, all bool, yield func(Event, error) bool) error {
	mine, err := f.see(e)
	if err != nil {
		f.refused = err
	}
	if (mine || all) && !yield(e, nil) {
		return errStopped
	}
	switch end := !all || !e.Decided; {
	case end && !all && t.earlier(f.refused):
		t.follow(ctx, From{}, all)(yield)
		return errStopped
	case end && !all && !f.facts && t.repeated(f.refused) != "":
		f.facts, f.refused = true, nil // the log has its turn no more
		f.seen.Store(0)
		return errLost
	case end && f.refused != nil:
		return f.refused
	case end && f.ended:
		return errStopped
	}
	return nil
}

// earlier reports whether an error means that the message was sent again after its
// turn had ended. Then it is that turn, from the beginning of the conversation.
func (t *Turn) earlier(err error) bool {
	turn := t.repeated(err)
	if turn == "" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	again := t.first > 1
	t.id, t.first = turn, 0
	return again
}

// repeated returns the turn that answered the message when an error means that it was
// sent again after that.
func (t *Turn) repeated(err error) string {
	refused, ok := errors.AsType[*AnswerError](err)
	if !ok || refused.Answer.Answer != AnswerAlreadyEnded || refused.Answer.Input != t.input {
		return ""
	}
	return refused.Answer.Turn
}

// Result is how a turn ended.
type Result struct {
	*TurnEnded
	// Text is the text of the turn's last answer; empty if there was none.
	Text string
}

// Wait waits for the turn's end. A turn that ended otherwise than completed is no
// error: see [TurnEnded.Outcome]. It fails as [Turn.Events] does.
func (t *Turn) Wait(ctx context.Context) (Result, error) {
	var r Result
	for e, err := range t.Events(ctx) {
		if err != nil {
			return r, err
		}
		switch body := e.Body.(type) {
		case *AssistantMessage:
			r.Text = TextOf(body.Message)
		case *TurnEnded:
			r.TurnEnded = body
		}
	}
	if r.TurnEnded == nil {
		return r, errLogEnded
	}
	return r, nil
}

// Cancel stops the turn, or takes the message off the queue if its turn has not
// started. It returns an [AnswerError] with [AnswerAlreadyEnded] if the turn has
// ended.
func (t *Turn) Cancel(ctx context.Context) error {
	if t.ID() == "" && !t.Queued() {
		// Without the turn's id the Cancel could stop another turn.
		if err := t.find(ctx); err != nil {
			return err
		}
	}
	cancel := Cancel{Turn: t.ID(), Scope: ScopeTurn}
	if t.ID() == "" {
		cancel.Scope = ScopeQueue
	}
	_, err := t.conversation.Cancel(ctx, cancel)
	return err
}

// Queued reports whether the message waits for its turn, as far as [Turn.Events] has
// seen.
func (t *Turn) Queued() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queued
}

// find reads the log until the message is answered.
func (t *Turn) find(ctx context.Context) error {
	for e, err := range t.Events(ctx) {
		if err != nil {
			return err
		}
		if a, ok := e.Body.(*InputAnswered); ok && a.Input == t.input {
			return nil
		}
	}
	return nil
}

// follower follows one turn through the events of its conversation.
type follower struct {
	turn    *Turn
	doubt   doubt
	mine    bool // what comes is of the turn
	ended   bool
	facts   bool          // all facts were looked through for the turn
	refused error         // why there is no turn
	seen    atomic.Uint64 // sequence of the last message of the log that was seen
}

func newFollower(t *Turn) *follower {
	f := &follower{turn: t}
	f.doubt.conversation = t.conversation
	f.doubt.heard()
	if t.input == "" {
		f.doubt.taken()
	}
	return f
}

// see reports whether an event is one of the turn's, and an error when there is no
// turn to follow.
func (f *follower) see(e Event) (mine bool, err error) {
	f.doubt.heard()
	f.seen.Store(max(f.seen.Load(), e.Cursor.Sequence))
	t := f.turn
	switch body := e.Body.(type) {
	case *UserMessage:
		return t.input != "" && body.ID == t.input, nil
	case *TurnStarted:
		if body.Turn == t.ID() || slices.Contains(body.Inputs, t.input) {
			f.started(body.Turn)
		}
	case *TurnEnded:
		f.ended = body.Turn == t.ID()
	case *InputAnswered:
		return f.answered(body)
	}
	return f.mine, nil
}

// errLost reports that HISTORY has what follows, and the log has lost it.
var errLost = errors.New("the log has lost what follows")

// lost returns [errLost] when HISTORY has facts behind what was seen that the log has
// lost. That it cannot be found out is no error: the log may still have what comes.
func (f *follower) lost(ctx context.Context) error {
	v := f.turn.conversation
	at, err := v.client.bus.Conversation(v.id).LostSince(ctx, f.seen.Load()+1)
	if err != nil || at == 0 {
		return nil
	}
	return errLost
}

// started notes that the turn runs.
func (f *follower) started(id string) {
	t := f.turn
	t.mu.Lock()
	defer t.mu.Unlock()
	t.id, t.queued, f.mine = cmp.Or(id, t.id), false, true
}

func (f *follower) answered(a *InputAnswered) (mine bool, err error) {
	t := f.turn
	switch {
	case t.input == "":
		return f.mine, nil
	case slices.Contains(a.Dropped, t.input):
		return false, &AnswerError{Dropped: true, Answer: &InputAnswered{Input: t.input, Answer: AnswerSuperseded, Reason: "the message was taken off the queue"}}
	case a.Input == t.settings && t.settings != "":
		return true, accepted(a)
	case a.Input != t.input:
		return f.mine, nil
	}
	f.doubt.taken()
	switch a.Answer {
	case AnswerAccepted:
		f.started(a.Turn) // it may join one that runs
	case AnswerQueued:
		t.mu.Lock()
		t.queued = true
		t.mu.Unlock()
	default:
		return false, accepted(a)
	}
	return true, nil
}

// TextOf returns the text of a message, without reasoning, refusals and calls.
func TextOf(m Message) string {
	var b strings.Builder
	for _, p := range m.Parts {
		if p.Kind == PartText {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}
