package conformance_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/catalog"
)

// weather is examples/weather, built.
func weather(t *testing.T) language {
	t.Helper()
	program := filepath.Join(t.TempDir(), "weather")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../weather").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return language{name: "examples/weather", tool: "get_weather", good: `{"city":"Oslo"`, answer: "snow", command: []string{program}}
}

// script returns a model that calls a tool of each language and then finishes.
func script(t *testing.T, all []language) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("model: together\nrules:\n  - steps:\n      - calls:\n")
	for _, l := range all {
		fmt.Fprintf(&b, "          - tool: %s\n            arguments: %s}\n", l.tool, l.good)
	}
	b.WriteString("      - text: Together.\n")
	path := filepath.Join(t.TempDir(), "together.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve runs an orchestrator and an llm-worker that plays a script.
func (s *stage) serve(script string) {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(s.t.Output(), nil))
	models, err := catalog.Open(s.t.Context(), catalog.Options{Getenv: func(string) string { return "" }, Script: script, Idle: time.Minute})
	s.done(err)
	roles := []daemon.Role{
		orchestrator.Role(daemon.Config{Name: "orchestrator"}, log, nil, nil),
		llmworker.Role(daemon.Config{Name: "models", Slots: 4}, log, models, nil),
	}
	ctx, stop := context.WithCancel(context.Background())
	done, started := make(chan error, 1), make(chan struct{})
	go func() { done <- daemon.RunRoles(ctx, s.Bus, roles, func() { close(started) }) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	select {
	case <-started:
	case <-time.After(soon):
		s.t.Fatal("the orchestrator does not start")
	}
}

func TestWorkersOfAllLanguagesAnswerOneQuestionTogether(t *testing.T) {
	t.Parallel()
	all := append(languages(t), weather(t))
	var tools []string
	for _, l := range all {
		tools = append(tools, l.tools()...)
	}
	s := newStage(t, tools...)
	s.serve(script(t, all))
	for _, l := range all {
		s.launch(l, strings.ReplaceAll(l.name, "/", "-"))
	}
	s.eventually(2*soon, "everybody announces their tool", func() bool {
		offers, err := s.Presence().Offers(t.Context())
		s.done(err)
		return !slices.ContainsFunc(all, func(l language) bool {
			return !slices.ContainsFunc(offers, func(o bus.Offer) bool { return o.Kind == "tool" && o.Name == l.tool })
		})
	})
	conversation, id := newID(), newID()
	_, err := s.Conversation(conversation).Publish(s.within(soon), id, &events.UserMessage{ID: id, Text: "What can you do together?"})
	s.done(err)
	workers, results := map[string]string{}, map[string]*events.ToolResult{}
	for m, err := range s.Conversation(conversation).Attach(s.within(time.Minute), bus.From{}) {
		s.done(err)
		ended := false
		for _, l := range m.Lines {
			switch e := l.Event.(type) {
			case *events.ToolStarted:
				workers[e.Tool] = e.Worker
			case *events.ToolResult:
				results[e.Tool] = e
			case *events.Decision:
				ended = ended || slices.ContainsFunc(e.Events, func(l events.Line) bool { return l.Event.Type() == "TurnEnded" })
			}
		}
		if ended {
			break
		}
	}
	for _, l := range all {
		if r := results[l.tool]; r == nil || r.Status != events.StatusOK || !strings.Contains(r.Content, l.answer) {
			t.Errorf("%s: the result of %s is %+v", l.name, l.tool, r)
		}
		if workers[l.tool] == "" {
			t.Errorf("%s: the log does not name the worker", l.name)
		}
	}
}
