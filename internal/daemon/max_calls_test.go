package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// crowd counts the concurrent calls of several tools and blocks them until
// release is closed.
type crowd struct {
	mu        sync.Mutex
	now, most int
	started   chan struct{}
	release   <-chan struct{}
}

func newCrowd(release <-chan struct{}) *crowd {
	return &crowd{started: make(chan struct{}, 99), release: release}
}

func (c *crowd) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
}

// wait blocks until one more call runs.
func (c *crowd) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.started:
	case <-time.After(30 * time.Second):
		t.Fatal("no call runs")
	}
}

// tools returns n tools, tool_0 and so on; a call with "urgent" in its arguments
// returns at once.
func (c *crowd) tools(n int) (all []tool.Tool) {
	for i := range n {
		all = append(all, does{events.ToolSpec{Name: fmt.Sprintf("tool_%d", i), Effect: events.EffectPure}, func(ctx context.Context, in tool.Input) (tool.Result, error) {
			if strings.Contains(string(in.Arguments), "urgent") {
				return tool.Result{Content: "at once"}, nil
			}
			c.count(1)
			defer c.count(-1)
			c.started <- struct{}{}
			select {
			case <-c.release:
			case <-ctx.Done():
			}
			return tool.Result{Content: "done"}, ctx.Err()
		}})
	}
	return all
}

// running returns how many calls of the queues with low or normal priority a
// worker has taken, and how many are pending.
func (d *deployment) running(low bool) (taken, lag int) {
	d.t.Helper()
	queues, err := d.Jobs().Queues(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, q := range queues {
		if strings.HasPrefix(q.Name, "tool_") && q.Low == low {
			taken, lag = taken+q.Running, lag+int(q.Lag)
		}
	}
	return taken, lag
}

// TestAWorkerRunsNoMoreThanItMay: two workers with --max-calls 2 run two calls
// each of four tools with four calls each. They hold at most one further call per
// queue, so that the other worker gets its share.
func TestAWorkerRunsNoMoreThanItMay(t *testing.T) {
	const tools, calls, most = 4, 4, 2
	d := serve(t)
	let := make(chan struct{})
	one, two := newCrowd(let), newCrowd(let)
	work := func(name string, c *crowd) {
		d.run(toolworker.Role(daemon.Config{Name: name, MaxCalls: most}, d.log, registry(t, c.tools(tools)...), nil, nil))
		for range most {
			c.wait(t)
		}
	}
	specs := registry(t, one.tools(tools)...).Specs()
	for _, spec := range specs {
		if err := d.Presence().Announce(t.Context(), []bus.Offer{{Kind: "tool", Name: spec.Name, Worker: "one", Tool: &spec}}); err != nil {
			t.Fatal(err)
		}
	}
	g, ctx := errgroup.WithContext(t.Context())
	for i := range tools * calls {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			r, err := d.Jobs().Call(ctx, bus.Call{Tool: specs[i%tools], Arguments: json.RawMessage(`{}`)})
			if err == nil && r.Status != events.StatusOK {
				err = fmt.Errorf("%s: %s", r.Status, r.Content)
			}
			return err
		})
	}
	work("one", one)
	work("two", two)
	if taken, _ := d.running(false); taken > 2*(most+tools) {
		t.Errorf("%d calls are taken", taken)
	}
	close(let)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if one.most != most || two.most != most {
		t.Errorf("%d and %d calls ran at once, want %d each", one.most, two.most, most)
	}
}

// TestLowPriorityTakesAQuarterOfAWorker: of four concurrent calls of a worker, one
// has low priority, across all tools.
func TestLowPriorityTakesAQuarterOfAWorker(t *testing.T) {
	d := serve(t)
	let := make(chan struct{})
	c := newCrowd(let)
	tools := registry(t, c.tools(3)...)
	specs := tools.Specs()
	d.run(toolworker.Role(daemon.Config{Name: "tools", MaxCalls: 4}, d.log, tools, nil, nil))
	script := "rules:\n  - steps:\n      - calls: [{tool: tool_0}, {tool: tool_1}, {tool: tool_2}]\n      - text: done\n"
	d.run(d.models("models", scriptFile(t, script)))
	d.run(d.orchestrator("orchestrator"))
	conversation := newID(t)
	d.sendNew(conversation, func(id string) events.Event { return &events.Settings{ID: id, Priority: events.PriorityLow} })
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	c.wait(t)
	for i := range 6 {
		if r := d.call(specs[i%3], `{"urgent":true}`); r.Content != "at once" {
			t.Errorf("%+v", r)
		}
	}
	if n := len(c.started); n != 0 {
		t.Errorf("%d calls of low priority more run", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	v := d.view(ctx, conversation)
	close(let)
	v.until("the end", func(e events.Event) bool { _, ok := e.(*events.TurnEnded); return ok })
	if c.most != 1 {
		t.Errorf("%d calls of low priority ran at once", c.most)
	}
}
