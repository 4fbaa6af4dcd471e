package orchestrator

import (
	"fmt"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// BenchmarkDecide decides and adopts the state that was computed, compared with an
// owner that folds the events for the Decision's state, and the Decision once more.
func BenchmarkDecide(b *testing.B) {
	for _, calls := range []int{0, 8, 256} {
		c, env, now := toDecide(b, calls), testEnv(), time.UnixMilli(1000)
		if calls > 0 {
			env.Policy = nil
			env.Limits.Parallel = calls
		}
		b.Run(fmt.Sprintf("adopt/calls=%d", calls), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d, draft, _ := Decide(c, env, now)
				next := *c
				next.Transcript = nil
				next.Adopt(draft, d, 1_000_000)
			}
		})
		b.Run(fmt.Sprintf("fold/calls=%d", calls), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d, _, _ := Decide(c, env, now)
				after := c.Clone()
				for _, l := range d.Events {
					after.ApplyDecided(l.Event)
				}
				next := c.Clone() // as deep as what an owner changes in place
				next.Apply(accumulator.Message{Channel: events.ChannelTurn, Sequence: 1_000_000, Lines: []events.Line{{Event: d}}})
			}
		})
	}
}

// toDecide is a conversation after a message or, with calls, after the answer that
// makes them.
func toDecide(b *testing.B, calls int) *accumulator.Conversation {
	c := empty("00000000-0000-7000-8000-c00000000000")
	c.Apply(accumulator.Message{Channel: events.ChannelIn, Sequence: 1, Lines: []events.Line{{Event: &events.UserMessage{ID: callID(0), Text: "go"}}}})
	if calls == 0 {
		return c
	}
	d, draft, _ := Decide(c, testEnv(), time.UnixMilli(1000))
	c.Adopt(draft, d, 2)
	m := accumulator.Message{Channel: events.ChannelGen, Sequence: 3}
	add := func(e events.Stamped) {
		e.Stamp("a", len(m.Lines))
		m.Lines = append(m.Lines, events.Line{Event: e})
	}
	add(&events.GenerationStarted{Generation: c.Generation, Turn: c.Turn, Step: 1})
	for i := range calls {
		add(&events.ToolCallStart{Block: i, Call: callID(i), Name: "f"})
		add(&events.ToolCallDelta{Block: i, Call: callID(i), Arguments: `{"x":1}`})
		add(&events.ToolCallEnd{Block: i, Call: callID(i)})
	}
	add(&events.GenerationEnded{Generation: c.Generation, Finish: events.FinishToolCalls, Terminated: true})
	c.Apply(m)
	if c.Open == nil || c.Open.Ended == nil {
		b.Fatal("the answer has not ended")
	}
	return c
}
