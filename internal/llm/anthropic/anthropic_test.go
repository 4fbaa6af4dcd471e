package anthropic

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every request with h and returns a provider that asks it.
func serve(t *testing.T, h http.HandlerFunc) *Provider {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return New(Config{APIKey: "key", AuthToken: "token", BaseURL: s.URL + "/v1/", HTTPClient: s.Client()})
}

func TestStreamAsksAndDecodes(t *testing.T) {
	var got *http.Request
	var body []byte
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprint(w, twoCalls())
	})
	a := recording.Collect(p.Stream(t.Context(), llm.Request{Model: "m", Messages: []events.Message{user("hi")}}))
	if a.Text != "I add." || len(a.Calls) != 2 || !a.End.Terminated || len(a.Broken) > 0 {
		t.Errorf("answer is %+v", a)
	}
	if got.Method != "POST" || got.URL.Path != "/v1/messages" {
		t.Errorf("asked %s %s", got.Method, got.URL)
	}
	for key, want := range map[string]string{"X-Api-Key": "key", "Authorization": "Bearer token", "Anthropic-Version": "2023-06-01", "Content-Type": "application/json"} {
		if got.Header.Get(key) != want {
			t.Errorf("%s is %q, want %q", key, got.Header.Get(key), want)
		}
	}
	if want := `{"model":"m","max_tokens":8192,"messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}],"stream":true}`; string(body) != want {
		t.Errorf("body is %s", body)
	}
	if p.Name() != "anthropic" || p.Capabilities("m") != (llm.Capabilities{Tools: true, StreamTools: true}) {
		t.Errorf("provider %s can %+v", p.Name(), p.Capabilities("m"))
	}
}
