package daemon_test

import (
	"context"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

const hammerScript = `
model: demo
pace: 0
rules:
  - {match: ., steps: [{calls: [{tool: hammer, raw: '{}', unoffered: true}]}, {text: All done.}]}
`

// hammer is a tool that the model calls in each turn.
func hammer() does {
	return does{events.ToolSpec{Name: "hammer", Effect: events.EffectPure}, gives(tool.Result{Content: "done"})}
}

// known blocks until a tool is or is not in the bucket of known tools.
func (d *deployment) known(name string, is bool) {
	d.t.Helper()
	within(d.t, "whether the tool "+name+" is known did not change", func() bool {
		all, err := d.Presence().KnownTools(d.t.Context())
		if err != nil {
			d.t.Fatal(err)
		}
		tool, there := all[name]
		return (there && !tool.Withdrawn) == is
	})
}

func TestACallOfAToolOfferedBeforeAllProcessesWereRestartedWaitsForItsWorker(t *testing.T) {
	d := serve(t)
	d.run(d.models("models", scriptFile(t, hammerScript)))
	stopTools := d.run(d.tools("tools", registry(t, hammer())))
	stop := d.run(d.orchestrator("before"))
	if _, end := d.turn(newID(t), "go"); end.Outcome != events.OutcomeCompleted {
		t.Fatalf("%s %s", end.Outcome, end.Reason)
	}
	d.known("hammer", true)
	stop()
	stopTools()
	d.run(d.orchestrator("after"))
	conversation := newID(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	v := d.view(ctx, conversation)
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v.until("the call", func(e events.Event) bool {
		if r, ok := e.(*events.ToolCallRefused); ok {
			t.Fatalf("the call was refused as %s: %s", r.Status, r.Content)
		}
		_, requested := e.(*events.ToolCallRequested)
		return requested
	})
	d.run(d.tools("tools", registry(t, hammer())))
	v.until("the end", func(e events.Event) bool { _, ended := e.(*events.TurnEnded); return ended })
	if calls := v.state.Transcript.Calls(""); len(calls) != 1 || calls[0].Status != events.StatusOK {
		t.Errorf("%+v", calls)
	}
}

func TestACallOfAToolThatItsWorkerWithdrewIsUnknown(t *testing.T) {
	d := serve(t)
	d.run(d.models("models", scriptFile(t, hammerScript)))
	tools := registry(t)
	if err := tools.Set("more", hammer()); err != nil {
		t.Fatal(err)
	}
	d.run(d.tools("tools", tools))
	stop := d.run(d.orchestrator("before"))
	call := func() accumulator.Called {
		t.Helper()
		conversation := newID(t)
		seen, end := d.turn(conversation, "go")
		calls := fold(conversation, seen).Transcript.Calls("")
		if end.Outcome != events.OutcomeCompleted || len(calls) != 1 {
			t.Fatalf("%s %s, %d calls", end.Outcome, end.Reason, len(calls))
		}
		return calls[0]
	}
	if c := call(); c.Status != events.StatusOK {
		t.Fatalf("%+v", c)
	}
	d.known("hammer", true)
	if err := tools.Set("more"); err != nil {
		t.Fatal(err)
	}
	d.known("hammer", false)
	if c := call(); c.Status != events.StatusUnknownTool {
		t.Errorf("%+v", c)
	}
	stop()
	d.run(d.orchestrator("after"))
	if c := call(); c.Status != events.StatusUnknownTool {
		t.Errorf("after a restart: %+v", c)
	}
	if err := tools.Set("more", hammer()); err != nil {
		t.Fatal(err)
	}
	d.known("hammer", true)
	if c := call(); c.Status != events.StatusOK {
		t.Errorf("offered again: %+v", c)
	}
}
