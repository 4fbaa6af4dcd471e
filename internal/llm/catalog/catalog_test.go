package catalog_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// closed is an address where nobody answers.
func closed(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

func TestDefaultIsTheFirstProviderThatIsConfigured(t *testing.T) {
	tests := []struct {
		name   string
		env    map[string]string
		models []string
		want   string
		err    string
	}{
		{name: "nothing is set: the demo", want: "scripted/demo"},
		{name: "an OpenAI key comes first", env: map[string]string{"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}, want: "openai/gpt-5-mini"},
		{name: "an Anthropic key", env: map[string]string{"ANTHROPIC_API_KEY": "k"}, want: "anthropic/claude-sonnet-4-5"},
		{name: "a Gemini key", env: map[string]string{"GEMINI_API_KEY": "k"}, want: "gemini/gemini-flash-latest"},
		{name: "a Google key", env: map[string]string{"GOOGLE_API_KEY": "k"}, models: []string{"gemini/gemini-2.5-pro"}, want: "gemini/gemini-2.5-pro"},
		{name: "Gemini without a key", models: []string{"gemini/gemini-2.5-pro"}, err: "set GEMINI_API_KEY"},
		{name: "a Google key that no header can hold", env: map[string]string{"GOOGLE_API_KEY": "a b"}, err: "GOOGLE_API_KEY has white space"},
		{name: "a compatible server needs no key", env: map[string]string{"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, want: "openai/gpt-5-mini"},
		{name: "a model that is named overrides all", env: map[string]string{"OPENAI_API_KEY": "k"}, models: []string{"openai-responses/gpt-5"}, want: "openai-responses/gpt-5"},
		{name: "a slash in the model's own name is kept", env: map[string]string{"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, models: []string{"openai/meta/llama-3:free"}, want: "openai/meta/llama-3:free"},
		{name: "a provider without a key says which", models: []string{"anthropic/claude-sonnet-4-5"}, err: "set ANTHROPIC_API_KEY"},
		{name: "white space around a key is not part of it", env: map[string]string{"OPENAI_API_KEY": "\n"}, want: "scripted/demo"},
		{name: "a key that no header can hold is refused by its name", env: map[string]string{"ANTHROPIC_API_KEY": "a\nb"}, err: "ANTHROPIC_API_KEY has a line break"},
		{name: "two keys in one variable too", env: map[string]string{"OPENAI_API_KEY": "a b"}, err: "OPENAI_API_KEY has white space"},
		{name: "an unknown provider lists those there are", models: []string{"nobody/x"}, err: "openai, openai-responses, anthropic, gemini, ollama, scripted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{"OLLAMA_HOST": closed(t)}
			for k, v := range tt.env {
				env[k] = v
			}
			c, err := catalog.Open(t.Context(), catalog.Options{Getenv: func(k string) string { return env[k] }, Models: tt.models, Idle: time.Minute})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v does not say %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.Default != tt.want {
				t.Errorf("default is %s, want %s", c.Default, tt.want)
			}
		})
	}
}

// A server that refuses to stream tool calls: it answers a request that streams
// with 400, and any other whole.
func TestModelThatCannotStreamToolsIsCalledWithoutStreaming(t *testing.T) {
	streamed := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := new(strings.Builder)
		buf := make([]byte, 4096)
		for {
			n, err := r.Body.Read(buf)
			body.Write(buf[:n])
			if err != nil {
				break
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(body.String(), `"stream":true`) {
			streamed++
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":{"message":"tools are not supported in streaming mode"}}`))
			return
		}
		_, _ = w.Write([]byte(`{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"now","arguments":"{}"}}]}}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`))
	}))
	defer s.Close()
	for _, patterns := range [][]string{nil, {"openai/m*"}} {
		streamed = 0
		env := map[string]string{"OPENAI_BASE_URL": s.URL + "/v1", "OLLAMA_HOST": closed(t)}
		c, err := catalog.Open(t.Context(), catalog.Options{Getenv: func(k string) string { return env[k] }, Idle: time.Minute, NoToolStream: patterns})
		if err != nil {
			t.Fatal(err)
		}
		req := llm.Request{Model: "m", Tools: []events.ToolSpec{{Name: "now"}},
			Messages: []events.Message{{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: "time?"}}}}}
		var calls []string
		for e, err := range c.Entries["openai"].Provider.Stream(t.Context(), req) {
			if err != nil {
				t.Fatal(err)
			}
			if s, ok := e.(*events.ToolCallStart); ok {
				calls = append(calls, s.Name)
			}
		}
		if strings.Join(calls, " ") != "now" {
			t.Errorf("patterns %v: calls %v, want now", patterns, calls)
		}
		if want := map[bool]int{true: 0, false: 1}[patterns != nil]; streamed != want {
			t.Errorf("patterns %v: %d requests were for a stream, want %d", patterns, streamed, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
