package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// threeSteps is the script of a turn of three steps, two with parallel calls.
const threeSteps = `
model: demo
pace: 0
rules:
  - name: three steps
    match: .
    steps:
      - reasoning: Two things at once.
        text: First, two calls.
        calls:
          - {tool: calculate, arguments: {expression: "17% of 2340"}}
          - {tool: now, arguments: {timezone: Oslo}}
          - {tool: calculate, arguments: {expression: "6*7"}}
      - text: Now two more.
        calls:
          - {tool: calculate, arguments: {expression: "2^10"}}
          - {tool: calculate, arguments: {expression: "1/8"}}
      - text: "Done: {{result 0}} and {{result 2}}, then {{result 3}} and {{result 4}}."
`

func scriptFile(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.yaml")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func fold(id string, seen []bus.Message) *accumulator.Conversation {
	c := &accumulator.Conversation{ID: id, Transcript: accumulator.NewTranscript()}
	for _, m := range seen {
		c.Apply(m.Folded())
	}
	return c
}

func TestFiftyConversationsAtOnceEachEndOnce(t *testing.T) {
	d := start(t, scriptFile(t, threeSteps), builtins(t))
	const n = 50
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			id := newID(t)
			if err := d.oneOfMany(t.Context(), id, fmt.Sprintf("question %d", i)); err != nil {
				t.Errorf("conversation %d, %s: %v", i, id, err)
			}
		})
	}
	wg.Wait()
}

// oneOfMany runs a turn with a viewer from the start, and compares its messages
// with the log.
func (d *deployment) oneOfMany(ctx context.Context, id, question string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	seen, end, err := d.tryTurn(ctx, id, question)
	if err != nil {
		return err
	}
	if end.Outcome != events.OutcomeCompleted || end.Steps != 3 {
		return fmt.Errorf("turn ended as %s (%s, %v) after %d steps", end.Outcome, end.Reason, end.Error, end.Steps)
	}
	var log []bus.Message
	for m, err := range d.Conversation(id).Attach(ctx, bus.From{Ended: true}) {
		if err != nil {
			return err
		}
		log = append(log, m)
	}
	if len(log) < len(seen) {
		return fmt.Errorf("the log has %d messages, the viewer saw %d", len(log), len(seen))
	}
	for i, m := range seen {
		if l := log[i]; l.Sequence != m.Sequence || l.Subject != m.Subject || string(l.Data) != string(m.Data) || !l.Time.Equal(m.Time) {
			return fmt.Errorf("message %d: the viewer saw %d %s %s %s, the log has %d %s %s %s", i, m.Sequence, m.Subject, m.Time, m.Data, l.Sequence, l.Subject, l.Time, l.Data)
		}
	}
	viewer, whole := fold(id, seen), fold(id, log)
	if diff := cmp.Diff(whole.State, viewer.State, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(events.State{}, "GenLane")); diff != "" {
		return fmt.Errorf("the log folds to another state (-log +viewer):\n%s", diff)
	}
	got, err := json.Marshal(viewer.Transcript.Messages())
	if err != nil {
		return err
	}
	want, err := json.Marshal(whole.Transcript.Messages())
	if err != nil {
		return err
	}
	if string(got) != string(want) {
		return fmt.Errorf("the log folds to another transcript:\n%s\n%s", want, got)
	}
	return checkTurns(log)
}

// checkTurns checks that each turn ended exactly once and that each call has
// exactly one result.
func checkTurns(log []bus.Message) error {
	ended, results := map[string]int{}, map[string]int{}
	for _, m := range log {
		for _, l := range m.Lines {
			switch e := l.Event.(type) {
			case *events.ToolResult:
				results[e.Call]++
			case *events.Decision:
				for _, l := range e.Events {
					switch e := l.Event.(type) {
					case *events.TurnStarted:
						ended[e.Turn] += 0
					case *events.TurnEnded:
						ended[e.Turn]++
					case *events.ToolCallRequested:
						results[e.Call] += 0
					case *events.ToolCallRefused:
						results[e.Call]++
					}
				}
			}
		}
	}
	for turn, n := range ended {
		if n != 1 {
			return fmt.Errorf("turn %s ended %d times", turn, n)
		}
	}
	for call, n := range results {
		if n != 1 {
			return fmt.Errorf("call %s has %d results", call, n)
		}
	}
	return nil
}
