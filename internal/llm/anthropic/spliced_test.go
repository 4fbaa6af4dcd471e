package anthropic

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/llm/conformance"
	"github.com/parleybus/parley/internal/llm/recording"
)

// TestContentOfMessageStart: gateways put an answer, or a part of it, into
// message_start.
func TestContentOfMessageStart(t *testing.T) {
	start := func(id, content string) string {
		return `{"type":"message_start","message":{"id":"` + id + `","type":"message","role":"assistant","model":"claude-test","content":[` + content + `]}}`
	}
	const hello = `{"type":"text","text":"Hello"}`
	const add = `{"type":"tool_use","id":"toolu_1","name":"add","input":{"a":1}}`
	whole := conformance.Outcome{Text: "Hello", Finish: "stop", Word: "end_turn", Terminated: true}
	for _, c := range []struct {
		name, body string
		want       conformance.Outcome
	}{
		{"all of it", sse(start("a", hello), finish("end_turn"), stop), whole},
		{"with a stop reason there and nothing after", sse(start("a", hello)) + sse(finish("end_turn")), conformance.Outcome{Text: "Hello", Finish: "stop", Word: "end_turn"}},
		{"a call", sse(start("a", hello+","+add), finish("tool_use"), stop),
			conformance.Outcome{Text: "Hello", Calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Arguments: `{"a":1}`}}, Finish: "tool_calls", Word: "tool_use", Terminated: true}},
		{"what is streamed again counts once", sse(start("a", hello), textStart("0"), textDelta("0", "Hello"), blockStop("0"), finish("end_turn"), stop), whole},
		{"what comes before the streamed blocks", sse(start("a", hello), textStart("1"), textDelta("1", ", you"), blockStop("1"), finish("end_turn"), stop),
			conformance.Outcome{Text: "Hello, you", Finish: "stop", Word: "end_turn", Terminated: true}},
		{"a second message in the middle of the first", sse(start("a", ""), textStart("0"), textDelta("0", "Hel"), start("b", ""), textStart("0"), textDelta("0", "Hello"), blockStop("0"), finish("end_turn"), stop),
			conformance.Outcome{Text: "Hel", Finish: "error", Class: "cut"}},
		{"a second message after the first", sse(start("a", ""), textStart("0"), textDelta("0", "Hello"), blockStop("0"), finish("end_turn"), start("b", ""), textStart("0"), textDelta("0", "Bye"), blockStop("0"), finish("end_turn"), stop),
			conformance.Outcome{Text: "Hello", Finish: "stop", Word: "end_turn"}},
		{"a second message before there is content", sse(start("a", ""), start("b", ""), textStart("0"), textDelta("0", "Hello"), blockStop("0"), finish("end_turn"), stop), whole},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := recording.Collect(Decode(strings.NewReader(c.body)))
			for _, rule := range a.Broken {
				t.Error(rule)
			}
			var calls []recording.Call
			for _, call := range a.Calls {
				call.Block = 0
				calls = append(calls, call)
			}
			got := conformance.Outcome{Text: a.Text, Calls: calls, Finish: a.End.Finish, Word: a.End.FinishWord, Terminated: a.End.Terminated}
			if a.End.Error != nil {
				got.Class = a.End.Error.Class
			}
			if got.Text != c.want.Text || got.Finish != c.want.Finish || got.Word != c.want.Word || got.Terminated != c.want.Terminated || got.Class != c.want.Class || len(calls) != len(c.want.Calls) || len(calls) == 1 && calls[0] != c.want.Calls[0] {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}
