package daemon_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// replaced writes a file in one step, as editors and deployments do.
func replaced(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	followed := daemon.NewFollowedFile(path)
	ctx, stop := context.WithCancel(t.Context())
	changes, ended := make(chan struct{}, 10), make(chan struct{})
	go func() {
		defer close(ended)
		followed.Follow(ctx, time.Millisecond, func() { changes <- struct{}{} })
	}()
	defer func() { <-ended }()
	defer stop()
	await := func(what string) {
		t.Helper()
		select {
		case <-changes:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s is not noticed", what)
		}
	}
	replaced(t, path, "something")
	await("a new file")
	replaced(t, path, "longer than before, by all of these words and more")
	await("a change")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	await("the file's end")
}

func TestTheRulesAreReadAgainWholeOrNotAtAll(t *testing.T) {
	file := rulesFile(t, "policy:\n  rules:\n    - {tool: it, action: auto}\n")
	it := does{events.ToolSpec{Name: "it", Effect: events.EffectPure}, gives(tool.Result{Content: "done"})}
	d, log := serve(t), &heard{}
	d.log = slog.New(slog.NewTextHandler(log, nil))
	stops := []func(){d.run(d.tools("tools", registry(t, it))), d.run(d.models("models", scriptFile(t, callsScript("it", `{}`)))),
		d.run(orchestrator.Role(daemon.Config{Name: "orchestrator", Rules: file}, d.log, nil, nil))}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	status := func() string {
		all, _ := d.turn(newID(t), "go")
		for _, m := range all {
			for _, l := range m.Lines {
				switch e := l.Event.(type) {
				case *events.ToolResult:
					return string(e.Status)
				case *events.Decision:
					for _, inner := range e.Events {
						if refused, ok := inner.Event.(*events.ToolCallRefused); ok {
							return string(refused.Status)
						}
					}
				}
			}
		}
		return "no result"
	}
	if got := status(); got != "ok" {
		t.Fatalf("before: %s", got)
	}
	replaced(t, file, "policy: 7\n")
	log.says(t, "cannot be used")
	if got := status(); got != "ok" {
		t.Errorf("after a file with a fault: %s", got)
	}
	replaced(t, file, "policy:\n  rules:\n    - {tool: it, action: deny, reason: not today}\n")
	log.says(t, "was read again")
	if got := status(); got != "refused" {
		t.Errorf("after the change: %s", got)
	}
}

// heard is a log that a test reads.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

// says waits until the log holds a text.
func (h *heard) says(t *testing.T, text string) {
	t.Helper()
	late := time.After(30 * time.Second)
	holds := func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return strings.Contains(h.text.String(), text)
	}
	for !holds() {
		select {
		case <-late:
			t.Fatalf("the log does not say %q", text)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
