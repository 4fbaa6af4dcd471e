package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/mcp"
)

// mcpHost is an MCP host that runs "parley mcp" and speaks to it line by line.
type mcpHost struct {
	*testing.T
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Scanner
	last     int       // id of the last request
	notified []message // notifications that came before a result
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// parleyCommand is the command, with a data directory and no providers.
func parleyCommand(t *testing.T, data string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "parley", args...) // testscript puts it into PATH
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + data, "PARLEY_DATA=" + data, "OLLAMA_HOST=http://127.0.0.1:1"}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = drainMost
	return cmd
}

func startHost(t *testing.T, cmd *exec.Cmd) *mcpHost {
	t.Helper()
	h := &mcpHost{T: t, cmd: cmd}
	var err error
	if h.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	h.out = bufio.NewScanner(out)
	h.out.Buffer(nil, 1<<20)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(scriptTimeout, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { late.Stop() })
	h.ask("initialize", map[string]any{"protocolVersion": "2025-06-18", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "test", "version": "1"}})
	h.tell("notifications/initialized", nil)
	return h
}

func (h *mcpHost) send(m map[string]any) {
	h.Helper()
	m["jsonrpc"] = "2.0"
	raw, err := json.Marshal(m)
	if err == nil {
		_, err = h.in.Write(append(raw, '\n'))
	}
	if err != nil {
		h.Fatal(err)
	}
}

func (h *mcpHost) tell(method string, params any) {
	h.Helper()
	h.send(map[string]any{"method": method, "params": params})
}

// begin sends a request and does not wait for its answer.
func (h *mcpHost) begin(method string, params any) (id int) {
	h.Helper()
	h.last++
	h.send(map[string]any{"id": h.last, "method": method, "params": params})
	return h.last
}

// next is the next message. Whatever else is on standard output is an error.
func (h *mcpHost) next() message {
	h.Helper()
	if !h.out.Scan() {
		h.Fatalf("the output ended: %v", h.out.Err())
	}
	var m message
	if err := json.Unmarshal(h.out.Bytes(), &m); err != nil {
		h.Fatalf("%q is no message: %v", h.out.Text(), err)
	}
	if m.Method != "" {
		h.notified = append(h.notified, m)
	}
	return m
}

func (h *mcpHost) ask(method string, params any) message {
	h.Helper()
	id := h.begin(method, params)
	for {
		if m := h.next(); m.Method == "" && m.ID == id {
			return m
		}
	}
}

func (h *mcpHost) call(name string, arguments map[string]any) (text, status string) {
	h.Helper()
	m := h.ask("tools/call", map[string]any{"name": name, "arguments": arguments, "_meta": map[string]any{"progressToken": "p"}})
	var r struct {
		Content []struct{ Text string }
		Meta    map[string]string `json:"_meta"`
	}
	if m.Error != nil || json.Unmarshal(m.Result, &r) != nil || len(r.Content) == 0 {
		h.Fatalf("the call of %s came to %+v", name, m)
	}
	return r.Content[0].Text, r.Meta["parley/status"]
}

type hint struct {
	Name        string
	Annotations struct{ ReadOnlyHint, IdempotentHint bool }
}

func (h *mcpHost) tools() []hint {
	h.Helper()
	var r struct{ Tools []hint }
	if m := h.ask("tools/list", map[string]any{}); json.Unmarshal(m.Result, &r) != nil {
		h.Fatalf("the list came as %+v", m)
	}
	return r.Tools
}

