package parley

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// WaitingChange is something that began to wait, or what became of it.
type WaitingChange struct {
	Time time.Time `json:"time"`
	// Change is "waits", "approved", "approved in part" (others must approve, too),
	// "edited", "answered", "declined", "due" (its time has come), "decided" (while this client was not connected), a [Status] for a call that is
	// not run, or "ended as" with the turn's [Outcome].
	Change string `json:"change"`
	Waiting
}

// FollowWaiting yields what waits in all conversations, then each change, until ctx
// ends. ready, if it is not nil, is called once, after what waits at the start.
func (c *Client) FollowWaiting(ctx context.Context, ready func()) iter.Seq2[WaitingChange, error] {
	return func(yield func(WaitingChange, error) bool) {
		b := &board{client: c, waits: map[string]*boardEntry{}}
		b.report = func(change WaitingChange, err error) error {
			if !yield(change, err) {
				return errStopped
			}
			return nil
		}
		err := c.bus.Deployment().Decisions(ctx, func(m bus.Message) error { return b.see(ctx, m) }, func() error {
			if err := b.resync(ctx); err != nil {
				return err
			}
			if ready != nil {
				ready()
				ready = nil
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(WaitingChange{}, err)
		}
	}
}

// board is what waits while it is followed. It holds nothing of conversations that
// wait for nothing.
type board struct {
	client *Client
	report func(WaitingChange, error) error
	waits  map[string]*boardEntry
}

type boardEntry struct {
	sequence uint64
	waiting  []Waiting
}

// resync reads everything that waits and reports what is different.
func (b *board) resync(ctx context.Context) error {
	all, err := b.client.Waiting(ctx)
	unreadable, partly := errors.AsType[UnreadableErrors](err)
	if err != nil && !partly {
		return err
	}
	entries := map[string]*boardEntry{}
	for _, w := range all {
		e := entries[w.Conversation]
		if e == nil {
			e = &boardEntry{}
			entries[w.Conversation] = e
		}
		e.waiting = append(e.waiting, w)
	}
	for _, u := range unreadable {
		entries[u.Conversation] = b.waits[u.Conversation] // unchanged, as far as is known
		if err := b.report(WaitingChange{}, u); err != nil {
			return err
		}
	}
	for id, e := range entries {
		if e == nil {
			continue
		}
		at := time.Now()
		if e.waiting[0].Since != nil {
			at = *e.waiting[0].Since
		}
		if old := b.waits[id]; old != nil && e != old {
			e.sequence = old.sequence
		}
		if err := b.change(id, e, at, nil); err != nil {
			return err
		}
	}
	for id, old := range b.waits {
		if _, there := entries[id]; !there {
			if err := b.change(id, &boardEntry{sequence: old.sequence}, time.Now(), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// see takes a decision in.
func (b *board) see(ctx context.Context, m bus.Message) error {
	if len(m.Lines) == 0 {
		return nil // not one of ours
	}
	b.client.paused.note(&m)
	d, ok := m.Lines[0].Event.(*events.Decision)
	old := b.waits[m.Conversation]
	if !ok || old != nil && m.Sequence <= old.sequence {
		return nil
	}
	s := Standing{State: d.State, Sequence: m.Sequence}
	if d.State.Phase == events.PhasePaused {
		listed := map[string]Awaited{}
		if old != nil {
			for _, w := range old.waiting {
				listed[w.Call] = w.Awaited
			}
		}
		list(d, listed)
		v := b.client.Conversation(m.Conversation)
		if !v.collect(&s, listed) {
			read, err := v.Standing(ctx) // it was not followed from its beginning
			if err != nil && (ctx.Err() != nil || !b.client.Connected()) {
				return err
			}
			if err != nil {
				return b.report(WaitingChange{}, &UnreadableError{m.Conversation, err})
			}
			s = read
		}
	}
	return b.change(m.Conversation, &boardEntry{s.Sequence, s.Waiting}, m.Time, d)
}

// change sets what a conversation waits for and reports what is different. d is the
// decision that changed it; nil when it was not seen.
func (b *board) change(id string, e *boardEntry, at time.Time, d *events.Decision) error {
	old := b.waits[id]
	if old == nil {
		old = &boardEntry{}
	}
	if len(e.waiting) == 0 {
		delete(b.waits, id)
	} else {
		b.waits[id] = e
	}
	for _, w := range old.waiting {
		if !holds(e.waiting, w) {
			if err := b.report(WaitingChange{at.UTC(), became(d, w.Awaited), w}, nil); err != nil {
				return err
			}
		}
	}
	for _, w := range e.waiting {
		what := "waits"
		if i := indexOf(old.waiting, w); i >= 0 {
			if what = "approved in part"; len(w.Approved) <= len(old.waiting[i].Approved) {
				continue
			}
		}
		if err := b.report(WaitingChange{at.UTC(), what, w}, nil); err != nil {
			return err
		}
	}
	return nil
}

func holds(all []Waiting, w Waiting) bool { return indexOf(all, w) >= 0 }

func indexOf(all []Waiting, w Waiting) int {
	return slices.IndexFunc(all, func(o Waiting) bool { return o.Call == w.Call && o.Question == w.Question })
}

// became is what a decision made of something that waited.
func became(d *events.Decision, a Awaited) string {
	if d == nil {
		return "decided"
	}
	for _, l := range d.Events {
		switch e := l.Event.(type) {
		case *events.ToolCallRequested:
			switch {
			case e.Call != a.Call:
			case e.By == "":
				return "due"
			case len(e.Arguments) > 0:
				return "edited"
			default:
				return "approved"
			}
		case *events.ToolCallAnswered:
			if e.Call == a.Call {
				return "answered"
			}
		case *events.QuestionAnswered:
			switch {
			case e.Question != a.Question:
			case e.Declined:
				return "declined"
			default:
				return "answered"
			}
		case *events.ToolCallRefused:
			if e.Call == a.Call {
				return string(e.Status)
			}
		case *events.Resumed:
			if a.For == events.WaitLimit {
				return "approved"
			}
		case *events.TurnEnded:
			return "ended as " + string(e.Outcome)
		}
	}
	return "answered" // its result came from outside
}
