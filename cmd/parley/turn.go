package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
)

// errWaits ends the display of a turn that waits.
var errWaits = errors.New("the turn waits")

// untakenError reports that a message is part of no turn.
type untakenError struct{ error }

// shownTurn displays a turn until it has ended.
type shownTurn struct {
	q    *question
	v    view
	desk *desk
	turn *parley.Turn
	end  *parley.TurnEnded
}

// turn sends a message and shows its turn until it has ended. The end is nil when a
// chat continues while the turn waits.
func (q *question) turn(ctx context.Context, s *host.Session, v view, text string, files ...parley.SendOption) (*parley.TurnEnded, error) {
	var before parley.Standing
	conv := s.Conversation(q.conversation)
	if !q.fresh {
		if err := conv.Exists(ctx); err != nil && parley.CodeOf(err) != parley.CodeNotFound {
			return nil, err
		}
		var err error
		if before, err = conv.Standing(ctx); err != nil {
			return nil, err
		}
	}
	turn, err := conv.Send(ctx, text, append(files, parley.WithArrival(q.arrival), parley.WithFrom(q.from))...)
	if err != nil {
		return nil, err
	}
	q.fresh = false
	from := parley.From{Remaining: true} // a turn may wait until its log has expired
	if !q.json {
		after := turn.Start().Sequence
		if q.seen > 0 {
			after = q.seen // a chat left the previous turn while it waited
		}
		if len(before.Waiting) > 0 {
			after = min(after, before.Sequence)
		}
		if after > 0 {
			from.After = parley.Cursor{Sequence: after, Index: parley.WholeMessage}
		}
	}
	t := &shownTurn{q: q, v: v, turn: turn}
	return t.watch(ctx, s, from, before)
}

// watch shows the turn until it has ended. before is what waited before.
func (t *shownTurn) watch(ctx context.Context, s *host.Session, from parley.From, before parley.Standing) (*parley.TurnEnded, error) {
	q := t.q
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	ctx, leave := context.WithCancelCause(ctx)
	rest := func() {
		if q.chatting && t.desk.onlyWaits() {
			leave(errWaits)
		}
	}
	t.desk = newDesk(q, s.Conversation(q.conversation), t.v.Close, rest)
	var others sync.WaitGroup
	defer others.Wait()
	defer leave(nil)
	others.Go(func() { t.interrupted(ctx, s, interrupts, leave) })
	others.Go(func() { t.desk.run(ctx) })
	t.desk.seed(before.Waiting)
	if t.turn.ID() != "" {
		t.desk.begins()
	}
	var failed error
	for e, err := range t.turn.EventsFrom(ctx, from) {
		switch {
		case errors.Is(err, errWaits):
			return nil, nil
		case err != nil:
			failed = untaken(err)
			continue // it is the last
		case e.Decided:
			t.note(e.Body)
			continue // the Decision shows it
		}
		if e.Cursor.Sequence > before.Sequence {
			t.desk.see(e)
		}
		q.seen = max(q.seen, e.Cursor.Sequence)
		if err := q.screen.show(func() error { return t.v.Show(t.desk.shown(e)) }); err != nil {
			return nil, err
		}
		t.desk.showed()
		if t.turn.ID() != "" || t.turn.Queued() {
			t.desk.begins()
		}
		if t.end == nil {
			rest()
		}
	}
	if failed != nil {
		if _, ok := errors.AsType[*untakenError](failed); !ok {
			return nil, failed
		}
	}
	return t.end, errors.Join(failed, q.screen.show(func() error { return t.v.Turn(q.conversation) }))
}

// untaken returns the error of a message that is part of no turn, in words for its
// sender; other errors unchanged.
func untaken(err error) error {
	refused, ok := errors.AsType[*parley.AnswerError](err)
	switch {
	case !ok:
		return err
	case refused.Dropped:
		return &untakenError{errors.New(refused.Answer.Reason)}
	}
	return &untakenError{fmt.Errorf("the message was not taken (%s): %s", refused.Answer.Answer, refused.Answer.Reason)}
}

// note records the turn's end.
func (t *shownTurn) note(body parley.Body) {
	if e, ok := body.(*parley.TurnEnded); ok && e.Turn == t.turn.ID() {
		t.end = e
	}
}

// termination is how long a turn may take to end after SIGTERM before it is left.
const termination = 2 * time.Second

// interrupted turns the first interrupt into a Cancel, the second into leaving.
// Whoever sends SIGTERM may send no second one: the turn is left if the Cancel does
// not end it, for instance because nothing is stored.
func (t *shownTurn) interrupted(ctx context.Context, s *host.Session, interrupts <-chan os.Signal, leave context.CancelCauseFunc) {
	left := &exitError{exitCancelled, errors.New("left; the turn's end is in the log: parley tail " + t.q.conversation)}
	var publishing sync.WaitGroup
	defer publishing.Wait()
	var over <-chan time.Time
	for n := 0; ; {
		var received os.Signal
		select {
		case <-ctx.Done():
			return
		case <-over:
			leave(left)
			return
		case received = <-interrupts:
		}
		if received == syscall.SIGTERM {
			over = time.After(termination)
		} else if t.desk.editing.Load() {
			continue // the editor handles it
		}
		if n++; n > 1 {
			leave(left)
			return
		}
		cancel := &parley.Cancel{Reason: "interrupted"}
		what := "cancelling the turn"
		if t.turn.Queued() {
			cancel.Scope, what = parley.ScopeQueue, "taking the message off the queue"
		}
		t.desk.close("\n" + what + "; press Ctrl-C again to leave at once")
		publishing.Go(func() {
			if _, err := s.Conversation(t.q.conversation).Publish(ctx, cancel); err != nil {
				leave(err)
			}
		})
	}
}
