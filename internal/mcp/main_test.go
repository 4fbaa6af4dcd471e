package mcp_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
)

// TestMain makes the test binary an MCP server when its environment says so.
func TestMain(m *testing.M) {
	if kind := os.Getenv("PARLEY_TEST_SERVER"); kind != "" {
		os.Exit(serveAs(kind))
	}
	goleak.VerifyTestMain(m)
}

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is a server that a test runs.
type running struct {
	t     *testing.T
	tools *tool.Registry
	log   *lines
	stop  func()
}

// run runs a server until the test ends. Times that are not given are short.
func run(t *testing.T, s mcp.Server, refuse ...func([]tool.Tool) error) *running {
	t.Helper()
	registry, err := tool.New()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, tools: registry, log: &lines{}}
	s.Name = "peer"
	s.Log = slog.New(slog.NewTextHandler(r.log, nil))
	if s.Restart == 0 {
		s.Restart = 5 * time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(tools ...tool.Tool) error {
			for _, f := range refuse {
				if err := f(tools); err != nil {
					return err
				}
			}
			return registry.Set("mcp:peer", tools...)
		})
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Log(r.log)
		}
	})
	return r
}

// self is the binary of the tests as an MCP server of some kind.
func self(t *testing.T, kind string, env ...string) mcp.Server {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return mcp.Server{Command: []string{path}, Env: append(env, "PARLEY_TEST_SERVER="+kind, "GORACE=atexit_sleep_ms=0")}
}

// until waits for the tools to be as asked for.
func (r *running) until(what string, ok func(names []string) bool) {
	r.t.Helper()
	late := time.After(20 * time.Second)
	for {
		changed := r.tools.Changed()
		names := r.names()
		if ok(names) {
			return
		}
		select {
		case <-changed:
		case <-late:
			r.t.Fatalf("waited in vain for %s; there are %q", what, names)
		}
	}
}

func (r *running) names() []string {
	var names []string
	for _, s := range r.tools.Specs() {
		names = append(names, s.Name)
	}
	return names
}

// has waits for a tool.
func (r *running) has(name string) {
	r.t.Helper()
	r.until("tool "+name, func(names []string) bool { return slices.Contains(names, name) })
}

// call waits for a tool and calls it, as a worker does.
func (r *running) call(ctx context.Context, name string, in tool.Input) (tool.Result, error) {
	r.t.Helper()
	r.has(name)
	it, _ := r.tools.Lookup(name)
	if in.Arguments == nil {
		in.Arguments = json.RawMessage(`{}`)
	}
	return it.Run(ctx, in)
}

// says checks that the log comes to hold a text.
func (r *running) says(text string) {
	r.t.Helper()
	late := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(r.log.String(), text) {
		select {
		case <-tick.C:
		case <-late:
			r.t.Fatalf("the log does not say %q", text)
		}
	}
}
