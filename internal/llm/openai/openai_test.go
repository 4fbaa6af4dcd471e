package openai

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host answers every request in one way and keeps what it was asked.
type host struct {
	*httptest.Server
	body   []byte
	header http.Header
	path   string
}

func serve(t *testing.T, answer http.HandlerFunc) *host {
	t.Helper()
	h := &host{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		h.body, h.header, h.path = body, r.Header, r.URL.Path
		answer(w, r)
	}))
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	return h
}

func (h *host) provider(c Config) *Provider {
	c.BaseURL = h.URL + "/v1"
	c.HTTPClient = h.Client()
	return New(c)
}

func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client may have gone
	}
}

func collect(t *testing.T, s llm.Stream) recording.Answer {
	t.Helper()
	got := recording.Collect(s)
	for _, rule := range got.Broken {
		t.Error(rule)
	}
	if got.End == nil {
		t.Fatal("the stream has no end")
	}
	return got
}

func TestStreamAnswersFromTheHost(t *testing.T) {
	stream := sse(`{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}`, `[DONE]`)
	whole := `{"id":"c1","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}`
	cases := []struct {
		name        string
		contentType string
		body        string
		whole       bool
		silent      bool // about the end: no terminal sign
	}{
		{"a stream", "text/event-stream", stream, false, false},
		{"a whole completion that was asked for", "application/json", whole, true, false},
		{"a whole completion though a stream was asked for", "application/json", whole, false, false},
		{"a stream though a whole completion was asked for", "text/event-stream", stream, true, false},
		{"a stream under another content type", "text/plain", stream, false, false},
		{"a stream of a host that never says [DONE]", "text/event-stream", strings.TrimSuffix(stream, "data: [DONE]\n\n"), false, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := serve(t, says(200, c.contentType, c.body))
			got := collect(t, h.provider(Config{}).Stream(t.Context(), llm.Request{Model: "m", Whole: c.whole}))
			if got.Text != "Hi" || got.End.Error != nil || got.End.Finish != events.FinishStop || got.End.Terminated == c.silent {
				t.Errorf("got %q, %+v", got.Text, got.End)
			}
			if want := !c.whole; bytes.Contains(h.body, []byte(`"stream":true`)) != want || bytes.Contains(h.body, []byte("include_usage")) != want {
				t.Errorf("asked %s", h.body)
			}
		})
	}
}

func TestStreamReportsWhatFailed(t *testing.T) {
	cases := []struct {
		name   string
		answer http.HandlerFunc
		class  events.ErrorClass
		says   string
	}{
		{"a refusal with a string", says(400, "application/json", `{"error":"m does not support tools"}`), events.ErrUnsupported, "model openai/m cannot call tools: choose"},
		{"a connection that breaks", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, sse(`{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}`))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, events.ErrNetwork, "unexpected EOF"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := serve(t, c.answer)
			req := llm.Request{Model: "m", Tools: []events.ToolSpec{{Name: "f"}}}
			got := collect(t, h.provider(Config{}).Stream(t.Context(), req))
			if e := got.End.Error; e == nil || e.Class != c.class || !strings.Contains(e.Message, c.says) {
				t.Errorf("error is %v, want %s: %s", got.End.Error, c.class, c.says)
			}
		})
	}
	t.Run("a base URL that is none", func(t *testing.T) {
		e := collect(t, New(Config{BaseURL: "localhost"}).Stream(t.Context(), llm.Request{Model: "m"})).End.Error
		if e == nil || e.Class != events.ErrInvalidRequest || !strings.Contains(e.Message, "localhost") {
			t.Errorf("error is %v", e)
		}
	})
}

func TestTheEnvironmentDoesNotReachTheHost(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "from-the-environment")
	t.Setenv("OPENAI_ORG_ID", "from-the-environment")
	t.Setenv("OPENAI_PROJECT_ID", "from-the-environment")
	t.Setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: from-the-environment")
	t.Setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/from-the-environment")
	h := serve(t, says(200, "text/event-stream", sse(`[DONE]`)))
	for _, c := range []struct{ name, key, want string }{{"without a key", "", ""}, {"with a key", "k", "Bearer k"}} {
		t.Run(c.name, func(t *testing.T) {
			header := http.Header{"X-Title": {"parley"}}
			collect(t, h.provider(Config{APIKey: c.key, Header: header}).Stream(t.Context(), llm.Request{Model: "m"}))
			for key, v := range h.header {
				if strings.Contains(strings.Join(v, " "), "from-the-environment") {
					t.Errorf("header %s is %q", key, v)
				}
			}
			if got := h.header.Get("Authorization"); got != c.want {
				t.Errorf("authorization is %q, want %q", got, c.want)
			}
			if h.header.Get("X-Title") != "parley" || h.path != "/v1/chat/completions" {
				t.Errorf("asked %s with %v", h.path, h.header)
			}
		})
	}
}

func TestAModelWithoutToolsIsNotAsked(t *testing.T) {
	h := serve(t, says(200, "application/json", `{"choices":[{"message":{"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}`))
	req := llm.Request{Model: "tiny", Tools: []events.ToolSpec{{Name: "f"}}}
	p := h.provider(Config{Name: "local", Capabilities: func(string) llm.Capabilities { return llm.Capabilities{} }})
	e := collect(t, p.Stream(t.Context(), req)).End.Error
	if e == nil || e.Class != events.ErrUnsupported || !strings.Contains(e.Message, "local/tiny") || h.body != nil {
		t.Errorf("error is %v, asked %s", e, h.body)
	}
	t.Run("one that cannot stream calls is asked for the whole", func(t *testing.T) {
		p := h.provider(Config{Capabilities: func(string) llm.Capabilities { return llm.Capabilities{Tools: true} }})
		got := collect(t, p.Stream(t.Context(), req))
		if len(got.Calls) != 1 || got.End.Finish != events.FinishToolCalls || !json.Valid(h.body) || bytes.Contains(h.body, []byte(`"stream":true`)) {
			t.Errorf("got %+v %+v, asked %s", got.Calls, got.End, h.body)
		}
	})
}
