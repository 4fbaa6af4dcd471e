package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// talk is one conversation: who sends in it, and a viewer of it.
type talk struct {
	scenario
	id    string
	conv  *parley.Conversation
	bus   *bus.Bus // for what the client does not publish
	fake  *provider
	store store // what happens to the store
	turns int

	mu    sync.Mutex
	seen  []parley.Event // by the viewer, over all its connections
	words int
	broke error // why the last connection of the viewer ended
}

// patiently repeats an idempotent request until it succeeds or ctx ends.
func patiently(ctx context.Context, do func(ctx context.Context) error) error {
	for {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := do(one)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if answer, ok := errors.AsType[*parley.AnswerError](err); ok {
			return answer
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// run sends the scenario's messages and waits for the end of all turns.
func (k *talk) run(ctx context.Context, cancelAfter int) error {
	if k.configured {
		return k.configure(ctx)
	}
	if k.mayFail() {
		return k.provide(ctx)
	}
	if k.compacted {
		return k.compact(ctx)
	}
	k.turns = 1
	if k.hostile {
		if err := k.unreadable(ctx); err != nil {
			return err
		}
	}
	turn, err := k.send(ctx)
	if err != nil {
		return err
	}
	if k.hostile {
		if err := k.strangersResult(ctx); err != nil {
			return err
		}
	}
	if k.twice {
		k.turns = 2
		// Messages that come at once are answered by one turn.
		if err := k.until(ctx, func() bool { return k.words > 0 }); err != nil {
			return err
		}
		if _, err := k.send(ctx); err != nil {
			return err
		}
	}
	if k.cancelled {
		if err := k.until(ctx, func() bool { return k.words >= cancelAfter }); err != nil {
			return err
		}
		var refused *parley.AnswerError
		cancel := turn.Cancel
		if k.store.Kind == "restored" {
			// Which turn answers the message may be said in the lost part of the log only.
			cancel = func(ctx context.Context) error { _, err := k.conv.Cancel(ctx, parley.Cancel{}); return err }
		}
		if err := patiently(ctx, cancel); err != nil && !errors.As(err, &refused) {
			return err
		}
	}
	if _, err := k.ended(ctx); err != nil {
		return err
	}
	if k.deleted {
		err := patiently(ctx, func(ctx context.Context) error {
			_, err := k.conv.Delete(ctx, parley.Delete{})
			if parley.CodeOf(err) == parley.CodeDeleted {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ended waits for the end of all turns and returns the last.
func (k *talk) ended(ctx context.Context) (last *parley.TurnEnded, err error) {
	if k.store.partial() {
		return k.endedOf(ctx)
	}
	return last, k.until(ctx, func() bool {
		n := 0
		for _, e := range k.seen {
			if ended, is := e.Body.(*parley.TurnEnded); is {
				n, last = n+1, ended
			}
		}
		return n >= k.turns
	})
}

// provide sends the message until it is answered: a turn fails when the provider has
// failed as often as a step asks it.
func (k *talk) provide(ctx context.Context) error {
	for k.turns = 1; ; k.turns++ {
		if _, err := k.send(ctx); err != nil {
			return err
		}
		if k.fake.plan[k.text].kind == "refused" && k.turns == 1 {
			failed := func(e parley.Event) bool {
				ended, is := e.Body.(*parley.GenerationEnded)
				return is && ended.Error != nil && ended.Error.Class == events.ErrNetwork
			}
			if _, _, err := k.find(ctx, 0, failed); err != nil {
				return fmt.Errorf("no request is refused: %w", err)
			}
			k.fake.refused(k.text)
		}
		last, err := k.ended(ctx)
		if err != nil || last.Outcome == parley.OutcomeCompleted || k.turns == 4 {
			return err
		}
	}
}

// compact compacts the conversation's history after its second turn.
func (k *talk) compact(ctx context.Context) error {
	id := parley.NewID()
	for k.turns = 1; k.turns <= 3; k.turns++ {
		if k.turns == 3 {
			err := patiently(ctx, func(ctx context.Context) error {
				_, err := k.conv.Compact(ctx, parley.Compact{ID: id})
				return err
			})
			if err != nil {
				return err
			}
		}
		if _, err := k.send(ctx); err != nil {
			return err
		}
		if _, err := k.ended(ctx); err != nil {
			return err
		}
	}
	k.turns = 3
	return nil
}

func (k *talk) options() []parley.SendOption {
	if k.provided {
		return []parley.SendOption{parley.WithModel(modelOfProvider)}
	}
	return nil
}

func (k *talk) send(ctx context.Context) (turn *parley.Turn, err error) {
	id := parley.NewID()
	if k.hostile {
		return nil, k.forged(ctx, id)
	}
	err = patiently(ctx, func(ctx context.Context) error {
		turn, err = k.conv.Send(ctx, k.text, append(k.options(), parley.WithInputID(id))...)
		return err
	})
	return turn, err
}

// until waits until what the viewer has seen fulfils a condition.
func (k *talk) until(ctx context.Context, enough func() bool) error {
	for {
		k.mu.Lock()
		ok := enough()
		k.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// view follows the conversation until ctx ends, and continues after its cursor when
// the connection ends.
func (k *talk) view(ctx context.Context) {
	var after parley.Cursor
	for ctx.Err() == nil {
		for e, err := range k.conv.Events(ctx, parley.From{After: after}) {
			if gone, is := errors.AsType[*parley.CursorExpiredError](err); is && k.store.partial() {
				after = gone.Resume
			}
			if err != nil {
				k.mu.Lock()
				k.broke = fmt.Errorf("after %s: %w", after, err)
				k.mu.Unlock()
				break
			}
			after = e.Cursor
			k.mu.Lock()
			k.seen = append(k.seen, e)
			if _, is := e.Body.(*parley.TextChunk); is {
				k.words++
			}
			k.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// approve approves every call that waits for a person, until ctx ends.
func approve(ctx context.Context, c *parley.Client) {
	for ctx.Err() == nil {
		for change, err := range c.FollowWaiting(ctx, nil) {
			if err != nil {
				break
			}
			if change.Change == "waits" && change.For == parley.WaitApproval {
				// A refusal says that it does not wait any more.
				_ = patiently(ctx, func(ctx context.Context) error { return change.Approve(ctx) })
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
