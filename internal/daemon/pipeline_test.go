package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

func TestMain(m *testing.M) {
	// nats.go's ObjectStore.Put leaves a goroutine behind when its connection closes
	// at that moment (resetPendingAcksOnReconnect on a channel that is nil by then).
	// nats-server waits for an answer to the request for HISTORY's source on a
	// goroutine that outlives its shutdown.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// deployment is a server and the roles that a test runs on it.
type deployment struct {
	*bus.Bus
	t   *testing.T
	log *slog.Logger
}

func newID(t testing.TB) string {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

// serve starts a server.
func serve(t *testing.T) *deployment {
	t.Helper()
	s, err := broker.Start(broker.Config{Dir: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b, err := bus.Connect(t.Context(), bus.Config{Log: log}.InProcess(s.InProcess()), &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return &deployment{b, t, log}
}

// start starts a server and all roles.
func start(t *testing.T, script string, tools *tool.Registry) *deployment {
	t.Helper()
	d := serve(t)
	for _, r := range []daemon.Role{d.tools("tools", tools), d.models("models", script), d.orchestrator("orchestrator")} {
		d.run(r)
	}
	return d
}

// soonReminders is for tests of reminders, which do not wait for minutes.
const soonReminders = "ceilings: {reminder_ms: 1}\n"

func (d *deployment) orchestrator(name string) daemon.Role {
	return d.orchestratorWith(name, soonReminders)
}

func (d *deployment) orchestratorWith(name, rules string) daemon.Role {
	return orchestrator.Role(daemon.Config{Name: name, Rules: rulesFile(d.t, rules)}, d.log, nil, nil)
}

// owner runs an orchestrator and waits until it decides: what is in the log before that,
// it resumes.
func (d *deployment) owner(name string) (stop func()) {
	d.t.Helper()
	owns := make(chan struct{}, 1)
	stop = d.run(orchestrator.Role(daemon.Config{Name: name, Rules: rulesFile(d.t, soonReminders)}, d.log, func(int) {
		select {
		case owns <- struct{}{}:
		default:
		}
	}, nil))
	select {
	case <-owns:
	case <-time.After(time.Minute):
		d.t.Fatal("the orchestrator owns no shard")
	}
	return stop
}

func (d *deployment) tools(name string, tools *tool.Registry) daemon.Role {
	return toolworker.Role(daemon.Config{Name: name, Slots: 64}, d.log, tools, nil, nil)
}

func (d *deployment) models(name, script string) daemon.Role {
	c, err := catalog.Open(d.t.Context(), catalog.Options{Getenv: func(string) string { return "" }, Script: script, Idle: time.Minute})
	if err != nil {
		d.t.Fatal(err)
	}
	return llmworker.Role(daemon.Config{Name: name, Slots: 256}, d.log, c, nil)
}

// run runs a role until stop is called or the test ends.
func (d *deployment) run(r daemon.Role) (stop func()) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done, started := make(chan error, 1), make(chan struct{})
	go func() { done <- daemon.RunRoles(ctx, d.Bus, []daemon.Role{r}, func() { close(started) }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Errorf("%s: %v", r.Name, err)
		}
	})
	d.t.Cleanup(stop)
	select {
	case <-started:
	case err := <-done:
		done <- err
		d.t.Fatalf("%s: %v", r.Name, err)
	}
	return stop
}

func builtins(t *testing.T) *tool.Registry {
	t.Helper()
	r, err := tool.Builtins(tool.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tryTurn sends a message and returns what a viewer receives from the start of
// the conversation to the end of the message's turn.
func (d *deployment) tryTurn(ctx context.Context, conversation, question string) ([]bus.Message, *events.TurnEnded, error) {
	id := newID(d.t)
	if _, err := d.Conversation(conversation).Publish(ctx, id, &events.UserMessage{ID: id, Text: question}); err != nil {
		return nil, nil, err
	}
	var seen []bus.Message
	var turn string
	for m, err := range d.Conversation(conversation).Attach(ctx, bus.From{Left: true}) {
		if err != nil {
			return seen, nil, fmt.Errorf("after %d messages: %w", len(seen), err)
		}
		seen = append(seen, m)
		for _, l := range m.Lines {
			dec, ok := l.Event.(*events.Decision)
			if !ok {
				continue
			}
			for _, l := range dec.Events {
				switch e := l.Event.(type) {
				case *events.TurnStarted:
					if slices.Contains(e.Inputs, id) {
						turn = e.Turn
					}
				case *events.TurnEnded:
					if e.Turn == turn {
						return seen, e, nil
					}
				}
			}
		}
	}
	return seen, nil, errors.New("the log ended")
}

// turn is tryTurn for a test that needs the answer.
func (d *deployment) turn(conversation, question string) ([]bus.Message, *events.TurnEnded) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 60*time.Second)
	defer cancel()
	seen, end, err := d.tryTurn(ctx, conversation, question)
	if err != nil {
		d.t.Fatal(err)
	}
	return seen, end
}

func TestDemoQuestionIsAnsweredWithTools(t *testing.T) {
	d := start(t, "", builtins(t))
	conversation := newID(t)
	seen, end := d.turn(conversation, "What time is it in Oslo, and what is 17% of 2,340?")
	if end.Outcome != events.OutcomeCompleted {
		t.Fatalf("outcome %s: %s %v", end.Outcome, end.Reason, end.Error)
	}
	var text strings.Builder
	calls := 0
	for _, m := range seen {
		for _, l := range m.Lines {
			switch e := l.Event.(type) {
			case *events.TextChunk:
				text.WriteString(e.Text)
			case *events.ToolResult:
				calls++
				if e.Status != events.StatusOK {
					t.Errorf("tool %s: %s %s", e.Tool, e.Status, e.Content)
				}
			}
		}
	}
	if calls < 2 || !strings.Contains(text.String(), "397.8") {
		t.Errorf("%d calls, text %q", calls, text.String())
	}
}

// rulesFile writes a rules file.
func rulesFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
