package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"
)

// crowd is an MCP server with the tools that its arguments name: crowd NAME TOOL...,
// where t203 stands for 203 tools. A tool says the server's name and its own; the tools
// die and kill end the server in the middle of a call. All but kill only read.
func crowd() {
	s := sdk.NewServer(&sdk.Implementation{Name: os.Args[1], Version: "1"}, nil)
	add := func(name string) {
		t := &sdk.Tool{Name: name, Description: "Does " + name + ".", InputSchema: json.RawMessage(`{"type":"object"}`),
			Annotations: &sdk.ToolAnnotations{ReadOnlyHint: name != "kill"}}
		s.AddTool(t, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			if name == "die" || name == "kill" {
				os.Exit(3)
			}
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: os.Args[1] + " says " + name}}}, nil
		})
	}
	for _, name := range os.Args[2:] {
		if name != "t203" {
			add(name)
			continue
		}
		for i := range 203 {
			add(fmt.Sprintf("t%03d", i))
		}
	}
	if err := s.Run(context.Background(), &sdk.StdioTransport{}); err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
	}
}

// slowStart is how long a slow MCP server takes to start, from PARLEY_SLOW; 0 if a script
// decides when it is done.
func slowStart() time.Duration {
	d, err := time.ParseDuration(os.Getenv("PARLEY_SLOW"))
	if err != nil {
		return 0
	}
	return d
}

// mcpServers FILE: writes the servers of FILE to tools.yaml. LOCKED there is the URL of
// one that refuses every request, STARTING the shell command that ends when the slow one
// may start: when the file released exists, or after PARLEY_SLOW.
func mcpServers(ts *testscript.TestScript, _ bool, args []string) {
	locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"invalid token"}`)
	}))
	ts.Defer(locked.Close)
	starting := "until test -e " + ts.MkAbs("released") + "; do sleep 0.05; done"
	if d := slowStart(); d > 0 {
		starting = fmt.Sprintf("sleep %g", d.Seconds())
	}
	text := strings.NewReplacer("LOCKED", locked.URL, "STARTING", starting, "WORK", ts.MkAbs(".")).Replace(ts.ReadFile(args[0]))
	ts.Check(os.WriteFile(ts.MkAbs("tools.yaml"), []byte(text), 0o600))
}
