package recording

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func stream(es ...events.Event) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		for _, e := range es {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestCollectNotesEveryBrokenRule(t *testing.T) {
	end := &events.GenerationEnded{Finish: events.FinishStop, Terminated: true}
	cases := []struct {
		name   string
		events []events.Event
		want   string // empty: no rule is broken
	}{
		{"a stream that keeps the rules breaks none", []events.Event{
			&events.TextChunk{Text: "a"},
			&events.ToolCallStart{Block: 1, Name: "f"}, &events.ToolCallDelta{Block: 1, Arguments: "{}"}, &events.ToolCallEnd{Block: 1},
			end}, ""},
		{"a stream must end", []events.Event{&events.TextChunk{Text: "a"}}, "no GenerationEnded"},
		{"nothing follows the end", []events.Event{end, end}, "follows GenerationEnded"},
		{"a text is never empty", []events.Event{&events.TextChunk{}, end}, "empty"},
		{"a call has an end", []events.Event{&events.ToolCallStart{Name: "f"}, end}, "no ToolCallEnd"},
		{"a call has one end", []events.Event{&events.ToolCallStart{}, &events.ToolCallEnd{}, &events.ToolCallEnd{}, end}, "which has no open call"},
		{"a delta follows a start", []events.Event{&events.ToolCallDelta{Arguments: "{}"}, end}, "which has no open call"},
		{"a block holds one kind of content", []events.Event{&events.TextChunk{Text: "a"}, &events.ReasoningChunk{Text: "b"}, end}, "block 0 holds"},
		{"a call has a block of its own", []events.Event{&events.TextChunk{Text: "a"}, &events.ToolCallStart{}, &events.ToolCallEnd{}, end}, "which is used"},
		{"an error of the end is beside it", []events.Event{&events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{}}}, "is yielded with"},
		{"an answer holds no other events", []events.Event{&events.Cancel{}, end}, "not an event of an answer"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(Collect(stream(c.events...)).Broken, "; ")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("broken rules are %q, want %q", got, c.want)
			}
		})
	}
}

func TestEveryFolderHoldsReadableRecordings(t *testing.T) {
	for _, dir := range []string{"openai-chat", "openai-compat", "openai-responses", "anthropic", "ollama"} {
		for _, r := range Find(t, dir) {
			if len(r.Body) == 0 {
				t.Errorf("%s/%s is empty", dir, r.Name)
			}
			if r.expected.Text == nil && len(r.expected.Choices) == 0 {
				t.Errorf("%s/%s says nothing about the text", dir, r.Name)
			}
		}
	}
}
