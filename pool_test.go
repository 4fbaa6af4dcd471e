package parley_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/internal/llm/anthropic"
	"github.com/parleybus/parley/internal/llm/openai"
	"github.com/parleybus/parley/model"
	"github.com/parleybus/parley/tool"
)

// failing is a host that fails when it is told to, and otherwise answers like a strict
// one. It counts the requests to the model.
type failing struct {
	host     *strict
	fails    atomic.Pointer[http.HandlerFunc]
	requests atomic.Int64
}

func newFailing(t *testing.T, check func(*strict, *http.Request, map[string]any) string, write func(http.ResponseWriter, strictAnswer)) (*failing, string) {
	t.Helper()
	host, _ := newStrict(t, check, write)
	f := &failing{host: host}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		if fails := f.fails.Load(); fails != nil {
			(*fails)(w, r)
			return
		}
		host.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return f, s.URL
}

func (f *failing) fail(status int, header, body string) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if header != "" {
			w.Header().Set("Retry-After", header)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
	f.fails.Store(&answer)
}

// pooled starts a deployment with a pool of two models at different wires.
func pooled(t *testing.T) (first, second *failing, p *embedded.Parley) {
	t.Helper()
	first, chat := newFailing(t, checkOpenAI, writeOpenAI)
	second, claude := newFailing(t, checkAnthropic, writeAnthropic)
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	text := "pools:\n  fast:\n    - {model: openai/deep-1}\n    - {model: anthropic/claude-fable-5-1}\n"
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return first, second, embed(t, embedded.Options{Rules: rules, Tools: []tool.Tool{lookup()},
		Models: []model.Served{
			{Provider: openai.New(openai.Config{BaseURL: chat}), Model: "deep-1"},
			{Provider: anthropic.New(anthropic.Config{BaseURL: claude}), Model: "claude-fable-5-1"},
		}})
}

