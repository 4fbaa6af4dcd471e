package daemon_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/tool"
)

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
