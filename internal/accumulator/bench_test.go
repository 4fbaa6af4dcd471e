package accumulator

import (
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// benchAnswer is an answer of n chunks of text, started and stamped.
func benchAnswer(n int) []events.Event {
	const attempt = "01938a5c-7c1e-7000-8000-000000000001"
	answer := []events.Event{&events.GenerationStarted{Origin: events.Origin{Attempt: attempt}, Generation: "g"}}
	for i := range n {
		answer = append(answer, &events.TextChunk{Origin: events.Origin{Attempt: attempt, Index: i + 1}, Text: " the quick brown fox"})
	}
	return answer
}

// BenchmarkGenerationApply folds whole answers; the longer one must not cost
// more per event.
func BenchmarkGenerationApply(b *testing.B) {
	for name, n := range map[string]int{"answer of 100": 100, "answer of 10000": 10_000} {
		answer := benchAnswer(n)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var g Generation
				for _, e := range answer {
					g.Apply(e)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/event")
		})
	}
}

// BenchmarkConversationApply folds a conversation's messages as an orchestrator
// does that follows the log.
func BenchmarkConversationApply(b *testing.B) {
	for name, frame := range map[string]int{"1 event in a frame": 1, "16 events in a frame": 16} {
		const n = 1600
		answer := benchAnswer(n)
		var messages []Message
		for seq := uint64(1); len(answer) > 0; seq++ {
			m := Message{Channel: events.ChannelGen, Sequence: seq}
			for _, e := range answer[:min(frame, len(answer))] {
				m.Lines = append(m.Lines, events.Line{Event: e})
			}
			answer = answer[len(m.Lines):]
			messages = append(messages, m)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c := Conversation{State: events.State{Phase: events.PhaseGenerating, Generation: "g"}}
				for _, m := range messages {
					c.Apply(m)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
		})
	}
}
