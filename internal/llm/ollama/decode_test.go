package ollama

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/conformance"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestDecodeRecordings(t *testing.T) { recording.Run(t, "ollama", Decode) }

// Lines in the shapes that servers send.

func says(message, rest string) string {
	return `{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant",` + message + `}` + rest + "}\n"
}

func text(s string) string { return says(`"content":"`+s+`"`, `,"done":false`) }

func calls(list string) string {
	return says(`"content":"","tool_calls":[`+list+`]`, `,"done":false`)
}

const done = `{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":12,"eval_count":5}` + "\n"

func twoCalls() string {
	return says(`"content":"","thinking":"Let me see."`, `,"done":false`) + text("Grüße, ") + text("東京") +
		calls(`{"id":"call_1","function":{"index":0,"name":"add","arguments":{"b":12345678901234567890,"a":1}}}`) +
		calls(`{"function":{"index":0,"name":"now","arguments":{}}}`) + done
}

func TestDecode(t *testing.T) {
	one := func(args, invalid string) []recording.Call {
		return []recording.Call{{Name: "add", Arguments: args, Invalid: invalid}}
	}
	called := func(c []recording.Call) conformance.Outcome {
		return conformance.Outcome{Calls: c, Finish: "tool_calls", Word: "stop", Terminated: true}
	}
	tests := []struct {
		name string
		body string
		want conformance.Outcome
	}{
		{"thinking, text and calls come in their order, numbers whole", twoCalls(),
			conformance.Outcome{Text: "Grüße, 東京", Reasoning: "Let me see.", Finish: "tool_calls", Word: "stop", Terminated: true,
				Calls: []recording.Call{{ProviderID: "call_1", Name: "add", Arguments: `{"b":12345678901234567890,"a":1}`}, {Name: "now", Arguments: "{}"}}}},
		{"two calls in one line are two", calls(`{"function":{"name":"a","arguments":{}}},{"function":{"name":"b","arguments":{}}}`) + done,
			called([]recording.Call{{Name: "a", Arguments: "{}"}, {Name: "b", Arguments: "{}"}})},
		{"a call in the done line is a call", says(`"content":"","tool_calls":[{"function":{"name":"add","arguments":{"a":1}}}]`, `,"done":true,"done_reason":"stop"`),
			called(one(`{"a":1}`, ""))},
		{"arguments may be a string", calls(`{"function":{"name":"add","arguments":"{\"a\": 1}"}}`) + done, called(one(`{"a": 1}`, ""))},
		{"arguments may be null", calls(`{"function":{"name":"add","arguments":null}}`) + done, called(one("", ""))},
		{"arguments may be missing", calls(`{"function":{"name":"add"}}`) + done, called(one("", ""))},
		{"arguments that are no object make the call invalid", calls(`{"function":{"name":"add","arguments":[1]}}`) + done,
			called(one("[1]", "arguments are a JSON array, not an object"))},
		{"blank lines and CRLF change nothing", "\n\r\n" + strings.ReplaceAll(text("hi")+done, "\n", "\r\n\r\n"),
			conformance.Outcome{Text: "hi", Finish: "stop", Word: "stop", Terminated: true}},
		{"the last line needs no end", text("hi") + strings.TrimSpace(done), conformance.Outcome{Text: "hi", Finish: "stop", Word: "stop", Terminated: true}},
		{"a whole answer is one line", says(`"content":"hi"`, `,"done":true,"done_reason":"length"`),
			conformance.Outcome{Text: "hi", Finish: "length", Word: "length", Terminated: true}},
		{"old servers give no reason", text("hi") + `{"done":true}`, conformance.Outcome{Text: "hi", Finish: "stop", Terminated: true}},
		{"an empty request only loads the model", `{"message":{"content":""},"done_reason":"load","done":true}`,
			conformance.Outcome{Finish: "other", Word: "load", Terminated: true}},
		{"a body without a done line was cut", text("hi"), conformance.Outcome{Text: "hi", Finish: "error", Class: "cut"}},
		{"a body that ends inside a line was cut", text("hi") + `{"model":"m","mess`, conformance.Outcome{Text: "hi", Finish: "error", Class: "cut"}},
		{"an error line keeps what came before", text("hi") + `{"error":"model runner has unexpectedly stopped"}` + "\n",
			conformance.Outcome{Text: "hi", Finish: "error", Class: "internal"}},
		{"an error may be an object", `{"error":{"message":"overloaded","code":503}}`, conformance.Outcome{Finish: "error", Class: "overloaded"}},
		{"an error of null is none", `{"error":null,"message":{"content":"hi"},"done":true,"done_reason":"stop"}`,
			conformance.Outcome{Text: "hi", Finish: "stop", Word: "stop", Terminated: true}},
		{"a line that is no JSON", text("hi") + "oops\n", conformance.Outcome{Text: "hi", Finish: "error", Class: "internal"}},
		{"a page of HTML", "<html>\n", conformance.Outcome{Finish: "error", Class: "invalid_request"}},
		{"an empty body", "", conformance.Outcome{Finish: "error", Class: "cut"}},
		{"fields of another type are skipped", `{"model":5,"message":{"content":"hi"},"done":true,"done_reason":"stop","eval_count":"many"}`,
			conformance.Outcome{Text: "hi", Finish: "stop", Word: "stop", Terminated: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := conformance.Read(t, Decode, strings.NewReader(tt.body)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestDecodeCountsWhatTheDoneLineSays(t *testing.T) {
	a, _ := conformance.Read(t, Decode, strings.NewReader(twoCalls()))
	if u := a.End.Usage; *u.InputTokens != 12 || *u.OutputTokens != 5 || a.End.Model != "m" {
		t.Errorf("the end is %+v", a.End)
	}
	a, _ = conformance.Read(t, Decode, strings.NewReader(`{"done":true,"eval_count":5}`))
	if u := a.End.Usage; u.InputTokens != nil || *u.OutputTokens != 5 {
		t.Errorf("usage is %+v", u)
	}
}

func TestDecodeNamesBlocksByWhatFollowsWhat(t *testing.T) {
	var got []string
	for e := range Decode(strings.NewReader(text("a") + text("b") + calls(`{"function":{"name":"x","arguments":{}}}`) + text("c") + done)) {
		switch e := e.(type) {
		case *events.TextChunk:
			got = append(got, fmt.Sprintf("%d:%s", e.Block, e.Text))
		case *events.ToolCallStart:
			got = append(got, fmt.Sprintf("%d:%s", e.Block, e.Name))
		}
	}
	if want := []string{"0:a", "0:b", "1:x", "2:c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
