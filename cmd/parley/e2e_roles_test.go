package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/hook"
	"github.com/parleybus/parley/internal/broker/brokertest"
)

// governedCluster is three nats-server processes with a generated configuration,
// and every role as a process of its own user.
type governedCluster struct {
	*processes
	urls    []string
	servers [3]*process
	keys    string
}

// pythonServer is an MCP server in Python with one tool.
const pythonServer = `
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    r = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "py", "version": "1"}},
         "tools/list": {"tools": [{"name": "shout", "description": "Shouts.", "annotations": {"readOnlyHint": True},
            "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}}]},
         "tools/call": {"content": [{"type": "text", "text": m.get("params", {}).get("arguments", {}).get("text", "").upper()}]}}.get(m["method"], {})
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
`

const governedTools = `
tools:
  - name: charge
    description: Charges a card.
    input: {type: object, properties: {amount: {type: integer}}, required: [amount]}
    exec: {command: [sh, -c, 'cat > /dev/null; echo charged; echo x >> charged'], stdin: json}
  - name: report
    description: Prints a long report.
    effect: pure
    exec: {command: [sh, -c, 'yes 0123456789 | head -n 300000'], stdin: none}
mcp:
  - {name: py, command: [python3, SERVER], prefix: py_}
`

const governedScript = `
rules:
  - match: everything
    steps:
      - text: I do it all.
        calls:
          - {tool: calculate, arguments: {expression: 6 * 7}}
          - {tool: py_shout, arguments: {text: hello}}
          - {tool: report, arguments: {}}
          - {tool: charge, arguments: {amount: 5}}
      - text: 'The sum is {{result 0}}, the server says {{result 1}}, the report came {{status 2}}, the card was {{result 3}}.'
  - steps:
      - text: Hello.
`

// newGovernedCluster makes keys and configurations, starts the servers, and
// creates the streams as the administrator.
func newGovernedCluster(t *testing.T) *governedCluster {
	t.Helper()
	c := &governedCluster{processes: build(t)}
	c.keys = filepath.Join(c.dir, "keys")
	for name, text := range map[string]string{"server.py": pythonServer, "script.yaml": governedScript, "rules.yaml": "hooks:\n  - {name: tone, when: before}\n",
		"tools.yaml": strings.ReplaceAll(governedTools, "SERVER", filepath.Join(c.dir, "server.py"))} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	clients, routes := brokertest.Addresses(t, 3), brokertest.Addresses(t, 3)
	for _, at := range clients {
		c.urls = append(c.urls, "nats://"+at)
	}
	args := []string{"permissions", "--config", "--dir", c.keys, "--shards", "2", "--url", strings.Join(c.urls, ","),
		"--user", "admin", "--user", "orchestrator", "--user", "llm-worker=scripted,ollama", "--user", "tool-worker=calculate,now,read_result,py_shout",
		"--user", "tool-worker:shell=charge,report,read_result", "--user", "app", "--user", "caller", "--user", "viewer"}
	for _, at := range routes {
		args = append(args, "--route", "nats://"+at)
	}
	for i := range c.servers {
		text := c.command(slices.Concat(args, []string{"--server-name", "n" + strconv.Itoa(i), "--listen", clients[i], "--cluster", routes[i],
			"--store", filepath.Join(c.dir, "store"+strconv.Itoa(i))})...).finish()
		conf := filepath.Join(c.dir, fmt.Sprintf("n%d.conf", i))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.startServer(i)
	}
	stranger := c.start("nats-server", "-a", "127.0.0.1", "-p", "-1", "--cluster_name", "parley", "--cluster", "nats://"+brokertest.Addresses(t, 1)[0], "--routes", "nats://"+routes[0])
	stranger.await(1, "Authorization Violation")
	stranger.kill()
	setup := c.as("admin").command("setup", "--shards", "2", "--stream-replicas", "3").finish()
	if !strings.Contains(setup, "HISTORY created") {
		t.Fatalf("setup printed\n%s", setup)
	}
	if again := c.as("admin").command("setup", "--shards", "2", "--stream-replicas", "3").finish(); !strings.Contains(again, "set up already, with 2 shards") {
		t.Fatalf("setup printed again\n%s", again)
	}
	return c
}

func (c *governedCluster) startServer(i int) {
	c.t.Helper()
	c.servers[i] = c.start("nats-server", "-c", filepath.Join(c.dir, fmt.Sprintf("n%d.conf", i)))
	c.servers[i].await(1, "Server is ready")
}

// as is where processes start as a user.
func (c *governedCluster) as(user string) *processes {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.keys, user+".env"))
	if err != nil {
		c.t.Fatal(err)
	}
	p := *c.processes
	p.env = strings.Fields(string(text))
	return &p
}

