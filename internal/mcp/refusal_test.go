package mcp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

func TestACallThatIsRefusedFailsWithTheServersWords(t *testing.T) {
	for status, body := range map[int]string{
		http.StatusUnauthorized: `{"error":"invalid_token","error_description":"the token has expired"}`,
		http.StatusForbidden:    `{"error":{"message":"the token has expired"}}`,
	} {
		for _, stateless := range []bool{false, true} {
			next := fresh(t, stateless)
			s, url := listen(t, answering(next, func(w http.ResponseWriter, _ json.RawMessage) {
				w.WriteHeader(status)
				fmt.Fprint(w, body)
			}))
			r := run(t, mcp.Server{URL: url, WaitTimeout: time.Hour})
			_, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX})
			tooltest.Failed(t, err, fmt.Sprintf("HTTP %d", status))
			tooltest.Failed(t, err, "the token has expired")
			s.to(next)
			late := time.After(20 * time.Second)
			for {
				if got, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX}); err == nil && got.Content == "you said x" {
					break
				}
				select {
				case <-late:
					t.Fatal("the server takes calls again, and none is made")
				case <-time.After(time.Millisecond):
				}
			}
			r.stop()
		}
	}
}

func TestACallOfAServerThatRefusesAccessDoesNotWait(t *testing.T) {
	next := fresh(t, true)
	s, url := listen(t, next)
	r := run(t, mcp.Server{URL: url, WaitTimeout: time.Hour, Heartbeat: 10 * time.Millisecond, Restart: time.Hour})
	r.has("echo")
	s.to(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	r.says("refuses access")
	_, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX})
	tooltest.Failed(t, err, "invalid_token")
}

func TestAServerThatRefusesAccessIsReportedWithItsWords(t *testing.T) {
	_, url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no licence for you", http.StatusForbidden)
	}))
	states := make(chan mcp.State, 100)
	run(t, mcp.Server{URL: url, Report: func(s mcp.State) { states <- s }})
	select {
	case s := <-states:
		if s.Err == nil || !contains(s.Err.Error(), "HTTP 403", "no licence for you") {
			t.Errorf("reported %+v", s)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is reported")
	}
}
