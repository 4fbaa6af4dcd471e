// Package conformance_test checks tool workers of every language against the
// checklist of docs/tool-workers.md. It plays the orchestrator: it publishes jobs
// as the orchestrator does, and reads from the server what the worker, a separate
// process, wrote.
package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// asProgram has this process run as a program under test: its value is the role.
const asProgram = "PARLEY_CONFORMANCE"

func TestMain(m *testing.M) {
	if role := os.Getenv(asProgram); role != "" {
		code, err := program(role)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	// nats-server waits for an answer to the request for HISTORY's source on a
	// goroutine that outlives its shutdown.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

// program runs as a role until it gets a signal, and returns the exit code.
func program(role string) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch role {
	case "tool-worker":
		err = work(ctx)
	case "llm-worker":
		err = generate(ctx)
	case "app":
		err = speak(ctx)
	case "hook":
		err = answerHook(ctx)
	case "viewer":
		return view(ctx)
	default:
		err = fmt.Errorf("there is no program for the role %q", role)
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// work runs the Go worker.
func work(ctx context.Context) error {
	tools, err := tool.New(echo{})
	if err != nil {
		return err
	}
	b, err := bus.Connect(ctx, bus.Environment(bus.Getenv), nil)
	if err != nil {
		return err
	}
	defer b.Close()
	b.WithoutConsumers()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	role := toolworker.Role(daemon.Config{Name: os.Getenv("PARLEY_NAME")}, log, tools, nil, nil)
	return daemon.RunRoles(ctx, b, []daemon.Role{role}, func() {})
}

// echo is the Go worker's tool. Like the tools of the examples it takes pause_ms,
// so that a test can act during a call.
type echo struct{}

// Spec implements [tool.Tool].
func (echo) Spec() events.ToolSpec {
	return events.ToolSpec{Name: "echo", Description: "Says a text again.", Effect: events.EffectPure,
		Schema: json.RawMessage(`{"type":"object","required":["text"],"properties":{"text":{},"pause_ms":{"type":"integer"}}}`)}
}

// Run implements [tool.Tool].
func (echo) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	var args struct {
		Text  any   `json:"text"`
		Pause int64 `json:"pause_ms"`
	}
	if err := in.Decode(&args); err != nil {
		return tool.Result{}, err
	}
	in.Print("echoing\n")
	select {
	case <-ctx.Done():
		return tool.Result{}, context.Cause(ctx)
	case <-time.After(time.Duration(args.Pause) * time.Millisecond):
	}
	text, ok := args.Text.(string)
	if !ok {
		return tool.Result{}, tool.Fail("echo says texts only: give one")
	}
	return tool.Result{Content: text}, nil
}
