package anthropic

import (
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestDecodeRecordings(t *testing.T) { recording.Run(t, "anthropic", Decode) }

// outcome is what a stream comes to, in one comparable line each.
type outcome struct {
	text, reasoning string
	calls           []recording.Call
	finish          events.Finish
	word            string
	terminated      bool
	class           events.ErrorClass
}

func read(t *testing.T, body io.Reader) (recording.Answer, outcome) {
	t.Helper()
	a := recording.Collect(Decode(body))
	if len(a.Broken) > 0 {
		t.Fatalf("the stream breaks rules: %s", a.Broken)
	}
	o := outcome{text: a.Text, reasoning: a.Reasoning, finish: a.End.Finish, word: a.End.FinishWord, terminated: a.End.Terminated}
	for _, c := range a.Calls {
		c.Block = 0
		o.calls = append(o.calls, c)
	}
	if a.End.Error != nil {
		o.class = a.End.Error.Class
	}
	return a, o
}

func TestDecode(t *testing.T) {
	add := recording.Call{ProviderID: "toolu_1", Name: "add", Arguments: `{"a": 12345678901234567890}`}
	now := recording.Call{ProviderID: "toolu_2", Name: "now"}
	tests := []struct {
		name string
		body string
		want outcome
	}{
		{"text comes whole and in order", plain(),
			outcome{text: "Grüße, 東京", finish: "stop", word: "end_turn", terminated: true}},
		{"a call without arguments is whole", twoCalls(),
			outcome{text: "I add.", calls: []recording.Call{add, now}, finish: "tool_calls", word: "tool_use", terminated: true}},
		{"blocks that interleave keep their own arguments", interleaved(),
			outcome{calls: []recording.Call{{ProviderID: "toolu_1", Name: "a", Arguments: `{"x":1}`}, {ProviderID: "toolu_2", Name: "b", Arguments: `{"y":2}`}},
				finish: "tool_calls", word: "tool_use", terminated: true}},
		{"a whole message gives the same as a stream", wholeMessage(),
			outcome{text: "I add.", reasoning: "Let me see.", calls: []recording.Call{add, now}, finish: "tool_calls", word: "tool_use", terminated: true}},
		{"input that stands in the block's start is taken", sse(begin, callStart("0", "toolu_1", "add", `{"a": 1}`), blockStop("0"), finish("tool_use"), stop),
			outcome{calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Arguments: `{"a": 1}`}}, finish: "tool_calls", word: "tool_use", terminated: true}},
		{"input of the start is not joined with deltas", sse(begin, callStart("0", "toolu_1", "add", `{"a": 1}`), jsonDelta("0", `{\"a\": 2}`), blockStop("0"), finish("tool_use"), stop),
			outcome{calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Arguments: `{"a": 2}`}}, finish: "tool_calls", word: "tool_use", terminated: true}},
		{"input of the start is taken without the block's stop", sse(begin, callStart("0", "toolu_1", "add", `{"a": 1}`), finish("tool_use"), stop),
			outcome{calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Arguments: `{"a": 1}`}}, finish: "tool_calls", word: "tool_use", terminated: true}},
		{"a limit that leaves no arguments makes the call invalid", sse(begin, callStart("0", "toolu_1", "add", "{}"), jsonDelta("0", ""), blockStop("0"), finish("max_tokens"), stop),
			outcome{calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Invalid: "the output limit was reached before the arguments were complete"}},
				finish: "length", word: "max_tokens", terminated: true}},
		{"a limit spares the call without arguments before the last", sse(begin, callStart("0", "toolu_1", "now", "{}"), blockStop("0"),
			callStart("1", "toolu_2", "add", "{}"), jsonDelta("1", `{\"a\"`), finish("max_tokens"), stop),
			outcome{calls: []recording.Call{{ProviderID: "toolu_1", Name: "now"},
				{ProviderID: "toolu_2", Name: "add", Arguments: `{"a"`, Invalid: "the output limit was reached before the arguments were complete"}},
				finish: "length", word: "max_tokens", terminated: true}},
		{"events without event: lines are read", bare(begin, textStart("0"), textDelta("0", "hi"), finish("end_turn"), stop),
			outcome{text: "hi", finish: "stop", word: "end_turn", terminated: true}},
		{"CRLF, comments, empty data and [DONE] change nothing",
			": hello\r\n\r\ndata:\r\n\r\n" + strings.ReplaceAll(plain(), "\n", "\r\n") + "event: data\r\ndata: [DONE]\r\n\r\n",
			outcome{text: "Grüße, 東京", finish: "stop", word: "end_turn", terminated: true}},
		{"[DONE] before the message's stop terminates nothing", sse(begin, textStart("0"), textDelta("0", "hi")) + "data: [DONE]\n\n",
			outcome{text: "hi", finish: "error", class: "cut"}},
		{"an answer without content is an answer", sse(begin, finish("stop_sequence"), stop),
			outcome{finish: "stop", word: "stop_sequence", terminated: true}},
		{"a refusal is the content filter's", sse(begin, finish("refusal"), stop),
			outcome{finish: "content_filter", word: "refusal", terminated: true}},
		{"a full context window is a length", sse(begin, finish("model_context_window_exceeded"), stop),
			outcome{finish: "length", word: "model_context_window_exceeded", terminated: true}},
		{"a stop reason to come is other", sse(begin, finish("tired"), stop),
			outcome{finish: "other", word: "tired", terminated: true}},
		{"unknown events and deltas are skipped", sse(begin, textStart("0"), `{"type":"news"}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"glow_delta","glow":1}}`, textDelta("0", "hi"), finish("end_turn"), stop),
			outcome{text: "hi", finish: "stop", word: "end_turn", terminated: true}},
		{"text without a block's start is kept", sse(begin, textDelta("0", "hi"), finish("end_turn"), stop),
			outcome{text: "hi", finish: "stop", word: "end_turn", terminated: true}},
		{"a second message_start and a repeated index lose nothing", sse(begin, textStart("0"), textDelta("0", "a"), begin, textStart("0"), textDelta("0", "b"), finish("end_turn"), stop),
			outcome{text: "ab", finish: "stop", word: "end_turn", terminated: true}},
		{"a body that ends without message_stop was cut", sse(begin, callStart("0", "toolu_1", "add", "{}"), jsonDelta("0", `{\"a\"`)),
			outcome{calls: []recording.Call{{ProviderID: "toolu_1", Name: "add", Arguments: `{"a"`, Invalid: "the answer was cut before the arguments were complete"}},
				finish: "error", class: "cut"}},
		{"an error before any content", sse(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
			outcome{finish: "error", class: "overloaded"}},
		{"an error after content keeps the content", sse(begin, textStart("0"), textDelta("0", "hi"), `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
			outcome{text: "hi", finish: "error", class: "overloaded"}},
		{"an error that is a string", "event: error\ndata: \"rate limit\"\n\n",
			outcome{finish: "error", class: "rate_limited"}},
		{"an error that is no JSON", "event: error\ndata: it fell over\n\n",
			outcome{finish: "error", class: "internal"}},
		{"an error appended to an unfinished event", "data: {\"type\":\"ping\"}{\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}\n\n",
			outcome{finish: "error", class: "overloaded"}},
		{"data that is no JSON", "data: oops\n\n", outcome{finish: "error", class: "internal"}},
		{"an error field of llama.cpp", "error: {\"message\":\"slot unavailable\"}\n\n", outcome{finish: "error", class: "overloaded"}},
		{"a JSON error in place of a stream", `{"type":"error","error":{"type":"authentication_error","message":"no"}}`,
			outcome{finish: "error", class: "auth"}},
		{"JSON that is no message", `{"choices":[]}`, outcome{finish: "error", class: "invalid_request"}},
		{"half a whole message", `{"type":"message","content":[`, outcome{finish: "error", class: "cut"}},
		{"a page of HTML", "\n<!doctype html><p>hi", outcome{finish: "error", class: "invalid_request"}},
		{"an empty body", "", outcome{finish: "error", class: "cut"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := read(t, strings.NewReader(tt.body)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestDecodeCountsUsageFieldByField(t *testing.T) {
	a, _ := read(t, strings.NewReader(plain()))
	u := a.End.Usage
	if *u.InputTokens != 10 || *u.OutputTokens != 25 || *u.CacheReadInputTokens != 3 || *u.CacheCreationInputTokens != 0 {
		t.Errorf("usage is %+v", u)
	}
	if a.End.Model != "claude-test" || a.End.ResponseID != "msg_1" {
		t.Errorf("model %q, response %q", a.End.Model, a.End.ResponseID)
	}
	if a, _ = read(t, strings.NewReader(wholeMessage())); *a.End.Usage.ReasoningTokens != 7 {
		t.Errorf("usage is %+v", a.End.Usage)
	}
	if a, _ = read(t, strings.NewReader(sse(stop))); a.End.Usage != nil {
		t.Errorf("usage is %+v, want none", a.End.Usage)
	}
}