// requested lists the requests to models in a conversation's log.
func requested(t *testing.T, conv *parley.Conversation) (all []*parley.GenerationRequested) {
	t.Helper()
	for e, err := range conv.Events(t.Context(), parley.From{NoFollow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := e.Body.(*parley.Decision); ok {
			for _, l := range d.Events {
				if r, ok := l.Event.(*parley.GenerationRequested); ok {
					all = append(all, r)
				}
			}
		}
	}
	return all
}

// TestAPoolAnswersWhenItsFirstModelFails: the second model of another provider answers
// with a history that it accepts, the log says who and why, and the first one is left
// out for as long as its provider asked for.
func TestAPoolAnswersWhenItsFirstModelFails(t *testing.T) {
	const openaiError = `{"error":{"message":"%s","type":"%s","code":%q}}`
	for _, c := range []struct {
		name         string
		status       int
		header, body string
		class        parley.FailureClass
		leftOut      bool // of the next turn
	}{
		{"rate limited", 429, "3600", fmt.Sprintf(openaiError, "Rate limit reached", "requests", "rate_limit_exceeded"), parley.FailureRateLimited, true},
		{"overloaded", 503, "", fmt.Sprintf(openaiError, "The engine is overloaded", "server_error", ""), parley.FailureOverloaded, false},
		{"refused", 400, "", fmt.Sprintf(openaiError, "tools.0 is not valid", "invalid_request_error", "invalid_value"), parley.FailureInvalidRequest, false},
		{"the model is not there", 404, "", fmt.Sprintf(openaiError, "The model does not exist", "invalid_request_error", "model_not_found"), parley.FailureInvalidRequest, true},
		{"the key is refused", 401, "", fmt.Sprintf(openaiError, "Incorrect API key provided", "invalid_request_error", "invalid_api_key"), parley.FailureAuth, true},
		{"the history is too long", 400, "", fmt.Sprintf(openaiError, "This model's maximum context length is 600 tokens", "invalid_request_error", "context_length_exceeded"), parley.FailureContextLength, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, second, p := pooled(t)
			conv := p.Conversation(parley.NewID())
			fast := parley.WithModel("fast")
			sendAndWait(t, conv, "use the tool", fast)
			if n := second.requests.Load(); n != 0 {
				t.Fatalf("the second model was asked %d times although the first answers", n)
			}
			first.fail(c.status, c.header, c.body)
			if r := sendAndWait(t, conv, "use the tool", fast); r.Outcome != parley.OutcomeCompleted || r.Text != "answer of claude-fable-5-1" {
				t.Fatalf("the turn ended as %s: %v with %q", r.Outcome, r.Error, r.Text)
			}
			all := requested(t, conv)
			try := 2
			if c.name == "refused" { // for a tool, without which the adapter asks once more
				try = 3
			}
			fell := all[len(all)-2] // the last one is the step after the tool
			if fell.Pool != "fast" || fell.Route != "anthropic/claude-fable-5-1" || fell.Try != try || fell.NotBefore != 0 ||
				fell.Failed == nil || fell.Failed.Route != "openai/deep-1" || fell.Failed.Class != c.class ||
				!strings.HasPrefix(fell.Reason, string(c.class)+" by openai/deep-1") {
				t.Errorf("the log says %+v, failed %+v", fell, fell.Failed)
			}
			if last := all[len(all)-1]; last.Route != fell.Route || last.Step != 2 {
				t.Errorf("the turn does not stay with the model that answers: %+v", last)
			}
			before := first.requests.Load()
			if c.leftOut {
				if r := sendAndWait(t, conv, "hello", fast); r.Text != "answer of claude-fable-5-1" || first.requests.Load() != before {
					t.Errorf("the first model was asked %d times more, the answer is %q", first.requests.Load()-before, r.Text)
				}
			}
			// It comes back: both hosts take a history with the other's calls and reasoning.
			first.fails.Store(nil)
			if !c.leftOut {
				if r := sendAndWait(t, conv, "use the tool", fast); r.Outcome != parley.OutcomeCompleted || r.Text != "answer of deep-1" {
					t.Errorf("the turn ended as %s: %v with %q", r.Outcome, r.Error, r.Text)
				}
			}
			if r := sendAndWait(t, conv, "use the tool", parley.WithModel("openai/deep-1")); r.Outcome != parley.OutcomeCompleted || r.Text != "answer of deep-1" {
				t.Errorf("the turn ended as %s: %v with %q", r.Outcome, r.Error, r.Text)
			}
			for _, f := range []*failing{first, second} {
				if refused := f.host.refusals(""); len(refused) > 0 {
					t.Errorf("a history was refused: %q", refused)
				}
			}
		})
	}
}

// TestAPoolOfModelsThatAllFailEndsTheTurn: the error names each, and the turn ends once.
func TestAPoolOfModelsThatAllFailEndsTheTurn(t *testing.T) {
	first, second, p := pooled(t)
	first.fail(401, "", `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`)
	second.fail(404, "", `{"type":"error","error":{"type":"not_found_error","message":"model: claude-fable-5-1"}}`)
	conv := p.Conversation(parley.NewID())
	r := sendAndWait(t, conv, "hello", parley.WithModel("fast"))
	if r.Outcome != parley.OutcomeFailed || !strings.Contains(r.Error.Message, "openai/deep-1 (auth)") || !strings.Contains(r.Error.Message, "anthropic/claude-fable-5-1") {
		t.Errorf("the turn ended as %s: %v", r.Outcome, r.Error)
	}
	if a, b := first.requests.Load(), second.requests.Load(); a != 1 || b != 1 {
		t.Errorf("the models were asked %d and %d times", a, b)
	}
}

func TestPoolsAreAnnounced(t *testing.T) {
	_, _, p := pooled(t)
	offers, found, err := p.AwaitOffers(t.Context(), func(all []parley.Offer) bool { return parley.Pools(all)["fast"] != nil })
	if want := "[openai/deep-1 anthropic/claude-fable-5-1]"; err != nil || !found || fmt.Sprint(parley.Pools(offers)["fast"]) != want {
		t.Errorf("%v %v; want %s", parley.Pools(offers), err, want)
	}
	for _, m := range parley.Models(offers) {
		if m == "fast" || m == "" {
			t.Errorf("the pool is listed as the model %q", m)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for d, err := range p.FollowDeployment(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range d.Queues {
			if q.Kind == "pool" {
				t.Errorf("the pool is listed as a queue: %+v", q)
			}
		}
		break
	}
}
