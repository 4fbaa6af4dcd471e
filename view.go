package parley

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// View is a conversation folded up to a position of its log.
type View struct {
	Conversation string
	// Cursor is the position: events after it are not in the view.
	Cursor Cursor
	State  State
	// Settings are all that were accepted, merged.
	Settings Settings
	// Messages is the transcript, as a model reads it; a call without a result has a
	// message that says so. The slice is shared between views: do not change it.
	Messages []Message

	folded *accumulator.Conversation
}

// Open returns the answer that is being streamed, as far as it is known, and its
// generation; nil and "" when none is. It is valid until the iteration that gave
// the view continues.
func (v *View) Open() (answer *Message, generation string) {
	if v.folded == nil || v.folded.Open == nil || v.folded.Generation == "" {
		return nil, ""
	}
	m := v.folded.Open.Message()
	return &m, v.folded.Generation
}

// Compacted returns what the model is not sent of the conversation; nil when it is sent
// all of it.
func (v *View) Compacted() *Compacted {
	if v.folded == nil {
		return nil
	}
	return v.folded.Transcript.Shortened()
}

// Unsent returns how many of the view's messages, from the first, the model is not sent,
// and of how many, from the first, it is not sent the long results of tools.
func (v *View) Unsent() (messages, results int) {
	if v.folded == nil {
		return 0, 0
	}
	return v.folded.Transcript.Omitted()
}

// Call returns a call of the conversation and how it ended; false when there is
// none. It is valid as [View.Open] is.
func (v *View) Call(id string) (Called, bool) {
	if v.folded == nil {
		return Called{}, false
	}
	return v.folded.Transcript.Call(id)
}

// Proposed returns a call as the model made it, before a person edited its
// arguments; false when there is none. It is valid as [View.Open] is.
func (v *View) Proposed(call string) (Part, bool) {
	if v.folded == nil {
		return Part{}, false
	}
	return v.folded.Transcript.Part(call)
}

// Called is a call of a transcript and how it ended.
type Called = accumulator.Called

// fold folds a conversation as its messages come.
type fold struct {
	conversation *Conversation
	folded       *accumulator.Conversation
	cursor       Cursor
	requested    uint64 // sequence of the Decision that requested the last generation
	found        bool
	messages     []Message // of the transcript; nil when they have to be made again
}

func (v *Conversation) newFold() *fold {
	return &fold{conversation: v, folded: &accumulator.Conversation{ID: v.id, Transcript: accumulator.NewTranscript()}}
}

// apply folds a message in.
func (f *fold) apply(m bus.Message) {
	f.found = true
	f.folded.Apply(m.Folded())
	if m.Sequence >= f.cursor.Sequence {
		f.cursor = m.Cursor(bus.Whole)
	}
	if m.Channel == events.ChannelGen || m.Channel == events.ChannelOut {
		return // no fact
	}
	f.messages = nil
	for _, l := range m.Lines {
		if d, ok := l.Event.(*events.Decision); ok && slices.ContainsFunc(d.Events, func(l events.Line) bool {
			_, requested := l.Event.(*events.GenerationRequested)
			return requested
		}) {
			f.requested = m.Sequence
		}
	}
}

// view returns the conversation as it is folded now.
func (f *fold) view() View {
	c := f.folded
	if f.messages == nil {
		f.messages = c.Transcript.Messages()
	}
	return View{Conversation: c.ID, Cursor: f.cursor, State: c.State, Settings: c.Transcript.Settings, Messages: f.messages, folded: c}
}

// facts folds the inputs, decisions and results so far.
func (f *fold) facts(ctx context.Context) error {
	v := f.conversation
	if err := v.check(); err != nil {
		return err
	}
	err := v.client.bus.Conversation(v.id).Facts(ctx, 0, func(m bus.Message) error { f.apply(m); return nil })
	f.folded.Drain() // what is behind an unanswered input counts too
	return err
}

