package catalog

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/anthropic"
	"github.com/parleybus/parley/internal/llm/gemini"
	"github.com/parleybus/parley/internal/llm/ollama"
	"github.com/parleybus/parley/internal/llm/openai"
	"github.com/parleybus/parley/internal/llm/openairesponses"
)

// full is a request with every parameter.
func full(extra map[string]json.RawMessage) llm.Request {
	half, seed := 0.5, int64(7)
	return llm.Request{Model: "gpt-5", System: "Be brief.", Messages: []events.Message{{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: "hi"}}}},
		Tools: []events.ToolSpec{{Name: "f"}}, Parameters: events.Parameters{MaxTokens: 9, Temperature: &half, TopP: &half, Seed: &seed, Stop: []string{"x"},
			ReasoningEffort: "low", ToolChoice: "required", Extra: extra}}
}

// TestNothingThatAnAdapterWritesCanBeReplaced sends full requests: each key in them is
// one that no list allows, and a request with one as extra parameter is not sent.
func TestNothingThatAnAdapterWritesCanBeReplaced(t *testing.T) {
	sent := make(chan map[string]json.RawMessage, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var body map[string]json.RawMessage
		if err == nil {
			err = json.Unmarshal(raw, &body)
		}
		if err != nil {
			t.Error(err)
		}
		sent <- body
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	ask := func(p llm.Provider, req llm.Request) *events.Error {
		for e := range p.Stream(t.Context(), req) {
			if end, ok := e.(*events.GenerationEnded); ok {
				return end.Error
			}
		}
		return nil
	}
	for _, p := range []llm.Provider{
		openai.New(openai.Config{BaseURL: server.URL}), openai.New(openai.Config{BaseURL: server.URL, Name: "other"}),
		openairesponses.New(openairesponses.Config{BaseURL: server.URL}), anthropic.New(anthropic.Config{BaseURL: server.URL}), gemini.New(gemini.Config{BaseURL: server.URL}), ollama.New(ollama.Config{Host: server.URL}),
	} {
		for _, model := range []string{"gpt-5", "claude-opus-4-7", "claude-3-7-sonnet", "gemini-3-flash", "m"} {
			req := full(nil)
			req.Model = model
			if err := ask(p, req); err == nil || err.HTTPStatus != http.StatusTeapot {
				t.Fatalf("%s: %v", p.Name(), err)
			}
			body := <-sent
			for _, nested := range []string{"options", "generationConfig"} {
				var options map[string]json.RawMessage
				if json.Unmarshal(body[nested], &options) == nil {
					for key := range options {
						body[nested+"."+key] = nil
					}
				}
			}
			for key := range body {
				if !ceilings.IsOwn(key) {
					t.Errorf("%s writes %q, which is not in the table of keys that cannot be replaced", p.Name(), key)
				}
			}
		}
		for _, key := range append(ceilings.OwnKeys(), "Model", "TOOLS", "generationConfig.maxOutputTokens", "systemInstruction") {
			value := json.RawMessage(`"evil"`)
			if outer, inner, ok := strings.Cut(key, "."); ok {
				key, value = outer, json.RawMessage(`{"`+inner+`":1}`)
			}
			if err := ask(p, full(map[string]json.RawMessage{key: value})); err == nil || err.Code != ceilings.CodeExtra {
				t.Errorf("%s takes %s: %v", p.Name(), key, err)
			}
		}
	}
}
