package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/tool"
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

// holder is a tool that does as its argument "as" says: "quick" ends at once,
// "run" goes on until somebody stops it. It counts what it was given.
type holder struct {
	running sync.WaitGroup

	mu      sync.Mutex
	ran     map[string][]string // arguments by call
	stopped map[string]error
}

func newHolder() *holder { return &holder{ran: map[string][]string{}, stopped: map[string]error{}} }

// Spec implements [tool.Tool].
func (h *holder) Spec() events.ToolSpec {
	return events.ToolSpec{Name: "hold", Description: "holds on", Effect: events.EffectPure,
		Schema: json.RawMessage(`{"type":"object","properties":{"as":{"type":"string"}},"required":["as"]}`)}
}

// Run implements [tool.Tool].
func (h *holder) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	var args struct{ As string }
	if err := in.Decode(&args); err != nil {
		return tool.Result{}, err
	}
	h.mu.Lock()
	h.ran[in.Call] = append(h.ran[in.Call], string(in.Arguments))
	h.mu.Unlock()
	if args.As != "run" {
		return tool.Result{Content: args.As}, nil
	}
	h.running.Add(1)
	defer h.running.Done()
	<-ctx.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped[in.Call] = context.Cause(ctx)
	return tool.Result{}, ctx.Err()
}

// wait waits until nothing runs any more, which nothing does by itself.
func (h *holder) wait(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	go func() { h.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("a tool runs on whose call nobody waits for")
	}
}

// runs are the arguments with which a call ran, each time.
func (h *holder) runs(call string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.ran[call]...)
}

// recorder is a provider that remembers what it was asked.
type recorder struct {
	llm.Provider
	mu    sync.Mutex
	asked []llm.Request
}

// Stream implements [llm.Provider].
func (r *recorder) Stream(ctx context.Context, req llm.Request) llm.Stream {
	r.mu.Lock()
	r.asked = append(r.asked, req)
	r.mu.Unlock()
	return r.Provider.Stream(ctx, req)
}

// last is the request that came last.
func (r *recorder) last(t *testing.T) llm.Request {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.asked) == 0 {
		t.Fatal("no model was asked")
	}
	return r.asked[len(r.asked)-1]
}

// check makes sure that a strict provider would have taken every request.
func (r *recorder) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, req := range r.asked {
		if err := strictly(req.Messages); err != nil {
			t.Errorf("no strict provider takes this request: %v\n%+v", err, req.Messages)
		}
	}
}

// recorded is a worker that plays a script and remembers what it was asked.
func (d *deployment) recorded(name, script string) (daemon.Role, *recorder) {
	d.t.Helper()
	c, err := catalog.Open(d.t.Context(), catalog.Options{Getenv: func(string) string { return "" }, Script: scriptFile(d.t, script), Idle: time.Minute})
	if err != nil {
		d.t.Fatal(err)
	}
	e := c.Entries[catalog.Scripted]
	r := &recorder{Provider: e.Provider}
	e.Provider = r
	c.Entries[catalog.Scripted] = e
	return daemon.LLMWorker(daemon.Config{Name: name, Slots: 256}, d.log, c, nil), r
}