// now folds what is in the log so far: the facts, and behind them what streams.
func (f *fold) now(ctx context.Context) error {
	if err := f.facts(ctx); err != nil {
		return err
	}
	if err := f.conversation.deleted(&f.folded.State); err != nil {
		return err
	}
	from := f.resume()
	from.NoFollow = true
	for m, err := range f.read(ctx, from) {
		if err != nil {
			return err
		}
		f.apply(m)
	}
	return nil
}

// resume is where to read on so that no event of the open generation is missing.
func (f *fold) resume() From {
	if f.folded.Generation != "" && f.requested > 0 && f.requested < f.cursor.Sequence {
		return From{After: Cursor{Sequence: f.requested, Index: bus.Whole}}
	}
	return f.next()
}

// next is where to read on behind everything that is folded in.
func (f *fold) next() From {
	if f.cursor.Sequence == 0 {
		return From{Remaining: true}
	}
	return From{After: f.cursor}
}

// read reads messages; where the log has expired behind the facts, what is left.
func (f *fold) read(ctx context.Context, from From) iter.Seq2[bus.Message, error] {
	v := f.conversation
	from.Remaining = true
	return func(yield func(bus.Message, error) bool) {
		for m, err := range v.client.bus.Conversation(v.id).Attach(ctx, from.bus()) {
			v.client.paused.note(&m)
			if !yield(m, err) {
				return
			}
		}
	}
}

// View returns the conversation as it is now: all inputs, decisions and results, also
// those that have expired from the token stream, and the answer that is being
// streamed. It fails with [CodeNotFound] if it has no messages, and with
// [CodeDeleted] if the conversation was deleted.
func (v *Conversation) View(ctx context.Context) (View, error) {
	f := v.newFold()
	if err := f.now(ctx); err != nil {
		return View{}, err
	}
	if !f.found {
		if err := v.Exists(ctx); err != nil {
			return View{}, err
		}
	}
	return f.view(), nil
}

// Snapshot returns the conversation as it is now and what happens afterwards: the
// events behind the view's cursor, live, so that no token of the answer that is
// being streamed comes twice. It is what a viewer that joins late wants. A
// conversation that does not exist yet is an empty view.
func (v *Conversation) Snapshot(ctx context.Context) (View, iter.Seq2[Event, error], error) {
	f := v.newFold()
	if err := f.now(ctx); err != nil {
		return View{}, nil, err
	}
	return f.view(), v.Events(ctx, f.next()), nil
}

// Watch yields the conversation as it is now, then each time that it changes, until
// ctx ends. A change costs what it adds, not the length of the conversation, but
// for [View.Messages] after a fact. A conversation that does not exist yet is an
// empty view. One that is deleted ends the iteration with [CodeDeleted].
func (v *Conversation) Watch(ctx context.Context) iter.Seq2[View, error] {
	return func(yield func(View, error) bool) {
		f := v.newFold()
		if err := f.now(ctx); err != nil {
			yield(View{}, err)
			return
		}
		if !yield(f.view(), nil) {
			return
		}
		for m, err := range f.read(ctx, f.next()) {
			if err == nil {
				f.apply(m)
				err = v.deleted(&f.folded.State)
			}
			if err != nil {
				yield(View{}, err)
				return
			}
			if !yield(f.view(), nil) {
				return
			}
		}
	}
}

// Facts yields the events that are kept for good: inputs, decisions and results,
// without what streamed. It ends at the end of the log.
func (v *Conversation) Facts(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := v.check(); err != nil {
			yield(Event{}, err)
			return
		}
		var a attempts
		var before Cursor
		err := v.client.bus.Conversation(v.id).Facts(ctx, 0, func(m bus.Message) error {
			if !a.eventsOf(&m, before, func(e Event) bool { return yield(e, nil) }) {
				return errStopped
			}
			before = m.Cursor(bus.Whole)
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(Event{}, err)
		}
	}
}

// errStopped reports that the consumer of an iterator broke off.
var errStopped = errors.New("stopped")
