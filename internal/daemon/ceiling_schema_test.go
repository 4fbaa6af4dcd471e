package daemon_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// nestedReferences is a schema of 3 kB whose use takes longer than the universe has.
func nestedReferences() []byte {
	var defs []string
	for i := range 45 {
		defs = append(defs, fmt.Sprintf(`"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]}`, i, i+1, i+1))
	}
	return fmt.Appendf(nil, `{"type":"object","$ref":"#/$defs/a0","$defs":{%s,"a45":{}}}`, strings.Join(defs, ","))
}

// TestAHostileSchemaHoldsNothingUp: a worker of another program announces a tool
// whose schema never ends. It is not offered and does not run; other turns go
// on; the orchestrator stops and starts.
func TestAHostileSchemaHoldsNothingUp(t *testing.T) {
	d := serve(t)
	d.run(d.models("models", scriptFile(t, `
model: demo
pace: 0
rules:
  - name: a call
    match: bomb
    steps:
      - text: A call.
        calls:
          - {tool: bomb, arguments: {a: 1}}
      - text: 'Result: {{result 0}}'
  - name: words
    match: .
    steps:
      - text: Hello.
`)))
	err := d.Presence().Announce(t.Context(), []bus.Offer{{Kind: "tool", Name: "bomb", Worker: "other", Tool: &events.ToolSpec{Name: "bomb", Effect: events.EffectPure, Schema: nestedReferences()}}})
	if err != nil {
		t.Fatal(err)
	}
	stop := d.run(d.orchestrator("orchestrator"))
	for _, name := range []string{"first", "after a restart"} {
		conversation := newID(t)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		seen, end, err := d.tryTurn(ctx, conversation, "bomb")
		cancel()
		if err != nil {
			d.answersCancel(conversation)
			t.Fatalf("%s: the turn does not end: %v", name, err)
		}
		if end.Outcome != events.OutcomeCompleted {
			t.Errorf("%s: %s %v", name, end.Outcome, end.Error)
		}
		requested := 0
		for _, m := range seen {
			for _, l := range m.Lines {
				if dec, ok := l.Event.(*events.Decision); ok {
					for _, l := range dec.Events {
						if _, ok := l.Event.(*events.ToolCallRequested); ok {
							requested++
						}
					}
				}
			}
		}
		if requested > 0 {
			t.Errorf("%s: %d calls run", name, requested)
		}
		if _, end := d.turn(newID(t), "hello"); end.Outcome != events.OutcomeCompleted {
			t.Errorf("%s: beside it %s %v", name, end.Outcome, end.Error)
		}
		stop()
		stop = d.run(d.orchestrator("orchestrator2"))
	}
}
