package conformance_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/conformance/toolworker"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// weather is examples/weather, built.
func weather(t *testing.T) language {
	t.Helper()
	program := filepath.Join(t.TempDir(), "weather")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../weather").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return language{"examples/weather", conformance.Program{Command: []string{program}}, toolworker.Tool{Name: "get_weather", Arguments: `{"city":"Oslo"}`, Answer: "snow"}}
}

// together returns a model that calls a tool of each language and then finishes.
func together(all []language) string {
	var b strings.Builder
	b.WriteString("model: together\nrules:\n  - steps:\n      - calls:\n")
	for _, l := range all {
		fmt.Fprintf(&b, "          - tool: %s\n            arguments: %s\n", l.Name, l.Arguments)
	}
	b.WriteString("      - text: Together.\n")
	return b.String()
}

func TestWorkersOfAllLanguagesAnswerOneQuestionTogether(t *testing.T) {
	t.Parallel()
	all := append(languages(t), weather(t))
	result := conformance.Rule{Holds: func(c *conformance.Check) { answerTogether(c, all) }}.Run(t.Context(), conformance.Program{}, 0)
	for _, problem := range result.Problems {
		t.Error(problem)
	}
	if result.Output != "" {
		t.Log(result.Output)
	}
}

func answerTogether(c *conformance.Check, all []language) {
	var tools []string
	for _, l := range all {
		tools = append(append(tools, l.Name), l.Besides...)
	}
	s := c.NewStage(conformance.Setup{Role: topology.ToolWorker, Names: tools})
	s.Deploy(conformance.Deployment{Script: together(all)})
	for _, l := range all {
		s.LaunchProgram(l.Program, strings.ReplaceAll(l.name, "/", "-"))
	}
	s.Eventually(2*conformance.Soon, "everybody announces their tool", func() bool {
		offers, err := s.Presence().Offers(s.Context())
		s.Must(err)
		return !slices.ContainsFunc(all, func(l language) bool {
			return !slices.ContainsFunc(offers, func(o bus.Offer) bool { return o.Kind == "tool" && o.Name == l.Name })
		})
	})
	conversation, id := conformance.NewID(), conformance.NewID()
	s.PublishInput(conversation, id, &events.UserMessage{ID: id, Text: "What can you do together?"})
	workers, results := map[string]string{}, map[string]*events.ToolResult{}
	for m, err := range s.Conversation(conversation).Attach(s.Within(time.Minute), bus.From{}) {
		s.Must(err)
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
		if r := results[l.Name]; r == nil || r.Status != events.StatusOK || !strings.Contains(r.Content, l.Answer) {
			s.Errorf("%s: the result of %s is %+v", l.name, l.Name, r)
		}
		if workers[l.Name] == "" {
			s.Errorf("%s: the log does not name the worker", l.name)
		}
	}
}
