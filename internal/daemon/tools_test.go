package daemon_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// does is a tool made of a function.
type does struct {
	spec events.ToolSpec
	run  func(ctx context.Context, in tool.Input) (tool.Result, error)
}

func (d does) Spec() events.ToolSpec { return d.spec }

func (d does) Run(ctx context.Context, in tool.Input) (tool.Result, error) { return d.run(ctx, in) }

// call calls a tool directly, without a model.
func (d *deployment) call(spec events.ToolSpec, arguments string) *events.ToolResult {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	r, err := d.Jobs().Call(ctx, bus.Call{Tool: spec, Arguments: json.RawMessage(arguments)})
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func gives(r tool.Result) func(context.Context, tool.Input) (tool.Result, error) {
	return func(context.Context, tool.Input) (tool.Result, error) { return r, nil }
}

// TestCallsThatCanWaitTakeAQuarterOfTheSlots: with four slots, one call of low
// priority runs at a time, and calls of normal priority do not wait behind them.
func TestCallsThatCanWaitTakeAQuarterOfTheSlots(t *testing.T) {
	var low, most atomic.Int64
	release := make(chan struct{})
	it := does{events.ToolSpec{Name: "it", Effect: events.EffectPure, Concurrency: 4}, func(ctx context.Context, in tool.Input) (tool.Result, error) {
		if strings.Contains(string(in.Arguments), "urgent") {
			return tool.Result{Content: "at once"}, nil
		}
		most.Store(max(most.Load(), low.Add(1)))
		defer low.Add(-1)
		select {
		case <-release:
		case <-ctx.Done():
		}
		return tool.Result{Content: "waited"}, nil
	}}
	script := callsScript("it", `{"n":1}`, `{"n":2}`, `{"n":3}`)
	d := start(t, scriptFile(t, script), registry(t, it))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conversation := newID(t)
	d.sendNew(conversation, func(id string) events.Event { return &events.Settings{ID: id, Priority: events.PriorityLow} })
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v := d.view(ctx, conversation)
	v.until("the first call", func(e events.Event) bool { _, ok := e.(*events.ToolStarted); return ok })
	for range 4 {
		if r := d.call(it.spec, `{"urgent":true}`); r.Content != "at once" {
			t.Errorf("%+v", r)
		}
	}
	queues, err := d.Jobs().Queues(ctx)
	if err != nil {
		t.Fatal(err)
	}
	lag := uint64(0)
	for _, q := range queues {
		if q.Low {
			lag += q.Lag
		}
	}
	close(release)
	v.until("the end", func(e events.Event) bool { _, ok := e.(*events.TurnEnded); return ok })
	if most.Load() != 1 || lag != 2 {
		t.Errorf("%d calls of low priority ran at once, %d waited in their queue", most.Load(), lag)
	}
}
