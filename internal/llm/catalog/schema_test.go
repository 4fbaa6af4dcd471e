package catalog

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"encoding/json"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/anthropic"
	"github.com/parleybus/parley/internal/llm/gemini"
	"github.com/parleybus/parley/internal/llm/ollama"
	"github.com/parleybus/parley/internal/llm/openai"
	"github.com/parleybus/parley/internal/llm/openairesponses"
)

// TestSchemasOfAnswersKeepTheirOrder: models write the properties in the order in which
// the schema has them.
func TestSchemasOfAnswersKeepTheirOrder(t *testing.T) {
	sent := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		sent <- string(raw)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	const schema = `{"type":"object","properties":{"why":{"type":"string"},"total":{"type":"number"},"also":{"type":"string"}},"required":["why","total","also"],"additionalProperties":false}`
	for model, p := range map[string]llm.Provider{
		"gpt-5": openai.New(openai.Config{BaseURL: server.URL}), "gpt-5-mini": openairesponses.New(openairesponses.Config{BaseURL: server.URL}),
		"claude-opus-4-7": anthropic.New(anthropic.Config{BaseURL: server.URL}), "gemini-3-flash": gemini.New(gemini.Config{BaseURL: server.URL}), "m": ollama.New(ollama.Config{Host: server.URL}),
	} {
		for range p.Stream(t.Context(), llm.Request{Model: model, Schema: json.RawMessage(schema), Messages: full(nil).Messages}) {
		}
		if body := <-sent; !strings.Contains(body, schema) {
			t.Errorf("%s sends %s", p.Name(), body)
		} else if strings.HasPrefix(model, "gpt") && !strings.Contains(body, `"strict":true`) {
			t.Errorf("%s sends a strict schema as a lenient one: %s", p.Name(), body)
		}
	}
}
