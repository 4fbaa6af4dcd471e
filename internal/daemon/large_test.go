package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/catalog"
)

// wordy is a model that makes one call with very long arguments, then finishes.
type wordy struct{ piece, pieces int }

func (wordy) Name() string { return "wordy" }

func (wordy) Capabilities(string) llm.Capabilities {
	return llm.Capabilities{Tools: true, StreamTools: true}
}

func (w wordy) Stream(_ context.Context, req llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		if len(req.Messages) > 1 {
			_ = yield(&events.TextChunk{Text: "done"}, nil) && yield(&events.GenerationEnded{Finish: events.FinishStop, Terminated: true}, nil)
			return
		}
		if !yield(&events.ToolCallStart{ProviderID: "call_0", Name: "slow"}, nil) || !yield(&events.ToolCallDelta{Arguments: `{"text":"`}, nil) {
			return
		}
		for range w.pieces {
			if !yield(&events.ToolCallDelta{Arguments: strings.Repeat("x", w.piece)}, nil) {
				return
			}
		}
		_ = yield(&events.ToolCallDelta{Arguments: `"}`}, nil) && yield(&events.ToolCallEnd{}, nil) &&
			yield(&events.GenerationEnded{Finish: events.FinishToolCalls, Terminated: true}, nil)
	}
}

// TestFiveMegabytesOfArgumentsPassThroughATurn includes an approval, so that the
// arguments pass through every kind of message.
func TestFiveMegabytesOfArgumentsPassThroughATurn(t *testing.T) {
	w := wordy{piece: 64 << 10, pieces: 80}
	d := serve(t)
	d.run(d.tools("tools", registry(t, slow{"slow", events.EffectPure, newRuns()})))
	models := &catalog.Catalog{Default: "wordy/w", Entries: map[string]catalog.Entry{"wordy": {Provider: w, Model: "w"}}}
	d.run(llmworker.Role(daemon.Config{Name: "models", Slots: 4}, d.log, models, nil))
	const rules = "ceilings: {argument_bytes: 8388608}\n" // the default is 1 MiB
	stop := d.run(d.orchestratorWith("orchestrator", rules))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conversation := newID(t)
	d.sendNew(conversation, func(id string) events.Event { return &events.Settings{ID: id, Policy: approveEverything()} })
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v := d.view(ctx, conversation)
	var paused *events.Paused
	v.until("the pause", func(e events.Event) (ok bool) { paused, ok = e.(*events.Paused); return ok })
	var shown struct{ Text string }
	if err := json.Unmarshal(paused.Awaiting[0].Arguments, &shown); err != nil || len(shown.Text) != w.piece*w.pieces {
		t.Fatalf("%d bytes of text are to be approved, %v", len(shown.Text), err)
	}
	stop()
	d.run(d.orchestratorWith("another", rules))
	d.sendNew(conversation, func(id string) events.Event {
		return &events.Verdict{ID: id, Verdict: events.RulingApprove, Calls: []events.CallVerdict{{Call: paused.Awaiting[0].Call, Digest: paused.Awaiting[0].Digest}}}
	})
	var got *events.ToolResult
	v.until("the result", func(e events.Event) (ok bool) { got, ok = e.(*events.ToolResult); return ok })
	if want := fmt.Sprintf("0 ms, %d bytes", w.piece*w.pieces); got.Content != want {
		t.Errorf("%s %s", got.Status, got.Content)
	}
	var end *events.TurnEnded
	v.until("the end", func(e events.Event) (ok bool) { end, ok = e.(*events.TurnEnded); return ok })
	if end.Outcome != events.OutcomeCompleted {
		t.Errorf("%s %s %v", end.Outcome, end.Reason, end.Error)
	}
}
