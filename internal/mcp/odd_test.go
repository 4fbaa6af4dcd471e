package mcp_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func TestOddAnswersStayWithTheirCall(t *testing.T) {
	const content = "CONTENT "
	for _, c := range []struct{ answer, want string }{
		{"twice", content + "ok"},
		{"late progress", content + "ok"},
		{"garbage before", content + "ok"},
		{"invalid UTF-8", content + "caf\uFFFD"},
		{"nothing", content},
		{"no result", "answered with an invalid result"},
		{"bottomless", "answered with an invalid result"},
		{"unknown content", "answered with an invalid result"},
		{"silent failure", "did not say why"},
		{"invalid params", "good: city: unknown"},
		{"internal error", "RETRY "},
		{"too long, id first", "longer than 64 MB"},
		{"too long, id last", "longer than 64 MB"},
		{"half and exit", "UNKNOWN "},
	} {
		t.Run(c.answer, func(t *testing.T) {
			r := run(t, self(t, "raw", "PARLEY_TEST_ANSWER="+c.answer))
			for range 2 { // what one answer broke is whole for the next
				var ended atomic.Bool
				got, err := r.call(t.Context(), "good", tool.Input{Output: func(string) {
					if ended.Load() {
						t.Error("output after the end of the call")
					}
				}})
				ended.Store(true)
				said := content + got.Content
				switch {
				case unknown(err):
					said = "UNKNOWN " + err.Error()
				case retryable(err):
					said = "RETRY " + err.Error()
				case err != nil:
					tooltest.Failed(t, err, "")
					said = err.Error()
				}
				if !strings.Contains(said, c.want) || got.Structured != nil && string(got.Structured) != `{"a":"`+"\uFFFD"+`"}` {
					t.Errorf("got %.200q (%s), %v, want %q", said, got.Structured, err, c.want)
				}
			}
		})
	}
}

func TestAToolThatCannotBeUsedIsLeftOutAndTheOthersStay(t *testing.T) {
	r := run(t, self(t, "schemas"))
	r.has("good")
	if got, want := r.names(), []string{"bad_output", "good", "recursive", "stick"}; !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	for _, text := range []string{"tool=wrong", "tool=text", "tool=elsewhere", "put the definition under $defs", "tool=huge", "tool=deep", "tool=bad_output"} {
		if !strings.Contains(r.log.String(), text) {
			t.Errorf("the log does not say %q", text)
		}
	}
}

func TestAListThatCannotBeReadIsReportedAtOnce(t *testing.T) {
	run(t, self(t, "bottomless")).says("its tools could not be listed")
}

func TestNamesAreMadeToFitAndNoTwoAreOne(t *testing.T) {
	s := self(t, "names")
	s.Prefix = "peer_"
	r := run(t, s)
	r.has("peer_good")
	names := r.names()
	if len(names) != 5 || !slices.Contains(names, "peer_files_read") {
		t.Errorf("there are %q", names)
	}
	for _, n := range names {
		if len(n) > 64 {
			t.Errorf("%q is too long", n)
		}
	}
	r.says("first=files_read second=files.read")
	r.says("first=files_read second=files/read")
}

func TestAListWithoutEndIsCut(t *testing.T) {
	r := run(t, self(t, "endless"))
	r.has("good")
	r.says("has no end and is cut")
}

func TestToolsThatCannotBeSetAreReportedOnceAndSetLater(t *testing.T) {
	refusals := 0
	s := self(t, "tools")
	s.Heartbeat = 50 * time.Millisecond
	r := run(t, s, func([]tool.Tool) error {
		if refusals++; refusals < 3 {
			return errors.New(`tool "echo" is registered twice: rename one of the two`)
		}
		return nil
	})
	r.has("echo")
	if n := strings.Count(r.log.String(), "give the server another prefix"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestAServerThatCannotBeRunIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		s    mcp.Server
		want string
	}{
		{"without a command and a URL", mcp.Server{Name: "a"}, "neither a command nor a URL"},
		{"with both", mcp.Server{Command: []string{"x"}, URL: "http://localhost"}, "a command and a URL"},
		{"with a URL of another kind", mcp.Server{URL: "ftp://example.com"}, "must begin with http"},
		{"with a URL without a host", mcp.Server{URL: "http:///mcp"}, "must begin with http"},
		{"with what is no URL", mcp.Server{URL: "http://a b"}, "invalid character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.s.Run(t.Context(), func(...tool.Tool) error { return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
