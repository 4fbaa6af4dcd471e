package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

func TestToolsThatAreMissingAreNamedWithTheirServer(t *testing.T) {
	tool := func(name, schema string) parley.Offer {
		return parley.Offer{Kind: "tool", Name: name, Worker: "w", Tool: &events.ToolSpec{Name: name, Server: "srv", Schema: json.RawMessage(schema)}}
	}
	offers := []parley.Offer{
		{Kind: "llm", Name: "anthropic", Worker: "a"}, {Kind: "llm", Name: "anthropic", Worker: "b"}, {Kind: "llm", Name: "scripted", Worker: "b"},
		tool("odd", `{"type":"object","properties":{"$top":{}},"required":["$top"]}`), tool("good", `{"type":"object"}`),
		{Kind: "tool", Name: "read_result", Worker: "w", Tool: &events.ToolSpec{Name: "read_result"}, Servers: []bus.ServerState{
			{Name: "slow", Missing: "it has been starting for 9s\x1b[2J"}, {Name: "srv", Omitted: []events.OmittedTool{{Tool: "bad", Server: "srv", Reason: "why"}}}}},
	}
	got := strings.Join(append(missingTools(offers), unfitTools(offers)...), "\n")
	for _, want := range []string{"MCP server slow: its tools are missing: it has been starting for 9s", "MCP server srv: tool bad is left out: why", "MCP server srv: tool odd is left out of requests to anthropic: "} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is not said once:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") || strings.Contains(got, "good") {
		t.Errorf("got %q", got)
	}
	for i := range 130 {
		offers = append(offers, tool(fmt.Sprintf("t%03d", i), `{"type":"object"}`))
	}
	if got := strings.Join(unfitTools(offers), "\n"); !strings.Contains(got, "133 tools are more than the 128") {
		t.Errorf("got %q", got)
	}
}
