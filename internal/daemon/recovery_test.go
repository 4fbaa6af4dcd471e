package daemon_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// slowSteps is threeSteps with delays, so that calls and generations are in
// progress when a disturbance comes.
const slowSteps = `
model: demo
pace: 8
rules:
  - name: three steps
    match: .
    steps:
      - text: one two three four five six seven eight nine ten
        calls:
          - {tool: calculate, arguments: {expression: "17% of 2340"}}
          - {tool: calculate, arguments: {expression: "6*7"}}
      - text: eleven twelve thirteen fourteen fifteen sixteen
        calls:
          - {tool: calculate, arguments: {expression: "2^10"}}
      - text: "Done: {{result 0}} and {{result 1}}, then {{result 2}}."
`

const slowAnswer = "Done: 397.8 and 42, then 1024."

const (
	disturbances = 10
	between      = 150 * time.Millisecond
)

// many runs turns in n conversations concurrently, calls disturb repeatedly,
// and checks that each turn completed exactly once.
func (d *deployment) many(n int, disturb func(round int)) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
	defer cancel()
	over := make(chan struct{})
	var disturber, turns sync.WaitGroup
	disturber.Go(func() {
		// Bounded, so that the test ends on a machine too slow to progress between
		// two disturbances.
		for round := range disturbances {
			select {
			case <-over:
				return
			case <-time.After(between):
				disturb(round)
			}
		}
	})
	for i := range n {
		turns.Go(func() {
			if err := d.disturbed(ctx, newID(d.t)); err != nil {
				d.t.Errorf("conversation %d: %v", i, err)
			}
		})
	}
	turns.Wait()
	close(over)
	disturber.Wait()
}

func (d *deployment) disturbed(ctx context.Context, id string) error {
	seen, end, err := d.tryTurn(ctx, id, "go")
	if err != nil {
		return err
	}
	if end.Outcome != events.OutcomeCompleted || end.Steps != 3 {
		return fmt.Errorf("%s: turn ended as %s (%s, %v) after %d steps", id, end.Outcome, end.Reason, end.Error, end.Steps)
	}
	if err := checkTurns(seen); err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	messages := fold(id, seen).Transcript.Messages()
	parts := messages[len(messages)-1].Parts
	if got := parts[len(parts)-1].Text; got != slowAnswer {
		return fmt.Errorf("%s: the answer is %q, want %q", id, got, slowAnswer)
	}
	return nil
}

func TestTurnsEndOnceWhileOrchestratorsComeAndGo(t *testing.T) {
	d := serve(t)
	d.run(d.tools("tools", builtins(t)))
	d.run(d.models("models", scriptFile(t, slowSteps)))
	stop := d.run(d.orchestrator("first"))
	d.many(20, func(round int) {
		stop()
		stop = d.run(d.orchestrator(fmt.Sprintf("next-%d", round)))
	})
}

func TestTwoOwnersOfAShardAreHarmless(t *testing.T) {
	d := serve(t)
	d.run(d.tools("tools", builtins(t)))
	d.run(d.models("models", scriptFile(t, slowSteps)))
	d.run(d.orchestrator("one"))
	d.run(d.orchestrator("two"))
	d.many(20, func(int) {
		// No lease is held: both believe that they own the shard.
		if err := d.Deployment().BreakLeases(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestTurnsEndOnceWhileWorkersComeAndGo(t *testing.T) {
	d := serve(t)
	d.run(d.orchestrator("orchestrator"))
	script := scriptFile(t, slowSteps)
	models, tools := d.run(d.models("models", script)), d.run(d.tools("tools", builtins(t)))
	d.many(20, func(round int) {
		models()
		models = d.run(d.models(fmt.Sprintf("models-%d", round), script))
		tools()
		tools = d.run(d.tools(fmt.Sprintf("tools-%d", round), builtins(t)))
	})
}

func TestAConversationContinuesAfterEverythingWasRestarted(t *testing.T) {
	d := serve(t)
	script := scriptFile(t, slowSteps)
	id := newID(t)
	for round := range 3 {
		stops := []func(){d.run(d.tools("tools", builtins(t))), d.run(d.models("models", script)), d.run(d.orchestrator("orchestrator"))}
		seen, end := d.turn(id, fmt.Sprintf("round %d", round))
		if end.Outcome != events.OutcomeCompleted {
			t.Fatalf("round %d: %s %v", round, end.Outcome, end.Error)
		}
		c := fold(id, seen)
		if c.Turns != round+1 {
			t.Errorf("round %d: %d turns", round, c.Turns)
		}
		for _, stop := range stops {
			stop()
		}
	}
	var all []bus.Message
	for m, err := range d.Conversation(id).Attach(t.Context(), bus.From{Ended: true}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	if err := checkTurns(all); err != nil {
		t.Error(err)
	}
}