// violations are the lines in which the servers report what users tried in vain.
func (c *governedCluster) violations() []string {
	var all []string
	for _, s := range c.servers {
		for _, line := range s.printed() {
			if strings.Contains(line, "Violation") {
				all = append(all, line)
			}
		}
	}
	return all
}

// examined waits until the doctor finds nothing wrong: a server that was started
// again catches up first.
func (c *governedCluster) examined() {
	c.t.Helper()
	for tries := 0; ; tries++ {
		p := c.as("app").command("doctor")
		<-p.done
		if p.err == nil {
			break
		}
		if tries == 30 {
			c.t.Fatalf("doctor says\n%s", p.output())
		}
	}
}

// TestE2ERolesOnThreeNodes runs all binaries, each as the user of its role: a
// question, an approval, tools in Go, Python and shell, a large result, a hook, MCP,
// and restarts of everything.
func TestE2ERolesOnThreeNodes(t *testing.T) {
	t.Parallel()
	c := newGovernedCluster(t)
	boss := c.as("orchestrator").start("orchestrator", "--rules", "rules.yaml")
	boss.await(2, "owns a shard")
	c.as("llm-worker").start("llm-worker", "--script", "script.yaml").await(1, "msg=ready")
	tools := filepath.Join(c.dir, "tools.yaml")
	c.as("tool-worker").start("tool-worker", "--tools-file", tools).await(1, "msg=ready")
	shell := c.as("shell").start("tool-worker", "--tools-file", tools)
	shell.await(1, "msg=ready")

	app := c.as("app")
	for offered := ""; strings.Count(offered, "\tpure\t")+strings.Count(offered, "\tonce\t") < 6; {
		offered = app.command("tools").finish()
	}
	ctx, stop := context.WithCancel(t.Context())
	called, answered := make(chan string, 16), make(chan error, 1)
	cfg := parley.Config{URL: c.urls[0], NKey: filepath.Join(c.keys, "app.nk"), InboxPrefix: "_INBOX_app", APIPrefix: "PARLEY.API"}
	go func() {
		answered <- hook.Serve(ctx, cfg, hook.Before, "tone", func(_ context.Context, call *hook.Call) (*hook.Answer, error) {
			called <- call.Conversation
			return &hook.Answer{Context: "Be brief."}, nil
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-answered; err != nil {
			t.Error(err)
		}
	})

	first := app.command("ask", "--json", "everything")
	first.await(1, `"type":"Paused"`)
	id := <-called
	c.servers[0].kill()
	if said := app.command("approve", id, "--all").finish(); !strings.Contains(said, "approved charge") {
		t.Errorf("approve printed\n%s", said)
	}
	first.await(1, `"type":"TurnEnded"`)
	c.startServer(0)
	for range 2 { // also for an orchestrator that was started again
		said := app.command("show", id).finish()
		if !strings.Contains(said, "The sum is 42, the server says HELLO, the report came ok, the card was charged") {
			t.Fatalf("the conversation reads\n%s", said)
		}
		boss.stop()
		boss = c.as("orchestrator").start("orchestrator", "--rules", "rules.yaml")
		boss.await(2, "owns a shard")
		if again := app.command("ask", "-q", "-c", id, "hello").finish(); !strings.Contains(again, "Hello.") {
			t.Errorf("it answers %q", again)
		}
	}
	if charged, err := os.ReadFile(filepath.Join(c.dir, "charged")); err != nil || string(charged) != "x\n" {
		t.Errorf("the card was charged %q, %v", charged, err)
	}
	if sum := c.as("caller").command("tools", "call", "calculate", `{"expression":"2*3"}`).finish(); !strings.Contains(sum, "6") {
		t.Errorf("a caller gets %q", sum)
	}
	for _, args := range [][]string{{"ls"}, {"tools"}, {"approvals"}, {"replay", id, "--json", "--flat"}, {"delete", id, "--yes"}} {
		app.command(args...).finish()
	}
	c.examined()
	// A worker's user offers the tools of its configuration and no other: the other
	// tools of the file are reported. And an orchestrator may give an answer only on the
	// connection on which it was asked, which it may have lost since.
	for _, v := range c.violations() {
		if !strings.Contains(v, `"$KV.PARLEY_PRESENCE.tool.`) && !strings.Contains(v, `Publish Violation - Subject "_R_.`) {
			t.Error(v)
		}
	}
	viewer := c.as("viewer").command("ls")
	<-viewer.done
	if viewer.err == nil {
		t.Error(errors.New("a viewer lists conversations"))
	}
}
