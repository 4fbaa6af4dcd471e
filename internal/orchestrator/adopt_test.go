package orchestrator

import (
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// A result that comes behind an unanswered input counts as soon as the input is
// answered: after the Decision, which must stay as it was stored.
func TestADecisionDoesNotChangeWhenItsOwnerContinues(t *testing.T) {
	const turn = "00000000-0000-7000-8000-000000000001"
	c := accumulator.Resume("00000000-0000-7000-8000-c00000000000", events.State{Phase: events.PhaseCalling, Turns: 1, Turn: turn, Step: 1,
		StartedMS: 1, Route: "scripted/echo", Calls: []events.CallState{{Call: callID(1), Tool: "f"}, {Call: callID(2), Tool: "f"}}}, 1)
	c.Transcript = accumulator.NewTranscript()
	apply := func(channel events.Channel, call string, seq uint64, e events.Event) {
		c.Apply(accumulator.Message{Channel: channel, Call: call, Sequence: seq, Lines: []events.Line{{Event: e}}})
	}
	apply(events.ChannelCall, callID(1), 2, &events.ToolStarted{Call: callID(1), Attempt: "a"})
	apply(events.ChannelIn, "", 3, &events.Cancel{ID: "00000000-0000-7000-8000-000000000009", Scope: events.ScopeQueue})
	apply(events.ChannelCall, callID(1), 4, &events.ToolResult{Call: callID(1), Attempt: "a", Status: events.StatusOK})
	d, draft, _ := Decide(c, testEnv(), time.UnixMilli(1000))
	if d == nil || d.State.Calls[0].Status != "" {
		t.Fatalf("the Decision is %+v", d)
	}
	c.Adopt(draft, d, 5)
	if c.Calls[0].Status != events.StatusOK {
		t.Fatalf("the result behind the input does not count: %+v", c.Calls)
	}
	if d.State.Calls[0].Status != "" {
		t.Error("the result changed the Decision that was stored before it")
	}
}
