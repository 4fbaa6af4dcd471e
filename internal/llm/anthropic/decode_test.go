package anthropic

import (
	"reflect"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/llm/conformance"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestDecodeRecordings(t *testing.T) { recording.Run(t, "anthropic", Decode) }

func TestDecode(t *testing.T) {
	add := recording.Call{ProviderID: "toolu_1", Name: "add", Arguments: `{"a": 12345678901234567890}`}
	now := recording.Call{ProviderID: "toolu_2", Name: "now"}
	tests := []struct {
		name string
		body string
		want conformance.Outcome
	}{
		{"text comes whole and in order", plain(),
			conformance.Outcome{Text: "Grüße, 東京", Finish: "stop", Word: "end_turn", Terminated: true}},
		{"a call without arguments is whole", twoCalls(),
			conformance.Outcome{Text: "I add.", Calls: []recording.Call{add, now}, Finish: "tool_calls", Word: "tool_use", Terminated: true}},
		{"blocks that interleave keep their own arguments", interleaved(),
			conformance.Outcome{Calls: []recording.Call{{ProviderID: "toolu_1", Name: "a", Arguments: `{"x":1}`}, {ProviderID: "toolu_2", Name: "b", Arguments: `{"y":2}`}},
				Finish: "tool_calls", Word: "tool_use", Terminated: true}},
		{"a whole message gives the same as a stream", wholeMessage(),
			conformance.Outcome{Text: "I add.", Reasoning: "Let me see.", Calls: []recording.Call{add, now}, Finish: "tool_calls", Word: "tool_use", Terminated: true}},
		{"input in the block's start is taken", sse(begin, callStart("0", "toolu_1", "add", `{"a": 1}`), blockStop("0"), finish("tool_use"), stop),
			conformance.Outcome{Calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Arguments: `{"a": 1}`}}, Finish: "tool_calls", Word: "tool_use", Terminated: true}},
		{"input of the start is not joined with deltas", sse(begin, callStart("0", "toolu_1", "add", `{"a": 1}`), jsonDelta("0", `{\"a\": 2}`), blockStop("0"), finish("tool_use"), stop),
			conformance.Outcome{Calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Arguments: `{"a": 2}`}}, Finish: "tool_calls", Word: "tool_use", Terminated: true}},
		{"input of the start is taken without the block's stop", sse(begin, callStart("0", "toolu_1", "add", `{"a": 1}`), finish("tool_use"), stop),
			conformance.Outcome{Calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Arguments: `{"a": 1}`}}, Finish: "tool_calls", Word: "tool_use", Terminated: true}},
		{"a limit that leaves no arguments makes the call invalid", sse(begin, callStart("0", "toolu_1", "add", "{}"), jsonDelta("0", ""), blockStop("0"), finish("max_tokens"), stop),
			conformance.Outcome{Calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Invalid: "the output limit was reached before the arguments were complete"}},
				Finish: "length", Word: "max_tokens", Terminated: true}},
		{"a limit spares the call without arguments before the last", sse(begin, callStart("0", "toolu_1", "now", "{}"), blockStop("0"),
			callStart("1", "toolu_2", "add", "{}"), jsonDelta("1", `{\"a\"`), finish("max_tokens"), stop),
			conformance.Outcome{Calls: []recording.Call{{ProviderID: "toolu_1", Name: "now"},
				{ProviderID: "toolu_2", Name: "add", Arguments: `{"a"`, Invalid: "the output limit was reached before the arguments were complete"}},
				Finish: "length", Word: "max_tokens", Terminated: true}},
		{"events without event: lines are read", bare(begin, textStart("0"), textDelta("0", "hi"), finish("end_turn"), stop),
			conformance.Outcome{Text: "hi", Finish: "stop", Word: "end_turn", Terminated: true}},
		{"CRLF, comments, empty data and [DONE] change nothing",
			": hello\r\n\r\ndata:\r\n\r\n" + strings.ReplaceAll(plain(), "\n", "\r\n") + "event: data\r\ndata: [DONE]\r\n\r\n",
			conformance.Outcome{Text: "Grüße, 東京", Finish: "stop", Word: "end_turn", Terminated: true}},
		{"[DONE] before the message's stop terminates nothing", sse(begin, textStart("0"), textDelta("0", "hi")) + "data: [DONE]\n\n",
			conformance.Outcome{Text: "hi", Finish: "error", Class: "cut"}},
		{"an answer without content is an answer", sse(begin, finish("stop_sequence"), stop),
			conformance.Outcome{Finish: "stop", Word: "stop_sequence", Terminated: true}},
		{"a refusal is the content filter's", sse(begin, finish("refusal"), stop),
			conformance.Outcome{Finish: "content_filter", Word: "refusal", Terminated: true}},
		{"a full context window is a length", sse(begin, finish("model_context_window_exceeded"), stop),
			conformance.Outcome{Finish: "length", Word: "model_context_window_exceeded", Terminated: true}},
		{"a stop reason to come is other", sse(begin, finish("tired"), stop),
			conformance.Outcome{Finish: "other", Word: "tired", Terminated: true}},
		{"unknown events and deltas are skipped", sse(begin, textStart("0"), `{"type":"news"}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"glow_delta","glow":1}}`, textDelta("0", "hi"), finish("end_turn"), stop),
			conformance.Outcome{Text: "hi", Finish: "stop", Word: "end_turn", Terminated: true}},
		{"text without a block's start is kept", sse(begin, textDelta("0", "hi"), finish("end_turn"), stop),
			conformance.Outcome{Text: "hi", Finish: "stop", Word: "end_turn", Terminated: true}},
		{"a second message_start and a repeated index lose nothing", sse(begin, textStart("0"), textDelta("0", "a"), begin, textStart("0"), textDelta("0", "b"), finish("end_turn"), stop),
			conformance.Outcome{Text: "ab", Finish: "stop", Word: "end_turn", Terminated: true}},
		{"a body that ends without message_stop was cut", sse(begin, callStart("0", "toolu_1", "add", "{}"), jsonDelta("0", `{\"a\"`)),
			conformance.Outcome{Calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Arguments: `{"a"`, Invalid: "the answer was cut before the arguments were complete"}},
				Finish: "error", Class: "cut"}},
		{"an error before any content", sse(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
			conformance.Outcome{Finish: "error", Class: "overloaded"}},
		{"an error after content keeps the content", sse(begin, textStart("0"), textDelta("0", "hi"), `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
			conformance.Outcome{Text: "hi", Finish: "error", Class: "overloaded"}},
		{"an error that is a string", "event: error\ndata: \"rate limit\"\n\n",
			conformance.Outcome{Finish: "error", Class: "rate_limited"}},
		{"an error that is no JSON", "event: error\ndata: it fell over\n\n",
			conformance.Outcome{Finish: "error", Class: "internal"}},
		{"an error appended to an unfinished event", "data: {\"type\":\"ping\"}{\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}\n\n",
			conformance.Outcome{Finish: "error", Class: "overloaded"}},
		{"data that is no JSON", "data: oops\n\n", conformance.Outcome{Finish: "error", Class: "internal"}},
		{"an error field of llama.cpp", "error: {\"message\":\"slot unavailable\"}\n\n", conformance.Outcome{Finish: "error", Class: "overloaded"}},
		{"a JSON error in place of a stream", `{"type":"error","error":{"type":"authentication_error","message":"no"}}`,
			conformance.Outcome{Finish: "error", Class: "auth"}},
		{"JSON that is not a message", `{"choices":[]}`, conformance.Outcome{Finish: "error", Class: "invalid_request"}},
		{"half a whole message", `{"type":"message","content":[`, conformance.Outcome{Finish: "error", Class: "cut"}},
		{"a page of HTML", "\n<!doctype html><p>hi", conformance.Outcome{Finish: "error", Class: "invalid_request"}},
		{"an empty body", "", conformance.Outcome{Finish: "error", Class: "cut"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := conformance.Read(t, Decode, strings.NewReader(tt.body)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestDecodeCountsUsageFieldByField(t *testing.T) {
	a, _ := conformance.Read(t, Decode, strings.NewReader(plain()))
	u := a.End.Usage
	if *u.InputTokens != 10 || *u.OutputTokens != 25 || *u.CacheReadInputTokens != 3 || *u.CacheCreationInputTokens != 0 {
		t.Errorf("usage is %+v", u)
	}
	if a.End.Model != "claude-test" || a.End.ResponseID != "msg_1" {
		t.Errorf("model %q, response %q", a.End.Model, a.End.ResponseID)
	}
	if a, _ = conformance.Read(t, Decode, strings.NewReader(wholeMessage())); *a.End.Usage.ReasoningTokens != 7 {
		t.Errorf("usage is %+v", a.End.Usage)
	}
	if a, _ = conformance.Read(t, Decode, strings.NewReader(sse(stop))); a.End.Usage != nil {
		t.Errorf("usage is %+v, want none", a.End.Usage)
	}
}
