package anthropic

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
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

func ask(p *Provider, ctx context.Context, req llm.Request) recording.Answer {
	return recording.Collect(p.Stream(ctx, req))
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
	a := ask(p, t.Context(), llm.Request{Model: "m", Messages: []events.Message{user("hi")}})
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
	if want := `{"model":"m","max_tokens":8192,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"stream":true}`; string(body) != want {
		t.Errorf("body is %s", body)
	}
	if p.Name() != "anthropic" || p.Capabilities("m") != (llm.Capabilities{Tools: true, StreamTools: true}) {
		t.Errorf("provider %s can %+v", p.Name(), p.Capabilities("m"))
	}
}

func TestStreamReportsRefusals(t *testing.T) {
	tests := []struct {
		name   string
		status int
		kind   string
		body   string
		want   events.Error
	}{
		{"an overload says how long to wait", 529, "application/json", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`,
			events.Error{Class: "overloaded", Code: "overloaded_error", HTTPStatus: 529, RetryAfterMS: 2000, Message: "HTTP 529: Overloaded (request req_1)"}},
		{"a wrong key names the provider", 401, "application/json", `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`,
			events.Error{Class: "auth", Code: "authentication_error", HTTPStatus: 401, RetryAfterMS: 2000, Message: `HTTP 401: invalid x-api-key (request req_1) (check the API key of provider "anthropic")`}},
		{"a prompt that is too long", 400, "application/json", `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 2 tokens > 1 maximum"}}`,
			events.Error{Class: "context_length", Code: "invalid_request_error", HTTPStatus: 400, RetryAfterMS: 2000, Message: "HTTP 400: prompt is too long: 2 tokens > 1 maximum (request req_1)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.Header().Set("Retry-After", "2")
				w.Header().Set("Request-Id", "req_1")
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			})
			a := ask(p, t.Context(), llm.Request{Model: "m"})
			if len(a.Broken) > 0 || a.End.Finish != events.FinishError {
				t.Fatalf("answer is %+v", a)
			}
			if !reflect.DeepEqual(*a.End.Error, tt.want) {
				t.Errorf("got  %+v\nwant %+v", *a.End.Error, tt.want)
			}
		})
	}
}
