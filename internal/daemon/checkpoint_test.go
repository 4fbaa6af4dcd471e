package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// TestATakeoverAtAnyCheckpointKeepsTheTranscript: a checkpoint passes turns that have
// ended, so that a new owner may begin to read in the middle of one. The next turn's
// request has the settings and messages that came before that position, and its policy
// decides.
func TestATakeoverAtAnyCheckpointKeepsTheTranscript(t *testing.T) {
	t.Parallel()
	const script = `
rules:
  - match: second
    steps:
      - calls: [{tool: calculate, arguments: {expression: 6*7}}]
      - text: Done.
  - steps: [{text: The first answer.}]
`
	for at := uint64(1); ; at++ {
		more := true
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			d := serve(t)
			d.run(d.tools("tools", builtins(t)))
			models, recorder := d.recorded("models", script)
			d.run(models)
			stop := d.run(d.orchestrator("first"))
			conversation := newID(t)
			d.sendNew(conversation, func(id string) events.Event {
				return &events.Settings{ID: id, System: "You serve Ada.", Policy: &events.Policy{Rules: []events.Rule{{Tool: "calculate", Action: events.ActionDeny, Reason: "no sums"}}}}
			})
			d.turn(conversation, "first")
			stop()
			end, _, err := d.Shard(0).End(t.Context())
			if err == nil {
				err = d.Shard(0).SetCheckpoint(t.Context(), at)
			}
			if err != nil {
				t.Fatal(err)
			}
			more = at < end
			d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "second"} })
			d.run(d.orchestrator("second"))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			v := d.view(ctx, conversation)
			for range 2 {
				v.until("the end of a turn", func(e events.Event) bool { _, ok := e.(*events.TurnEnded); return ok })
			}
			recorder.mu.Lock()
			defer recorder.mu.Unlock()
			for _, req := range recorder.requests[1:] {
				if text := fmt.Sprintf("%+v", req.Messages); req.System != "You serve Ada." || !strings.Contains(text, "first") || !strings.Contains(text, "The first answer.") {
					t.Errorf("the request after a takeover at %d of %d has the system prompt %q and %s", at, end, req.System, text)
				}
			}
			if last := recorder.requests[len(recorder.requests)-1]; len(recorder.requests) != 3 || !strings.Contains(fmt.Sprintf("%+v", last.Messages), "no sums") {
				t.Errorf("%d requests; the last has no refused call: %+v", len(recorder.requests), last.Messages)
			}
		})
		if !more || t.Failed() {
			return
		}
	}
}

// TestATimerThatItsOwnerDidNotRemoveIsRemoved: an owner may die between the decision
// that needs no timer any more and its removal.
func TestATimerThatItsOwnerDidNotRemoveIsRemoved(t *testing.T) {
	t.Parallel()
	d := serve(t)
	d.run(d.models("models", scriptFile(t, "rules: [{steps: [{text: Hello.}]}]\n")))
	stop := d.run(d.orchestrator("first"))
	conversation := newID(t)
	d.turn(conversation, "hello")
	stop()
	if err := errors.Join(d.Timers().Set(t.Context(), conversation, time.Now().Add(time.Hour)), d.Shard(0).SetCheckpoint(t.Context(), 1)); err != nil {
		t.Fatal(err)
	}
	d.run(d.orchestrator("second"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		left, err := d.Timers().List(ctx)
		if err != nil {
			t.Fatalf("%v is left: %v", left, err)
		}
		if len(left) == 0 {
			return
		}
	}
}
