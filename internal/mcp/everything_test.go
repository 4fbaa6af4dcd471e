package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
)

// TestEverything runs the reference server of the protocol's authors, where
// PARLEY_MCP_EVERYTHING names the directory it is installed in:
//
//	npm install --prefix DIR @modelcontextprotocol/server-everything@2026.8.31
func TestEverything(t *testing.T) {
	dir := os.Getenv("PARLEY_MCP_EVERYTHING")
	if dir == "" {
		t.Log("PARLEY_MCP_EVERYTHING is not set: only our own servers were tried")
		return
	}
	script := filepath.Join(dir, "node_modules/@modelcontextprotocol/server-everything/dist/index.js")
	if _, err := os.Stat(script); err != nil {
		t.Fatalf("PARLEY_MCP_EVERYTHING is set, but %v", err)
	}
	t.Run("over stdio", func(t *testing.T) {
		r := run(t, mcp.Server{Command: []string{"node", script, "stdio"}, Dir: dir})
		everything(t, r)
		pids := children(t)
		killed(t, r, func() { kill(t, pids...) })
	})
	t.Run("over streamable HTTP", func(t *testing.T) {
		port := freePort(t)
		pid := listening(t, script, port)
		r := run(t, mcp.Server{URL: fmt.Sprintf("http://127.0.0.1:%d/mcp", port)})
		everything(t, r)
		killed(t, r, func() {
			kill(t, pid)
			listening(t, script, port)
		})
	})
}

// everything tries all that the server has.
func everything(t *testing.T, r *running) {
	t.Helper()
	want := []string{"echo", "get-annotated-message", "get-env", "get-resource-links", "get-resource-reference", "get-structured-content",
		"get-sum", "get-tiny-image", "gzip-file-as-resource", "simulate-research-query", "toggle-simulated-logging",
		"toggle-subscriber-updates", "trigger-elicitation-request", "trigger-long-running-operation"}
	r.until("all tools", func(names []string) bool {
		return !slices.ContainsFunc(want, func(n string) bool { return !slices.Contains(names, n) })
	})
	call := func(name, args string) tool.Result {
		t.Helper()
		got, err := r.call(t.Context(), name, tool.Input{Arguments: json.RawMessage(args), Ask: func(context.Context, tool.Question) (tool.Answer, error) {
			return tool.Answer{Content: json.RawMessage(`{"name":"Ada","integer":7}`)}, nil
		}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return got
	}
	for _, c := range []struct{ tool, args, want string }{
		{"echo", `{"message":"hello"}`, "Echo: hello"},
		{"get-sum", `{"a":40,"b":2}`, "42"},
		{"get-env", `{}`, "PATH"},
		{"get-annotated-message", `{"messageType":"error","includeImage":false}`, "Error"},
		{"get-resource-reference", `{"resourceType":"Text","resourceId":1}`, "demo://resource/dynamic/text/1"},
		{"trigger-elicitation-request", `{}`, "Name: Ada"},
		{"toggle-simulated-logging", `{}`, "simulated"},
		{"toggle-subscriber-updates", `{}`, "subscri"},
	} {
		if got := call(c.tool, c.args); !strings.Contains(got.Content, c.want) {
			t.Errorf("%s says %q, want %q", c.tool, got.Content, c.want)
		}
	}
	if got := call("get-structured-content", `{"location":"Chicago"}`); !json.Valid(got.Structured) || !strings.Contains(string(got.Structured), "temperature") {
		t.Errorf("structured: %s", got.Structured)
	}
	if got := call("get-tiny-image", `{}`); len(got.Attachments) != 1 || got.Attachments[0].MIME != "image/png" || len(got.Attachments[0].Data) < 100 {
		t.Errorf("the image: %+v", got)
	}
	if got := call("get-resource-links", `{"count":3}`); len(got.Attachments) != 3 {
		t.Errorf("the links: %d attachments, %q", len(got.Attachments), got.Content)
	}
	if got := call("gzip-file-as-resource", `{"name":"a.gz","data":"data:text/plain;base64,aGVsbG8=","outputType":"resource"}`); len(got.Attachments) != 1 || !strings.HasPrefix(string(got.Attachments[0].Data), "\x1f\x8b") {
		t.Errorf("the file: %+v", got)
	}
	var shown []string
	got, err := r.call(t.Context(), "trigger-long-running-operation", tool.Input{Arguments: json.RawMessage(`{"duration":0.4,"steps":4}`),
		Output: func(text string) { shown = append(shown, text) }})
	if err != nil || !strings.Contains(got.Content, "completed") || len(shown) < 3 || shown[0] != "1/4\n" {
		t.Errorf("the long operation: %+v, %v, showed %q", got, err, shown)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	_, err = r.call(ctx, "trigger-long-running-operation", tool.Input{Arguments: json.RawMessage(`{"duration":60,"steps":300}`), Output: func(string) { cancel() }})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second {
		t.Errorf("cancelled: %v after %s", err, time.Since(began))
	}
}

// killed kills the server in the middle of a call, and calls it again.
func killed(t *testing.T, r *running, kill func()) {
	t.Helper()
	started := make(chan struct{}, 100)
	ended := make(chan error, 1)
	go func() {
		_, err := r.call(context.Background(), "trigger-long-running-operation", tool.Input{Arguments: json.RawMessage(`{"duration":60,"steps":300}`),
			Output: func(string) {
				select {
				case started <- struct{}{}:
				default:
				}
			}})
		ended <- err
	}()
	<-started
	kill()
	if err := <-ended; !retryable(err) {
		t.Errorf("the call in the middle: %v", err)
	}
	got, err := r.call(t.Context(), "echo", tool.Input{Arguments: json.RawMessage(`{"message":"back"}`)})
	if err != nil || got.Content != "Echo: back" {
		t.Errorf("after the restart: %+v, %v", got, err)
	}
}

// children are the processes that this one started.
func children(t *testing.T) []int {
	t.Helper()
	out, err := exec.Command("pgrep", "-P", fmt.Sprint(os.Getpid()), "node").Output()
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, line := range strings.Fields(string(out)) {
		var pid int
		if _, err := fmt.Sscan(line, &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func kill(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// listening starts the server over HTTP and waits until it answers.
func listening(t *testing.T, script string, port int) int {
	t.Helper()
	c := exec.Command("node", script, "streamableHttp")
	c.Env = append(os.Environ(), fmt.Sprintf("PORT=%d", port))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Process.Kill(), c.Wait()); err != nil {
			t.Log(err) // killed, as it should be
		}
	})
	late := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err == nil {
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
			return c.Process.Pid
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the server does not listen")
		}
	}
}
