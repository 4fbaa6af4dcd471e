package accumulator

import (
	"fmt"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// fastest is the shortest time of several, for the machine is shared.
func fastest(run func()) time.Duration {
	best := time.Duration(1<<63 - 1)
	for range 5 {
		began := time.Now()
		run()
		best = min(best, time.Since(began))
	}
	return best
}

// linear fails when sixteen times as much costs more than a hundred times the
// time. With a quadratic cost it is 256 times.
func linear(t *testing.T, n int, run func(n int)) {
	t.Helper()
	run(n) // warms up
	if few, many := fastest(func() { run(n) }), fastest(func() { run(16 * n) }); many > 100*few {
		t.Errorf("%d cost %s, %d cost %s", n, few, 16*n, many)
	}
}

func callID(i int) string { return fmt.Sprintf("0198c0de-0000-7000-8000-%012d", i) }

// long is the transcript of a turn of n steps with a call each, whose outcome is
// unknown.
func long(n int) *Transcript {
	t := NewTranscript()
	c := &Conversation{Transcript: t}
	c.ApplyDecided(&events.TurnStarted{Turn: "t"})
	for i := range n {
		c.ApplyDecided(&events.AssistantMessage{Turn: "t", Step: i, Message: events.Message{Role: events.RoleAssistant, Parts: []events.Part{
			{Kind: events.PartCall, Call: callID(i), Name: "pay", Arguments: fmt.Sprintf(`{"to":%d,"of":"me"}`, i)}}}})
		c.ApplyDecided(&events.ToolCallRefused{Turn: "t", Call: callID(i), Tool: "pay", Status: events.StatusUnknown, Content: "it may have run"})
	}
	return t
}

func TestWhatATranscriptHoldsIsFoundWithoutLookingThroughAllOfIt(t *testing.T) {
	for name, look := range map[string]func(tr *Transcript, i int){
		"a call":                     func(tr *Transcript, i int) { tr.Call(callID(i)) },
		"a call as it was made":      func(tr *Transcript, i int) { tr.Part(callID(i)) },
		"a call's arguments":         func(tr *Transcript, i int) { tr.Arguments(callID(i)) },
		"a call that is not there":   func(tr *Transcript, i int) { tr.Call("none") },
		"a call of unknown outcome":  func(tr *Transcript, i int) { tr.OutcomeUnknown("pay", fmt.Sprintf(`{"of":"me","to":%d}`, i), "") },
		"what began a turn":          func(tr *Transcript, i int) { tr.FirstMessage("t") },
		"the calls of another turn":  func(tr *Transcript, i int) { tr.Calls("u") },
		"the rounds of all calls":    func(tr *Transcript, i int) { c, _ := tr.Call(callID(i)); tr.Round(c) },
		"a round that is known":      func(tr *Transcript, i int) { c, _ := tr.Call(callID(0)); tr.Round(c) },
		"how another turn has ended": func(tr *Transcript, i int) { tr.Ended("u") },
	} {
		t.Run(name, func(t *testing.T) {
			// As many looks in a transcript sixteen times as long.
			looks := func(tr *Transcript) time.Duration {
				return fastest(func() {
					for i := range 500 {
						look(tr, i)
					}
				})
			}
			if short, long := looks(long(500)), looks(long(8000)); long > 8*short {
				t.Errorf("it takes %s, and %s in a transcript that is sixteen times as long", short, long)
			}
		})
	}
}

func TestACallOfUnknownOutcomeIsFoundByItsArguments(t *testing.T) {
	tr := long(3)
	for name, c := range map[string]struct {
		tool, arguments, except string
		want                    bool
	}{
		"the same, written otherwise": {"pay", ` { "to" : 1, "of":"me" }`, callID(9), true},
		"the call itself":             {"pay", `{"to":1,"of":"me"}`, callID(1), false},
		"other arguments":             {"pay", `{"to":9,"of":"me"}`, callID(9), false},
		"another tool":                {"buy", `{"to":1,"of":"me"}`, callID(9), false},
	} {
		if got := tr.OutcomeUnknown(c.tool, c.arguments, c.except); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	var none *Transcript
	if none.OutcomeUnknown("pay", "{}", "") || NewTranscript().OutcomeUnknown("pay", "{}", "") {
		t.Error("an empty transcript knows of one")
	}
}

// An answer of many blocks, whose chunks come in turns, costs by the chunk.
func TestManyBlocksOfAnAnswerCostByTheChunk(t *testing.T) {
	linear(t, 1000, func(n int) {
		var g Generation
		for range 20 {
			for block := range n {
				g.Apply(&events.TextChunk{Block: block, Text: "x"})
			}
		}
		if len(g.Message().Parts) != n {
			t.Error("parts are missing")
		}
	})
}

func TestManyAttemptsCostByTheAttempt(t *testing.T) {
	linear(t, 500, func(n int) {
		var g Generation
		for i := range n {
			g.Apply(&events.GenerationStarted{Origin: events.Origin{Attempt: callID(i)}})
		}
	})
}
