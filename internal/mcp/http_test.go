package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

// switched is an HTTP server whose handler is changed while it runs.
type switched struct{ handler atomic.Pointer[http.Handler] }

func (s *switched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*s.handler.Load()).ServeHTTP(w, r)
}

func (s *switched) to(h http.Handler) { s.handler.Store(&h) }

// fresh is a server of the peer that knows no session of those before it.
func fresh(t *testing.T, stateless bool) http.Handler {
	t.Helper()
	s := peer()
	t.Cleanup(func() {
		for session := range s.Sessions() {
			if err := session.Close(); err != nil {
				t.Log(err)
			}
		}
	})
	return sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{Stateless: stateless})
}

// answering answers calls itself and passes on all else.
func answering(next http.Handler, answer func(w http.ResponseWriter, id json.RawMessage)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var m request
		if err == nil && json.Unmarshal(body, &m) == nil && m.Method == "tools/call" {
			answer(w, m.ID)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		next.ServeHTTP(w, r)
	})
}

func listen(t *testing.T, h http.Handler) (*switched, string) {
	t.Helper()
	s := &switched{}
	s.to(h)
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return s, srv.URL
}

var echoX = json.RawMessage(`{"text":"x"}`)

func TestAnHTTPServerThatWasRestartedGetsAnotherHandshake(t *testing.T) {
	lost := func(status int) http.Handler {
		next := fresh(t, false)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Some servers say 400 with an error of the protocol, against the rules.
			if old := r.Header.Get("Mcp-Session-Id"); status == http.StatusBadRequest && old != "" && r.Header.Get("X-Known") == "" {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				fmt.Fprint(w, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: no valid session"},"id":null}`)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	t.Run("it says 404", func(t *testing.T) {
		s, url := listen(t, fresh(t, false))
		r := run(t, mcp.Server{URL: url})
		r.has("fail")
		s.to(fresh(t, false))
		_, err := r.call(t.Context(), "fail", tool.Input{})
		tooltest.Failed(t, err, "the disk is full")
	})
	t.Run("it says 400 with an error, and then works", func(t *testing.T) {
		s, url := listen(t, fresh(t, false))
		r := run(t, mcp.Server{URL: url})
		r.has("fail")
		s.to(lost(http.StatusBadRequest))
		done := make(chan error, 1)
		go func() {
			_, err := r.call(context.Background(), "fail", tool.Input{})
			done <- err
		}()
		r.says("Bad Request")
		s.to(fresh(t, false))
		tooltest.Failed(t, <-done, "the disk is full")
	})
}

func TestACallOverHTTPThatBreaksIsAnsweredByItsClass(t *testing.T) {
	cut := func(w http.ResponseWriter, _ json.RawMessage) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}
	status := func(code int) func(http.ResponseWriter, json.RawMessage) {
		return func(w http.ResponseWriter, _ json.RawMessage) { http.Error(w, "no", code) }
	}
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, json.RawMessage)
		tool   string
		check  func(error) bool
	}{
		{"cut, pure", cut, "echo", retryable},
		{"cut, once", cut, "fail", unknown},
		{"500, once", status(http.StatusInternalServerError), "fail", unknown},
		{"503, once", status(http.StatusServiceUnavailable), "fail", retryable},
		{"429, pure", status(http.StatusTooManyRequests), "echo", retryable},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, stateless := range []bool{false, true} {
				next := fresh(t, stateless)
				s, url := listen(t, answering(next, c.answer))
				r := run(t, mcp.Server{URL: url})
				if _, err := r.call(t.Context(), c.tool, tool.Input{Arguments: echoX}); !c.check(err) {
					t.Errorf("got %v", err)
				}
				s.to(next)
				if got, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX}); err != nil || got.Content != "you said x" {
					t.Errorf("the next call: %+v, %v", got, err)
				}
				r.stop()
			}
		})
	}
}

func TestAnAnswerOverHTTPThatIsTooLongIsAFailure(t *testing.T) {
	piece := []byte(strings.Repeat("x", 1<<20))
	for kind, begin := range map[string]string{"application/json": `{"jsonrpc":"2.0","id":1,"result":"`, "text/event-stream": "event: message\ndata: "} {
		t.Run(kind, func(t *testing.T) {
			_, url := listen(t, answering(fresh(t, true), func(w http.ResponseWriter, _ json.RawMessage) {
				w.Header().Set("Content-Type", kind)
				_, err := io.WriteString(w, begin)
				for err == nil {
					_, err = w.Write(piece)
				}
			}))
			_, err := run(t, mcp.Server{URL: url}).call(t.Context(), "echo", tool.Input{Arguments: echoX})
			tooltest.Failed(t, err, "longer than 64 MB")
		})
	}
}

func TestAnHTTPServerThatIsAwayIsWaitedFor(t *testing.T) {
	s, url := listen(t, http.NotFoundHandler())
	r := run(t, mcp.Server{URL: url})
	r.says("could not be connected to")
	s.to(fresh(t, true))
	if got, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX}); err != nil || got.Content != "you said x" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestHeadersGoToTheServersHostAndToNoOther(t *testing.T) {
	leaked := make(chan string, 10)
	_, other := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked <- r.Header.Get("Authorization") }))
	next := fresh(t, true)
	var seen atomic.Value
	s, url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"))
		next.ServeHTTP(w, r)
	}))
	r := run(t, mcp.Server{URL: url, Header: map[string]string{"Authorization": "Bearer secret"}})
	if _, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX}); err != nil {
		t.Error(err)
	}
	if seen.Load() != "Bearer secret" {
		t.Errorf("the server saw %q", seen.Load())
	}
	s.to(http.RedirectHandler(other, http.StatusTemporaryRedirect))
	if _, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX}); err == nil || !strings.Contains(err.Error(), "redirects to") {
		t.Errorf("got %v", err)
	}
	if len(leaked) > 0 {
		t.Errorf("the other host saw %q", <-leaked)
	}
}

func TestAHungHTTPServerEndsACallAtItsDeadline(t *testing.T) {
	gone := make(chan struct{})
	_, url := listen(t, answering(fresh(t, true), func(_ http.ResponseWriter, _ json.RawMessage) { <-gone }))
	t.Cleanup(func() { close(gone) })
	r := run(t, mcp.Server{URL: url})
	r.has("echo")
	ctx, cancel := contextFor(t, 50*time.Millisecond)
	defer cancel()
	if _, err := r.call(ctx, "echo", tool.Input{Arguments: echoX}); tool.StatusOf(err) != events.StatusTimeout {
		t.Errorf("got %v", err)
	}
}
