package accumulator

import (
	"fmt"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// decide makes a Decision of events and takes it over at seq.
func decide(c *Conversation, seq uint64, all ...events.Event) {
	draft, d := c.Draft(min(2, len(c.Inputs))), &events.Decision{}
	for _, e := range all {
		draft.ApplyDecided(e)
		d.Events = append(d.Events, events.Line{Event: e})
	}
	d.State = draft.State
	c.Adopt(draft, d, seq)
}

func TestADraftLeavesItsConversationAsItWas(t *testing.T) {
	c := history(t, `in {"type":"UserMessage","id":"m","text":"go"}`)
	draft := c.Draft(1)
	draft.ApplyDecided(&events.TurnStarted{Turn: "t", Inputs: []string{"m"}})
	draft.ApplyDecided(&events.InputAnswered{Input: "m", Answer: events.AnswerAccepted, Turn: "t"})
	if c.Turn != "" || c.Turns != 0 || len(c.Inputs) != 1 || c.Transcript.TurnOf("m") != "" {
		t.Errorf("the conversation is %+v", c)
	}
}

// What comes in the log before a Decision is not what the Decision requested,
// also when its owner reads it after.
func TestAnAdoptedDecisionCountsFromWhereItIsStored(t *testing.T) {
	c := history(t, `in {"type":"UserMessage","id":"m","text":"go"}`)
	decide(c, 10, &events.TurnStarted{Turn: "t", Inputs: []string{"m"}}, &events.InputAnswered{Input: "m", Answer: events.AnswerAccepted, Turn: "t"},
		&events.GenerationRequested{Turn: "t", Generation: "g", Step: 1, Try: 1})
	start := read(t, `{"type":"GenerationStarted","attempt":"a","index":0,"generation":"g"}`)
	c.Apply(Message{Channel: events.ChannelGen, Sequence: 9, Lines: start})
	if c.TurnLane != 10 || c.Open != nil {
		t.Errorf("the turn lane is at %d, what came before it counts: %v", c.TurnLane, c.Open)
	}
	c.Apply(Message{Channel: events.ChannelGen, Sequence: 11, Lines: start})
	if c.Open == nil {
		t.Error("what came after it does not count")
	}
	decide(c, 12, &events.AssistantMessage{Turn: "t", Generation: "g", Step: 1, Message: events.Message{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartCall, Call: "k", Name: "f"}, {Kind: events.PartCall, Call: "l", Name: "f"}}}},
		&events.ToolCallRequested{Turn: "t", Call: "k", Tool: "f"})
	c.Apply(Message{Channel: events.ChannelCall, Call: "k", Sequence: 11, Lines: read(t, `{"type":"ToolStarted","call":"k","attempt":"a"}`)})
	if c.Started["k"] {
		t.Error("a start before the request counts")
	}
	decide(c, 14, &events.ToolCallRequested{Turn: "t", Call: "l", Tool: "f"})
	c.Apply(Message{Channel: events.ChannelCall, Call: "k", Sequence: 13, Lines: read(t, `{"type":"ToolStarted","call":"k","attempt":"a"}`)})
	if !c.Started["k"] {
		t.Error("a start after its request, before the next Decision, does not count")
	}
}

func TestAnAnsweredInputMayComeAgainAmongMany(t *testing.T) {
	c := &Conversation{ID: "c"}
	for i := range 2 * manyInputs {
		c.Apply(Message{Channel: events.ChannelIn, Sequence: uint64(i + 1), Lines: read(t, fmt.Sprintf(`{"type":"UserMessage","id":"m-%d","text":"go"}`, i))})
	}
	decide(c, 1000, &events.InputAnswered{Input: "m-1", Answer: events.AnswerRefused})
	decide(c, 1001, &events.DeletionStarted{Inputs: []string{"m-0"}})
	if c.Inputs[0].ID != "m-2" || c.Inputs[2*manyInputs-3].ID != "m-63" {
		t.Errorf("the inputs that wait are %+v", c.Inputs)
	}
	for i, want := range []int{2*manyInputs - 1, 2 * manyInputs, 2 * manyInputs} {
		c.Apply(Message{Channel: events.ChannelIn, Sequence: uint64(2000 + i), Lines: read(t, fmt.Sprintf(`{"type":"UserMessage","id":"m-%d","text":"go"}`, i))})
		if len(c.Inputs) != want {
			t.Errorf("after m-%d came again %d inputs wait, want %d", i, len(c.Inputs), want)
		}
	}
}
