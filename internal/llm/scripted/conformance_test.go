package scripted_test

import (
	"net/http"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/conformance"
)

func TestConformance(t *testing.T) {
	p := provider(t, `
rules:
  - {contains: stall, steps: [{text: Hello, stall: true}]}
  - steps: [{text: 'Hello, world', calls: [{tool: add, arguments: {a: 1, b: 2}, unoffered: true}]}]
`)
	conformance.Run(t, conformance.Case{
		New:     func(string, *http.Client) llm.Provider { return p },
		Calls:   request(user("go")),
		Stalled: llm.Request{Model: "m", Messages: []events.Message{user("stall")}},
	})
}
