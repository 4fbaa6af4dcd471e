package tool_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is what the clock of the tests says.
func noon() time.Time { return time.Date(2026, 7, 1, 12, 5, 9, 0, time.UTC) }

func builtins(t *testing.T, c tool.Config) *tool.Registry {
	t.Helper()
	if c.Now == nil {
		c.Now = noon
	}
	r, err := tool.Builtins(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// call validates and runs as a worker does.
func call(t *testing.T, r *tool.Registry, name string, args any) (string, error) {
	t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	it, ok := r.Lookup(name)
	if !ok {
		t.Fatalf("there is no tool %s", name)
	}
	var v tool.Validator
	if err := v.Validate(it.Spec(), string(raw)); err != nil {
		return "", err
	}
	result, err := it.Run(t.Context(), tool.Input{Call: "c1", Arguments: raw})
	return result.Content, err
}

type args map[string]any

// named is a tool that is only its spec.
type named events.ToolSpec

func (n named) Spec() events.ToolSpec { return events.ToolSpec(n) }

func (n named) Run(context.Context, tool.Input) (tool.Result, error) { return tool.Result{}, nil }
