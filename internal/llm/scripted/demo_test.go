package scripted_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/scripted"
	"github.com/parleybus/parley/internal/tool"
)

// converse lets the demo model answer one question with the built-in tools, as
// the orchestrator and the workers do. It returns each step's answer.
func converse(t *testing.T, question string) []reply {
	t.Helper()
	p, err := scripted.New("demo", scripted.Demo())
	if err != nil {
		t.Fatal(err)
	}
	tools, err := tool.Builtins(tool.Config{Now: func() time.Time { return time.Date(2026, 7, 1, 12, 5, 9, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	req := llm.Request{Model: "demo", Messages: []events.Message{user(question)}, Tools: tools.Specs()}
	var replies []reply
	for range 4 {
		r := listen(t, p.Stream(t.Context(), req))
		if replies = append(replies, r); len(r.calls) == 0 {
			return replies
		}
		req.Messages = append(req.Messages, events.Message{Role: events.RoleAssistant, Parts: r.calls})
		var validator tool.Validator
		for _, c := range r.calls {
			it, ok := tools.Lookup(c.Name)
			if !ok {
				t.Fatalf("the demo calls %s", c.Name)
			}
			if err := validator.Validate(it.Spec(), c.Arguments); err != nil {
				t.Fatal(err)
			}
			got, err := it.Run(t.Context(), tool.Input{Arguments: []byte(c.Arguments)})
			if err != nil {
				got.Content = err.Error()
			}
			req.Messages = append(req.Messages, result(got.Content, tool.StatusOf(err)))
		}
	}
	t.Fatal("the demo does not come to an end")
	return nil
}

func TestDemo(t *testing.T) {
	for _, c := range []struct{ name, question, calls, want string }{
		{"the question of the readme", "What time is it in Oslo, and what is 17% of 2,340?",
			`now{"timezone":"Oslo"} calculate{"expression":"17% of 2,340"}`,
			"In Oslo it is 14:05 on Wednesday, 1 July 2026 (2026-07-01T14:05:09+02:00, Europe/Oslo, CEST, UTC+02:00).\n\nAnd 17% of 2,340 is 397.8."},
		{"both, the other way round", "What is 12*7 and what's the time in New York right now?",
			`now{"timezone":"New York"} calculate{"expression":"12*7"}`, "And 12*7 is 84."},
		{"a percentage", "how much is 17.5 % of 80?", `calculate{"expression":"17.5 % of 80"}`, "17.5 % of 80 is 14."},
		{"arithmetic with parentheses", "What is (12 + 7) * 3?", `calculate{"expression":"(12 + 7) * 3"}`, "(12 + 7) * 3 is 57."},
		{"arithmetic in words", "what is 12 times 7", `calculate{"expression":"12 times 7"}`, "is 84."},
		{"percent as a word", "What's 15 percent of 60?", `calculate{"expression":"15 percent of 60"}`, "is 9."},
		{"a function", "sqrt(2)?", `calculate{"expression":"sqrt(2)"}`, "sqrt(2) is 1.4142135623731 (rounded)."},
		{"a calculation that fails", "what is 5/0?", `calculate{"expression":"5/0"}`, "division by zero"},
		{"the time in a city of two words", "what time is it in são paulo?", `now{"timezone":"são paulo"}`, "America/Sao_Paulo"},
		{"the time in a zone", "Time in Europe/Oslo", `now{"timezone":"Europe/Oslo"}`, "In Oslo it is 14:05"},
		{"a city with its country", "What time is it in Oslo, Norway?", `now{"timezone":"Oslo"}`, "In Oslo it is 14:05"},
		{"a city that does not exist", "What time is it in Osloo?", `now{"timezone":"Osloo"}`, "did you mean Europe/Oslo?"},
		{"the time anywhere", "what time is it?", `now{}`, "In UTC it is 12:05"},
		{"the date", "Which day is it today?", `now{}`, "Wednesday, 1 July 2026"},
		{"a page, when http_get is not offered", "fetch https://example.com/x", ``, `the tool "http_get", but this conversation does not offer it`},
		{"a file, when read_file is not offered", "read the file notes.txt", ``, `the tool "read_file", but`},
		{"a long answer", "tell me a long story", ``, "another one takes the job"},
		{"help", "Who are you?", ``, "OPENAI_API_KEY"},
		{"a greeting", "Hello there", ``, "Hello! I am Parley's built-in demo model."},
		{"thanks", "Thank you!", ``, "welcome"},
		{"anything else", "Write me a poem about spring", ``, "scripted demo without a language model"},
		{"a quote that could break JSON", `what is 1+1 "\`, `calculate{"expression":"1+1"}`, "1+1 is 2."},
		{"a template in the question is only text", "time in {{result 0}}", ``, "scripted demo"},
		{"nothing", "", ``, "scripted demo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				replies := converse(t, c.question)
				var calls []string
				for _, r := range replies {
					for _, call := range r.calls {
						calls = append(calls, call.Name+call.Arguments)
					}
					if r.end.Model != "demo" || r.end.Usage == nil || r.end.Error != nil || len(r.chunks) < 3 {
						t.Fatalf("%+v", r)
					}
				}
				last := replies[len(replies)-1]
				if got := strings.Join(calls, " "); got != c.calls || !strings.Contains(last.text, c.want) {
					t.Fatalf("calls %s\ntext %s", got, last.text)
				}
				if d := time.Since(start); d < 50*time.Millisecond || d > 10*time.Second {
					t.Fatalf("took %s", d)
				}
			})
		})
	}
}

func TestDemoMakesItsCallsAtOnceAndThinksFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := converse(t, "What time is it in Oslo, and what is 17% of 2,340?")[0]
		runs := slices.Compact([]rune(first.kinds))
		if kinds := string(runs); kinds != "rt(a)(a)" || first.end.Finish != events.FinishToolCalls {
			t.Fatalf("%s %+v", kinds, first.end)
		}
	})
}

func TestDemoIsACopy(t *testing.T) {
	scripted.Demo()[0] = 'X'
	if scripted.Demo()[0] == 'X' {
		t.Fatal("a caller changed the demo")
	}
}
