package ollama

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
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
	return New(Config{Host: s.URL + "/", HTTPClient: s.Client()})
}

func TestStreamAsksAndDecodes(t *testing.T) {
	var path, body string
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		path, body = r.Method+" "+r.URL.Path, string(raw)
		w.Header().Set("Content-Type", "application/x-ndjson")
		fmt.Fprint(w, twoCalls())
	})
	a := recording.Collect(p.Stream(t.Context(), llm.Request{Model: "m", Whole: true}))
	if a.Text != "Grüße, 東京" || len(a.Calls) != 2 || !a.End.Terminated || len(a.Broken) > 0 {
		t.Errorf("answer is %+v", a)
	}
	if want := `{"model":"m","stream":false,"options":{},"messages":[]}`; path != "POST /api/chat" || body != want {
		t.Errorf("asked %s with %s", path, body)
	}
	if p.Name() != "ollama" || p.Capabilities("m") != (llm.Capabilities{Tools: true, StreamTools: true, Schema: true}) {
		t.Errorf("provider %s can %+v", p.Name(), p.Capabilities("m"))
	}
}

func TestNoServerListening(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	p := New(Config{Host: s.URL, HTTPClient: s.Client()})
	a := recording.Collect(p.Stream(t.Context(), llm.Request{}))
	if e := a.End.Error; e == nil || e.Class != events.ErrNetwork || !strings.Contains(e.Message, "ollama serve") {
		t.Errorf("the end is %+v", a.End)
	}
	_, err := p.Models(t.Context())
	var e *events.Error
	if !errors.As(err, &e) || e.Class != events.ErrNetwork || !strings.Contains(err.Error(), "ollama serve") {
		t.Errorf("models: %v", err)
	}
}

func TestModels(t *testing.T) {
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"models":[{"name":"qwen3:4b","model":"qwen3:4b"},{"name":"gemma3:1b"}]}`)
	})
	got, err := p.Models(t.Context())
	if want := []string{"qwen3:4b", "gemma3:1b"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	p = serve(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, `{"error":"no"}`, http.StatusTeapot) })
	if _, err = p.Models(t.Context()); err == nil || !strings.Contains(err.Error(), "no") {
		t.Errorf("error is %v", err)
	}
}

func TestHosts(t *testing.T) {
	for host, want := range map[string]string{
		"": "http://127.0.0.1:11434", "box": "http://box:11434", "box:1": "http://box:1", "[::1]": "http://[::1]:11434",
		"https://ollama.example": "https://ollama.example", "http://box:1/sub/": "http://box:1/sub",
	} {
		if u, err := address(host); err != nil || u.String() != want {
			t.Errorf("address(%q) is %v, %v, want %s", host, u, err, want)
		}
	}
	for _, host := range []string{"ftp://box", "http://", "http://a b"} {
		p := New(Config{Host: host})
		a := recording.Collect(p.Stream(t.Context(), llm.Request{}))
		if e := a.End.Error; e == nil || e.Class != events.ErrInvalidRequest || !strings.Contains(e.Message, "http://HOST:PORT") {
			t.Errorf("%q: the end is %+v", host, a.End)
		}
		if _, err := p.Models(t.Context()); err == nil {
			t.Errorf("%q lists models", host)
		}
	}
}