func (h *mcpHost) names() string {
	h.Helper()
	var names []string
	for _, t := range h.tools() {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// changed waits until the server notifies that its tools have changed.
func (h *mcpHost) changed() {
	h.Helper()
	for h.next().Method != "notifications/tools/list_changed" {
		continue
	}
}

// leave closes the input: the server ends without an error, and prints nothing more.
func (h *mcpHost) leave() {
	h.Helper()
	if err := h.in.Close(); err != nil {
		h.Fatal(err)
	}
	for h.out.Scan() {
		h.Errorf("after the end it prints %q", h.out.Text())
	}
	if err := h.cmd.Wait(); err != nil {
		h.Errorf("parley mcp ended with %v", err)
	}
}

// moreTools are those of a worker that joins later.
const moreTools = `tools:
  - name: count
    description: Counts.
    exec: {command: [sh, -c, 'for i in 1 2 3; do echo line $i; done']}
  - name: forever
    description: Never ends.
    effect: idempotent
    exec: {command: [sh, -c, 'trap "touch stopped; exit" TERM; echo started; sleep 600 & wait']}
  - name: stopped
    description: Waits until the other has ended.
    effect: pure
    exec: {command: [sh, -c, 'until test -e stopped; do sleep 0.05; done; echo yes']}
`

func TestMCPOverStdio(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	h := startHost(t, parleyCommand(t, data, "mcp", "--tools", "[cfs]*,now"))
	if got := h.names(); got != "calculate now" {
		t.Fatalf("the tools are %q", got)
	}
	if text, status := h.call("calculate", map[string]any{"expression": "6*7"}); text != "42" || status != "ok" {
		t.Fatalf("6*7 is %q, %s", text, status)
	}
	if text, status := h.call("calculate", map[string]any{"expression": 7}); status != "invalid_arguments" {
		t.Fatalf("a number is %q, %s", text, status)
	}
	if m := h.ask("tools/call", map[string]any{"name": "read_result", "arguments": map[string]any{}}); m.Error == nil {
		t.Fatalf("a tool that is not served came to %s", m.Result)
	}

	file := filepath.Join(t.TempDir(), "tools.yaml")
	if err := os.WriteFile(file, []byte(moreTools), 0o600); err != nil {
		t.Fatal(err)
	}
	worker := parleyCommand(t, data, "up", "--only", "tool-worker", "--tools-file", file)
	worker.Stderr = t.Output()
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	h.changed()
	for h.names() != "calculate count forever now stopped" { // they may come one by one
		h.changed()
	}
	for _, tool := range h.tools() {
		a := tool.Annotations
		if want := tool.Name != "count"; a.IdempotentHint != want || a.ReadOnlyHint != (want && tool.Name != "forever") {
			t.Errorf("the annotations of %s are %+v", tool.Name, a)
		}
	}

	h.notified = nil
	if text, _ := h.call("count", nil); strings.TrimSpace(text) != "line 1\nline 2\nline 3" {
		t.Fatalf("the count is %q", text)
	}
	shown := func(m message) bool {
		return m.Method == "notifications/progress" && strings.Contains(string(m.Params), "line 3")
	}
	if !slices.ContainsFunc(h.notified, shown) {
		t.Errorf("notifications: %+v", h.notified)
	}

	id := h.begin("tools/call", map[string]any{"name": "forever", "arguments": map[string]any{}, "_meta": map[string]any{"progressToken": "p"}})
	for !strings.Contains(string(h.next().Params), "started") {
		continue
	}
	h.tell("notifications/cancelled", map[string]any{"requestId": id})
	if text, status := h.call("stopped", nil); strings.TrimSpace(text) != "yes" || status != "ok" {
		t.Fatalf("the cancelled call: %q, %s", text, status)
	}

	if err := worker.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := worker.Wait(); err != nil {
		t.Fatalf("the worker ended with %v", err)
	}
	h.changed()
	for h.names() != "calculate now" {
		h.changed()
	}
	h.leave()
}

func TestMCPServesTheEffectsThatAreAllowed(t *testing.T) {
	t.Parallel()
	h := startHost(t, parleyCommand(t, t.TempDir(), "mcp", "--allow-effects", "once,idempotent"))
	if got := h.names(); got != "" {
		t.Errorf("pure tools are served: %q", got)
	}
	h.leave()
}

func TestMCPOverHTTP(t *testing.T) {
	t.Parallel()
	cmd := parleyCommand(t, t.TempDir(), "mcp", "--http", "localhost:0")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	if !lines.Scan() {
		t.Fatal("it does not print its address")
	}
	url, ok := strings.CutPrefix(lines.Text(), "MCP at ")
	if !ok {
		t.Fatalf("it prints %q", lines.Text())
	}
	client := &http.Client{Timeout: scriptTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(url, body string, change func(*http.Request)) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		if change != nil {
			change(r)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(raw)
	}
	const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`
	if code, body := post(url, hello, nil); code != http.StatusOK || !strings.Contains(body, `"listChanged":true`) {
		t.Errorf("a client is answered %d %s", code, body)
	}
	if code, _ := post(strings.TrimSuffix(url, mcp.Path), hello, nil); code != http.StatusNotFound {
		t.Errorf("another path is answered %d", code)
	}
	if code, _ := post(url, hello, func(r *http.Request) { r.Host = "example.com" }); code != http.StatusForbidden {
		t.Errorf("a name that was bound to this machine is answered %d", code)
	}
	if code, _ := post(url, hello, func(r *http.Request) { r.Header.Set("Origin", "https://example.com") }); code != http.StatusForbidden {
		t.Errorf("a page of another origin is answered %d", code)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		t.Errorf("when it is stopped it prints %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after the signal to stop it ended with %v", err)
	}
}
