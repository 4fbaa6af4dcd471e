package parley_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/internal/llm/anthropic"
	"github.com/parleybus/parley/model"
	"github.com/parleybus/parley/tool"
)

// refusing starts a deployment whose model claude-opus-4-8 is at a strict host.
func refusing(t *testing.T, check func(*strict, *http.Request, map[string]any) string, tools ...tool.Tool) (*strict, *embedded.Parley) {
	t.Helper()
	host, url := newStrict(t, check, writeAnthropic)
	return host, embed(t, embedded.Options{
		Models: []model.Served{{Provider: anthropic.New(anthropic.Config{BaseURL: url}), Model: "claude-opus-4-8"}},
		Tools:  append(tools, lookup())})
}

// reduced returns what the log says was left out.
func reduced(t *testing.T, conv *parley.Conversation) string {
	t.Helper()
	var all []string
	for e, err := range conv.Events(t.Context(), parley.From{NoFollow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := e.Body.(*parley.HistoryReduced); ok {
			if r.Error == nil || r.Error.Message == "" || r.Attempt == "" {
				t.Errorf("the log says %+v without the refusal or the attempt", r)
			}
			all = append(all, string(r.Omitted))
		}
	}
	return strings.Join(all, " ")
}

func TestARefusedHistoryIsSentAgainWithLess(t *testing.T) {
	for _, c := range []struct {
		name    string
		refuses func(body map[string]any) bool
		reduced string
		refused int
		failed  bool
	}{
		{name: "without what is bound to the prompt, and not again in later turns", reduced: "carries", refused: 1,
			refuses: func(map[string]any) bool { return false }},
		{name: "without earlier calls", reduced: "carries calls", refused: 2,
			refuses: func(body map[string]any) bool {
				return len(listOf(body)) > 1 && strings.Contains(fmt.Sprint(body["messages"]), "tool_use")
			}},
		{name: "without earlier turns", reduced: "carries calls turns", refused: 3,
			refuses: func(body map[string]any) bool {
				return strings.Contains(fmt.Sprint(body["messages"]), "answer of") && len(listOf(body)) > 3
			}},
		{name: "four requests are the most", reduced: "carries calls turns", refused: 4, failed: true,
			refuses: func(body map[string]any) bool { return strings.HasSuffix(lastSaid(body), "second") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			strictly := false
			host, p := refusing(t, func(h *strict, r *http.Request, body map[string]any) string {
				if strictly && c.refuses(body) {
					return "messages.1: this history is not valid"
				}
				return checkAnthropic(h, r, body)
			})
			conv := p.Conversation(parley.NewID())
			brief := parley.WithSystem("Be brief.")
			sendAndWait(t, conv, "use the tool", brief)
			sendAndWait(t, conv, "first", brief)
			strictly = true
			result := sendAndWait(t, conv, "second", parley.WithSystem("Be long."))
			refused := host.refusals("")
			if got := reduced(t, conv); got != c.reduced || len(refused) != c.refused {
				t.Errorf("left out: %q, want %q; refused: %q, want %d times", got, c.reduced, refused, c.refused)
			}
			if c.failed {
				if result.Outcome != parley.OutcomeFailed || !strings.Contains(result.Error.Message, "start a new conversation") {
					t.Errorf("the turn ended as %s: %v", result.Outcome, result.Error)
				}
				return
			}
			if result.Outcome != parley.OutcomeCompleted || result.Text != "answer of claude-opus-4-8" {
				t.Errorf("the turn ended as %s: %v with %q", result.Outcome, result.Error, result.Text)
			}
			if c.reduced == "carries" {
				sendAndWait(t, conv, "third", parley.WithSystem("Be long."))
				if again := host.refusals(""); len(again) > 0 {
					t.Errorf("the next turn was refused again: %q", again)
				}
			}
			view, err := conv.View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n := len(view.Messages); n < 8 {
				t.Errorf("the transcript has %d messages", n)
			}
		})
	}
}

// TestRefusalsOfAStepShareOneBudget: a host that refuses tools, then images, then the
// history, gets four requests and not four for each.
func TestRefusalsOfAStepShareOneBudget(t *testing.T) {
	refuses := func(*strict, map[string]any) string { return "" }
	host, p := refusing(t, func(h *strict, r *http.Request, body map[string]any) string {
		if why := refuses(h, body); why != "" {
			return why
		}
		return checkAnthropic(h, r, body)
	}, sceneTools(picture(t))[1:]...)
	conv := p.Conversation(parley.NewID())
	sendAndWait(t, conv, "use the tool")
	sendAndWait(t, conv, "hello", parley.WithFile("chart.png", picture(t)))
	blamed := 0
	refuses = func(*strict, map[string]any) string {
		if blamed < 2 {
			blamed++
			return "tools.1.custom.input_schema: it is not valid"
		}
		return "messages.1: this history is not valid"
	}
	result := sendAndWait(t, conv, "and again")
	if refused := host.refusals(""); len(refused) != 4 || result.Outcome != parley.OutcomeFailed {
		t.Errorf("the turn ended as %s after %d requests: %q", result.Outcome, len(refused), refused)
	}
	var requests int
	for e, err := range conv.Events(t.Context(), parley.From{NoFollow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if end, ok := e.Body.(*parley.GenerationEnded); ok {
			requests = end.Requests
		}
	}
	if requests != 4 {
		t.Errorf("the log says %d requests", requests)
	}
	// What was learned of the tools holds.
	again := sendAndWait(t, conv, "once more")
	if refused := host.refusals(""); len(refused) != 4 || strings.Contains(fmt.Sprint(refused), "tools.") || again.Outcome != parley.OutcomeFailed {
		t.Errorf("the next turn ended as %s after %q", again.Outcome, refused)
	}
}

func TestAFullWindowSaysWhatToDo(t *testing.T) {
	host, p := refusing(t, func(*strict, *http.Request, map[string]any) string {
		return "prompt is too long: 214676 tokens > 200000 maximum"
	})
	result := sendAndWait(t, p.Conversation(parley.NewID()), "hello")
	refused := host.refusals("")
	if result.Outcome != parley.OutcomeFailed || !strings.Contains(result.Error.Message, "parley ask") || len(refused) != 1 {
		t.Errorf("the turn ended as %s: %v after %d requests", result.Outcome, result.Error, len(refused))
	}
}
