package parley_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/hook"
	"github.com/parleybus/parley/internal/llm/anthropic"
	"github.com/parleybus/parley/internal/llm/gemini"
	"github.com/parleybus/parley/internal/llm/ollama"
	"github.com/parleybus/parley/internal/llm/openai"
	"github.com/parleybus/parley/internal/llm/openairesponses"
	"github.com/parleybus/parley/model"
	"github.com/parleybus/parley/tool"
)

// wire is a provider's wire, its strict host, and two models.
type wire struct {
	host   *strict
	served model.Served
	models [2]string
}

func wires(t *testing.T) map[string]*wire {
	t.Helper()
	claude, claudeURL := newStrict(t, checkAnthropic, writeAnthropic)
	chat, chatURL := newStrict(t, checkChat, writeChat)
	responses, responsesURL := newStrict(t, checkResponses, writeResponses)
	local, localURL := newStrict(t, checkOllama, writeOllama)
	google, googleURL := newStrict(t, checkGemini, writeGemini)
	return map[string]*wire{
		"anthropic": {claude, model.Served{Provider: anthropic.New(anthropic.Config{BaseURL: claudeURL}), Model: "claude-fable-5-1"},
			[2]string{"anthropic/claude-fable-5-1", "anthropic/claude-opus-5-5"}},
		"openai": {chat, model.Served{Provider: openai.New(openai.Config{BaseURL: chatURL}), Model: "deep-1"},
			[2]string{"openai/deep-1", "openai/deep-2"}},
		"openai-responses": {responses, model.Served{Provider: openairesponses.New(openairesponses.Config{BaseURL: responsesURL}), Model: "gpt-5-mini"},
			[2]string{"openai-responses/gpt-5-mini", "openai-responses/gpt-5"}},
		"ollama": {local, model.Served{Provider: ollama.New(ollama.Config{Host: localURL}), Model: "qwen3"},
			[2]string{"ollama/qwen3", "ollama/gpt-oss"}},
		"gemini": {google, model.Served{Provider: gemini.New(gemini.Config{BaseURL: googleURL}), Model: "gemini-3-flash-preview"},
			[2]string{"gemini/gemini-3-flash-preview", "gemini/gemini-3.1-pro-preview"}},
	}
}

// lookup is a tool that finds everything. Its schema has what hosts refuse in different
// ways.
func lookup() tool.Tool {
	const schema = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"q":{"$ref":"#/$defs/text","description":"what to look up"}},"required":["q"],"$defs":{"text":{"type":"string","minLength":1,"pattern":"."}}}`
	type query struct {
		Q string `json:"q"`
	}
	return tool.Func("lookup", "Looks it up", func(_ context.Context, in query) (string, error) {
		return "found " + in.Q, nil
	}, tool.Pure(), tool.InputSchema(schema))
}

// exchange is a turn of the conversation: what is said, and how the turn ends.
type exchange struct {
	said   string
	failed bool
	stop   bool
}

// exchanges are said to two models in turns.
func exchanges() []exchange {
	return []exchange{
		{said: "use the tool"}, {said: "use the tool"}, {said: "hello"}, {said: "fail", failed: true}, {said: "again"},
		{said: "be slow", stop: true}, {said: "use the tool"}, {said: "say nothing", failed: true}, {said: "use the tool"}, {said: "hello"}, {said: "bye"}, {said: "bye"},
	}
}

// TestAConversationGoesOnWithEveryOtherModel says ten turns and more to each pair of
// models in turns, with tools, reasoning, a failed turn, a cancel, an empty answer and
// a hook that changes the system prompt each time.
func TestAConversationGoesOnWithEveryOtherModel(t *testing.T) {
	all := wires(t)
	o := embedded.Options{Dir: t.TempDir(), Port: -1, NoBuiltins: true, Tools: []tool.Tool{lookup()}}
	for _, w := range all {
		o.Models = append(o.Models, w.served)
	}
	p, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var turns atomic.Int64
	served := make(chan error, 1)
	go func() {
		served <- hook.Serve(ctx, parley.Config{URL: p.Server()}, hook.Before, "clock", func(context.Context, *hook.Call) (*hook.Answer, error) {
			return &hook.Answer{Context: fmt.Sprintf("It is turn %d.", turns.Add(1))}, nil
		})
	}()
	for first, a := range all {
		for second, b := range all {
			models := [2]string{a.models[0], b.models[0]}
			if first == second {
				models[1] = b.models[1]
			}
			t.Run(strings.Join(models[:], " and "), func(t *testing.T) { talk(t, p, models, [2]*wire{a, b}) })
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func talk(t *testing.T, p *embedded.Parley, models [2]string, hosts [2]*wire) {
	for _, h := range hosts {
		h.host.refusals()
	}
	conv := p.Conversation(parley.NewID())
	settings := parley.WithSettings(parley.Settings{System: "Be brief.", Hooks: []parley.Hook{{Name: "clock", When: parley.HookBefore}}})
	for i, x := range exchanges() {
		turn, err := conv.Send(t.Context(), x.said, settings, parley.WithModel(models[i%2]))
		if err != nil {
			t.Fatal(err)
		}
		if x.stop {
			<-hosts[i%2].host.slow
			if err := turn.Cancel(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		result, err := turn.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := parley.OutcomeCompleted
		switch {
		case x.failed:
			want = parley.OutcomeFailed
		case x.stop:
			want = parley.OutcomeCancelled
		}
		if result.Outcome != want {
			t.Fatalf("turn %d, %q to %s, ended as %s: %v", i+1, x.said, models[i%2], result.Outcome, result.Error)
		}
	}
	demanded := 0
	for _, h := range hosts {
		for _, why := range h.host.refusals() {
			if strings.Contains(why, "must be passed back") {
				demanded++
				continue
			}
			t.Errorf("refused: %s", why)
		}
	}
	if demanded > 2 {
		t.Errorf("a field was demanded %d times: once for each model is enough", demanded)
	}
	view, err := conv.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept(t, view.Messages, models)
}

// kept checks that a transcript has all that was said, thought, called and returned.
func kept(t *testing.T, messages []parley.Message, models [2]string) {
	t.Helper()
	var users, thoughts, carries, calls, results int
	wrote := map[string]int{}
	for _, m := range messages {
		if m.Role == parley.RoleAssistant {
			wrote[m.Provider+"/"+m.Model]++
		}
		for _, part := range m.Parts {
			switch part.Kind {
			case parley.PartText:
				if m.Role == parley.RoleUser {
					users++
				}
			case parley.PartReasoning:
				thoughts++
				if len(part.Carry) > 0 {
					carries++
				}
			case parley.PartCall:
				calls++
			case parley.PartResult:
				results++
				if !strings.HasPrefix(part.Text, "found ") {
					t.Errorf("a call has the result %q", part.Text)
				}
			}
		}
	}
	// 14 answers have reasoning: two for each of four turns with the tool, six others.
	if said := len(exchanges()); users != said || thoughts < 14 || calls != 4 || results != 4 || wrote[models[0]]+wrote[models[1]] < 14 {
		t.Errorf("of %d messages, 14 reasonings, 4 calls with results and 14 answers, the transcript has %d, %d, %d, %d and %v", said, users, thoughts, calls, results, wrote)
	}
	if carries == 0 && !strings.HasPrefix(models[0]+models[1], "ollama/qwen3ollama/") {
		t.Error("no reasoning has kept what belongs to it")
	}
}
