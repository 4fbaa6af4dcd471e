package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// hook answers a hook on the bus until it is stopped, at the latest with the
// test.
func (d *deployment) hook(when events.HookTime, name string, fn func(context.Context, *events.HookCall) (*events.HookAnswered, error)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.AnswerHooks(ctx, when, name, fn) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			d.t.Errorf("hook %s: %v", name, err)
		}
	})
	d.t.Cleanup(stop)
	return stop
}

// tale reads a conversation from its beginning, as it happens, for one
// goroutine of many.
type tale struct {
	d       *deployment
	id      string
	next    func() (bus.Message, error, bool)
	stop    func()
	state   *accumulator.Conversation
	answers map[string]*events.InputAnswered
}

func (d *deployment) tale(ctx context.Context, conversation string) *tale {
	t := &tale{d: d, id: conversation, state: fold(conversation, nil), answers: map[string]*events.InputAnswered{}}
	t.next, t.stop = iter.Pull2(d.Attach(ctx, conversation, bus.From{}))
	return t
}

// until reads on until fits says yes: of nothing, if it is so already, or of an
// event.
func (t *tale) until(what string, fits func(events.Event) bool) error {
	for found := fits(nil); !found; {
		m, err, ok := t.next()
		if err != nil || !ok {
			return fmt.Errorf("waiting for %s: %w; the state is %+v", what, errors.Join(err, context.Cause(t.d.t.Context())), t.state.State)
		}
		t.state.Apply(accumulator.Message{Channel: m.Channel, Call: m.Call, Sequence: m.Sequence, Lines: m.Lines, Bad: m.Bad})
		each(m, func(e events.Event) {
			if a, ok := e.(*events.InputAnswered); ok {
				t.answers[a.Input] = a
			}
			found = fits(e) || found
		})
	}
	return nil
}

// publish says something that has its id.
func (t *tale) publish(ctx context.Context, e events.Event) error {
	_, err := t.d.Publish(ctx, t.id, identify(t.d, e), e)
	return err
}

// tell publishes something and waits for its answer.
func (t *tale) tell(ctx context.Context, e events.Event) error {
	if err := t.publish(ctx, e); err != nil {
		return err
	}
	id := identify(t.d, e)
	return t.until("the answer to a "+e.Type(), func(events.Event) bool { return t.answers[id] != nil })
}

// identify is an input's id; one without gets one.
func identify(d *deployment, e events.Event) string {
	id := new(string)
	switch e := e.(type) {
	case *events.Settings:
		id = &e.ID
	case *events.UserMessage:
		id = &e.ID
	case *events.Verdict:
		id = &e.ID
	case *events.Cancel:
		id = &e.ID
	}
	if *id == "" {
		*id = newID(d.t)
	}
	return *id
}

// each gives the events of a message, those of a Decision one by one.
func each(m bus.Message, fn func(events.Event)) {
	for _, l := range m.Lines {
		fn(l.Event)
		if d, ok := l.Event.(*events.Decision); ok {
			for _, l := range d.Events {
				fn(l.Event)
			}
		}
	}
}

// inputOf is the id of an input.
func inputOf(m bus.Message) (id string) {
	each(m, func(e events.Event) {
		switch e := e.(type) {
		case *events.Settings:
			id = e.ID
		case *events.UserMessage:
			id = e.ID
		case *events.Verdict:
			id = e.ID
		case *events.Cancel:
			id = e.ID
		}
	})
	return id
}

// logs are the logs of all conversations, whole.
func (d *deployment) logs() map[string][]bus.Message {
	d.t.Helper()
	all := map[string][]bus.Message{}
	for shard := range d.Shards() {
		if err := d.ReadShard(d.t.Context(), shard, 0, nil, func(m bus.Message) error {
			all[m.Conversation] = append(all[m.Conversation], m)
			return nil
		}); err != nil {
			d.t.Fatal(err)
		}
	}
	return all
}

// told is a log to read when a test has failed.
func told(log []bus.Message) string {
	var b strings.Builder
	for _, m := range log {
		if len(m.Data) > 600 {
			m.Data = m.Data[:600]
		}
		fmt.Fprintf(&b, "%d %s %s\n", m.Sequence, m.Channel, m.Data)
	}
	return b.String()
}
