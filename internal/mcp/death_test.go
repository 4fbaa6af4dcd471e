package mcp_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
)

func TestACallWhoseServerIsKilledIsAnsweredByItsClass(t *testing.T) {
	for _, c := range []struct {
		name, tool string
		check      func(error) bool
	}{
		{"pure may be run again", "die_pure", retryable},
		{"idempotent may be run again", "die_idempotent", retryable},
		{"once is unknown", "die_once", unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, self(t, "tools", "PARLEY_TEST_DIR="+t.TempDir()))
			_, err := r.call(t.Context(), c.tool, tool.Input{})
			if !c.check(err) || !strings.Contains(err.Error(), "signal: killed") {
				t.Errorf("got %v", err)
			}
			if !slices.Contains(r.names(), c.tool) {
				t.Error("its tools are gone while it is away")
			}
			got, err := r.call(t.Context(), c.tool, tool.Input{})
			if err != nil || got.Content != "alive" {
				t.Errorf("after the restart: %+v, %v", got, err)
			}
		})
	}
}

func retryable(err error) bool {
	_, ok := tool.RetryAfter(err)
	return ok
}

func unknown(err error) bool {
	u, ok := errors.AsType[*mcp.Unknown](err)
	return ok && u.Status() == events.StatusUnknown && !retryable(err)
}

func TestACallThatDidNotBeginWaitsForTheServerAndGivesUp(t *testing.T) {
	s := self(t, "tools", "PARLEY_TEST_DIR="+t.TempDir())
	s.Restart, s.WaitTimeout = time.Hour, 50*time.Millisecond
	r := run(t, s)
	if _, err := r.call(t.Context(), "die_once", tool.Input{}); !unknown(err) {
		t.Fatal(err)
	}
	_, err := r.call(t.Context(), "die_once", tool.Input{})
	if !retryable(err) || !strings.Contains(err.Error(), "away, the call did not run") || !strings.Contains(err.Error(), "killed") {
		t.Errorf("got %v", err)
	}
}

func TestAServerThatHangsWhileItStartsIsGivenUpAndStartedAgain(t *testing.T) {
	s := self(t, "hangs")
	s.Startup = 100 * time.Millisecond
	r := run(t, s)
	r.says("it did not answer within 100ms")
	r.says("will be started again")
}

func TestAServerThatIgnoresTheNewestHandshakeGetsTheOldOne(t *testing.T) {
	s := self(t, "silent")
	s.Startup = 2 * time.Second
	r := run(t, s)
	if got, err := r.call(t.Context(), "good", tool.Input{}); err != nil || got.Content != "ok" {
		t.Errorf("got %+v, %v", got, err)
	}
	r.says("protocol=2025-11-25")
}

func TestAServerThatHangsBetweenCallsIsStartedAgain(t *testing.T) {
	s := self(t, "raw", "PARLEY_TEST_ANSWER=stick", "PARLEY_TEST_DIR="+t.TempDir())
	s.Heartbeat = 200 * time.Millisecond
	r := run(t, s)
	r.has("stick")
	ctx, cancel := contextFor(t, 500*time.Millisecond)
	defer cancel()
	// The call has the deadline, and the server is left alone until then.
	if _, err := r.call(ctx, "stick", tool.Input{}); tool.StatusOf(err) != events.StatusTimeout {
		t.Errorf("got %v", err)
	}
	r.says("it hangs: no sign of life")
	if got, err := r.call(t.Context(), "stick", tool.Input{}); err != nil || got.Content != "ok" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAServerThatExitsSaysWhyInTheLog(t *testing.T) {
	run(t, self(t, "exits")).says("exit status 3: no licence for this machine")
}

// It exits while the handshake is written, read, or neither.
func TestAServerThatExitsAtOnceSaysWhyEachTime(t *testing.T) {
	for n := range 20 {
		s := mcp.Server{Command: []string{"sh", "-c", fmt.Sprintf("echo no licence %d >&2; exit 3", n)}, Restart: time.Hour}
		run(t, s).says(fmt.Sprintf("exit status 3: no licence %d", n))
	}
}

func TestACommandThatDoesNotExistIsReported(t *testing.T) {
	run(t, mcp.Server{Command: []string{"parley-no-such-command"}}).says("executable file not found")
}

func TestLinesThatAreNoMessagesAreSkipped(t *testing.T) {
	r := run(t, self(t, "greets"))
	if got, err := r.call(t.Context(), "echo", tool.Input{Arguments: json.RawMessage(`{"text":"x"}`)}); err != nil || got.Content != "you said x" {
		t.Errorf("got %+v, %v", got, err)
	}
	r.says("Server listening on stdio.")
}

func TestACommandThatIsNoMCPServerIsGivenUp(t *testing.T) {
	run(t, self(t, "babbles")).says("are not MCP messages: does")
}

func TestAServerThatFloodsItsErrorOutputWorksAndTheLogIsBounded(t *testing.T) {
	r := run(t, self(t, "floods"))
	if _, err := r.call(t.Context(), "echo", tool.Input{Arguments: json.RawMessage(`{"text":"x"}`)}); err != nil {
		t.Error(err)
	}
	if n := len(r.log.String()); n > 1<<20 {
		t.Errorf("the log has %d bytes", n)
	}
}

func TestTheChildrenOfAServerEndWithIt(t *testing.T) {
	for name, end := range map[string]func(r *running){
		"when it is stopped": func(r *running) { r.stop() },
		"when it is killed": func(r *running) {
			if _, err := r.call(t.Context(), "die_once", tool.Input{}); !unknown(err) {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, self(t, "tools", "PARLEY_TEST_DIR="+t.TempDir()))
			got, err := r.call(t.Context(), "fork", tool.Input{})
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(got.Content)
			if err != nil {
				t.Fatal(err)
			}
			end(r)
			late := time.After(10 * time.Second)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for runs(pid) {
				select {
				case <-tick.C:
				case <-late:
					t.Fatalf("process %d still runs", pid)
				}
			}
		})
	}
}

// runs reports whether a process runs; one that ended and was not waited for
// does not.
func runs(pid int) bool {
	if runtime.GOOS != "linux" {
		p, err := os.FindProcess(pid)
		return err == nil && p.Signal(syscall.Signal(0)) == nil
	}
	stat, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestAServerGetsAFewVariablesAndThoseItIsGiven(t *testing.T) {
	t.Setenv("PARLEY_TEST_SECRET", "hush")
	t.Setenv("PARLEY_TEST_PASSED", "on")
	r := run(t, self(t, "tools", "GIVEN=yes", "PARLEY_TEST_PASSED"))
	got, err := r.call(t.Context(), "environment", tool.Input{})
	if err != nil {
		t.Fatal(err)
	}
	has := strings.Split(got.Content, "\n")
	if !slices.Contains(has, "GIVEN=yes") || !slices.Contains(has, "PARLEY_TEST_PASSED=on") || strings.Contains(got.Content, "hush") || !strings.Contains(got.Content, "PATH=") {
		t.Errorf("got %q", has)
	}
}
