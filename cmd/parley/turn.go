package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// errRests says that a turn is left while it waits.
var errRests = errors.New("the turn waits")

// untakenError says that a message is no part of any turn.
type untakenError struct{ error }

// shownTurn is a turn that is shown until it has ended.
type shownTurn struct {
	q      *question
	s      *session
	v      view
	desk   *desk
	input  string       // the message that it answers
	turn   string       // empty until it has begun
	queued atomic.Bool  // it waits for the turn before
	taken  atomic.Bool  // the orchestrator answered the message
	heard  atomic.Int64 // when the last message came, Unix nanoseconds
	end    *events.TurnEnded
	// answered says that it is known what became of the message.
	answered bool
	err      error // why there is nothing to wait for
}

// turn says something and shows what comes of it until its turn has ended. The
// end is nil when a chat goes on while the turn waits.
func (q *question) turn(ctx context.Context, s *session, v view, text string) (*events.TurnEnded, error) {
	var p pending
	var err error
	if !q.fresh {
		if p, err = s.pending(ctx, q.conversation); err != nil {
			return nil, err
		}
		if err := deletedError(q.conversation, &p.State); err != nil {
			return nil, err
		}
	}
	t := &shownTurn{q: q, s: s, v: v}
	seq, err := q.send(ctx, s, func(id string) events.Event {
		t.input = id
		return &events.UserMessage{ID: id, Text: text, Arrival: q.arrival, From: q.from}
	})
	if err != nil {
		return nil, err
	}
	q.fresh = false
	from := bus.From{}
	if !q.json {
		after := seq - 1
		if q.seen > 0 {
			after = q.seen // a chat left the turn before while it waited
		}
		if len(p.Awaiting) > 0 {
			after = min(after, p.Lane)
		}
		if after > 0 {
			from.After = bus.Cursor{Sequence: after, Index: bus.Whole}
		}
	}
	return t.watch(ctx, from, p)
}

// watch shows the turn until it has ended. p is what waited before.
func (t *shownTurn) watch(ctx context.Context, from bus.From, p pending) (*events.TurnEnded, error) {
	q := t.q
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	ctx, leave := context.WithCancelCause(ctx)
	rest := func() {
		if q.chatting && t.desk.resting() {
			leave(errRests)
		}
	}
	t.desk = newDesk(q, t.s, t.v.Close, rest)
	var others sync.WaitGroup
	defer others.Wait()
	defer leave(nil)
	others.Go(func() { t.interrupted(ctx, interrupts, leave) })
	others.Go(func() { t.desk.run(ctx) })
	t.heard.Store(time.Now().UnixNano())
	others.Go(func() { t.doubt(ctx, leave) })
	t.desk.seed(p.Awaiting)
	if t.answered = t.input == ""; t.answered {
		t.desk.begins()
	}
	for m, err := range t.attach(ctx, from) {
		if errors.Is(err, errRests) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		t.heard.Store(time.Now().UnixNano())
		if m.Sequence > p.Lane {
			t.desk.see(m)
		}
		q.seen = max(q.seen, m.Sequence)
		if err := q.screen.show(func() error { return t.v.Show(t.desk.shown(m)) }); err != nil {
			return nil, err
		}
		t.desk.showed()
		if decided(m, t.note); t.answered {
			t.desk.begins()
		}
		if t.err != nil || t.end != nil {
			return t.end, errors.Join(t.err, q.screen.show(func() error { return t.v.Turn(q.conversation) }))
		}
		rest()
	}
	return nil, errors.New("the conversation's log ended before the turn did")
}

// attach follows the conversation. What waited so long that the log let go of it
// is followed from what is left.
func (t *shownTurn) attach(ctx context.Context, from bus.From) func(func(bus.Message, error) bool) {
	return func(yield func(bus.Message, error) bool) {
		for m, err := range t.s.Attach(ctx, t.q.conversation, from) {
			if errors.Is(err, bus.ErrCursorExpired) {
				t.s.Attach(ctx, t.q.conversation, bus.From{Left: true})(yield)
				return
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// note finds the turn of the message, and its end.
func (t *shownTurn) note(e events.Event) {
	switch e := e.(type) {
	case *events.TurnStarted:
		if slices.Contains(e.Inputs, t.input) {
			t.turn = e.Turn
			t.queued.Store(false)
		}
	case *events.TurnEnded:
		if e.Turn == t.turn {
			t.end = e
		}
	case *events.InputAnswered:
		if slices.Contains(e.Dropped, t.input) {
			t.err = &untakenError{errors.New("the message was taken off the queue")}
		}
		if e.Input != t.input {
			return
		}
		t.taken.Store(true)
		t.answered = true
		switch e.Answer {
		case events.AnswerAccepted:
			t.turn = cmp.Or(e.Turn, t.turn) // it may join one that runs
		case events.AnswerQueued:
			t.queued.Store(true)
		default:
			t.err = &untakenError{fmt.Errorf("the message was not taken (%s): %s", e.Answer, e.Reason)}
		}
	}
}

// interrupted turns the first interrupt into a Cancel, the second into leaving.
func (t *shownTurn) interrupted(ctx context.Context, interrupts <-chan os.Signal, leave context.CancelCauseFunc) {
	q := t.q
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-interrupts:
		}
		if t.desk.editing.Load() {
			continue // it is for the editor
		}
		if n++; n > 1 {
			leave(&exitError{exitCancelled, errors.New("left; the turn's end is in the log: parley tail " + q.conversation)})
			return
		}
		cancel := events.Cancel{Reason: "interrupted"}
		what := "cancelling the turn"
		if t.queued.Load() {
			cancel.Scope, what = events.ScopeQueue, "taking the message off the queue"
		}
		t.desk.close("\n" + what + "; press Ctrl-C again to leave at once")
		if err := q.publish(ctx, t.s, func(id string) events.Event { cancel.ID = id; return &cancel }); err != nil {
			leave(err)
			return
		}
	}
}
