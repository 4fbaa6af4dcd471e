package gemini

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/conformance"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestDecode(t *testing.T) {
	ended := func(text string) conformance.Outcome {
		return conformance.Outcome{Text: text, Finish: "stop", Word: "STOP", Terminated: true}
	}
	filtered := func(text, word string) conformance.Outcome {
		return conformance.Outcome{Text: text, Finish: "content_filter", Word: word, Terminated: true}
	}
	one := func(args, invalid string) conformance.Outcome {
		return conformance.Outcome{Calls: []recording.Call{{Name: "add", Arguments: args, Invalid: invalid}}, Finish: "tool_calls", Word: "STOP", Terminated: true}
	}
	failed := func(text, word string, class events.ErrorClass) conformance.Outcome {
		return conformance.Outcome{Text: text, Finish: "error", Word: word, Class: class, Terminated: false}
	}
	broke := func(word string, class events.ErrorClass) conformance.Outcome {
		return conformance.Outcome{Finish: "error", Word: word, Class: class, Terminated: true}
	}
	tests := []struct {
		name string
		body string
		want conformance.Outcome
	}{
		{"text in pieces", fixtures()["text"], ended("Grüße, 東京!")},
		{"STOP with calls is a tool turn, numbers stay whole", sse(says(add+","+now, stop)),
			conformance.Outcome{Finish: "tool_calls", Word: "STOP", Terminated: true, Calls: []recording.Call{
				{ProviderID: "c1", Name: "add", Arguments: `{"b":12345678901234567890,"a":1}`, Carry: `{"thoughtSignature":"c2ln"}`}, {Name: "now", Arguments: "{}"}}}},
		{"calls in chunks of their own", sse(says(now, ""), says(now, ""), ending("STOP")),
			conformance.Outcome{Finish: "tool_calls", Word: "STOP", Terminated: true, Calls: []recording.Call{{Name: "now", Arguments: "{}"}, {Name: "now", Arguments: "{}"}}}},
		{"a call without arguments", sse(says(`{"functionCall":{"name":"add"}}`, stop)), one("", "")},
		{"arguments may be null", sse(says(`{"functionCall":{"name":"add","args":null}}`, stop)), one("", "")},
		{"arguments may be a string", sse(says(`{"functionCall":{"name":"add","args":"{\"a\":1}"}}`, stop)), one(`{"a":1}`, "")},
		{"arguments that are no object make the call invalid", sse(says(`{"functionCall":{"name":"add","args":[1]}}`, stop)), one("[1]", "arguments are a JSON array, not an object")},
		{"the last chunk may have no content", sse(text1("a"), `{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{}}`), ended("a")},
		{"a finish reason in each chunk", sse(says(`{"text":"a"}`, stop), says(`{"text":"b"}`, stop)), ended("ab")},
		{"a finish reason before the content", sse(says("", stop), says("", stop), text1("a"), says("", stop)), ended("a")},
		{"content after a finish reason, then a cut", sse(says("", stop), text1("a")), failed("a", "", "cut")},
		{"an unspecified finish reason is none", sse(says(`{"text":"a"}`, `,"finishReason":"FINISH_REASON_UNSPECIFIED"`)), failed("a", "", "cut")},
		{"no finish reason", sse(text1("a")), failed("a", "", "cut")},
		{"other candidates are not the answer", sse(`{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"SAFETY","index":1},{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}`), ended("a")},
		{"no candidates in a chunk", sse(`{"candidates":[]}`, `{"usageMetadata":{"promptTokenCount":1}}`, text1("a"), ending("STOP")), ended("a")},
		{"a sign of a gateway", sse(text1("a"), ending("STOP"), "[DONE]"), ended("a")},
		{"the output limit", sse(text1("a"), ending("MAX_TOKENS")), conformance.Outcome{Text: "a", Finish: "length", Word: "MAX_TOKENS", Terminated: true}},
		{"SAFETY", sse(text1("a"), ending("SAFETY")), filtered("a", "SAFETY")},
		{"RECITATION", sse(text1("a"), ending("RECITATION")), filtered("a", "RECITATION")},
		{"BLOCKLIST", sse(ending("BLOCKLIST")), filtered("", "BLOCKLIST")},
		{"PROHIBITED_CONTENT", sse(ending("PROHIBITED_CONTENT")), filtered("", "PROHIBITED_CONTENT")},
		{"SPII", sse(ending("SPII")), filtered("", "SPII")},
		{"LANGUAGE", sse(ending("LANGUAGE")), filtered("", "LANGUAGE")},
		{"OTHER and future reasons", sse(text1("a"), ending("NEW_REASON")), conformance.Outcome{Text: "a", Finish: "other", Word: "NEW_REASON", Terminated: true}},
		{"MALFORMED_FUNCTION_CALL", sse(ending("MALFORMED_FUNCTION_CALL")), broke("MALFORMED_FUNCTION_CALL", "cut")},
		{"UNEXPECTED_TOOL_CALL", sse(ending("UNEXPECTED_TOOL_CALL")), broke("UNEXPECTED_TOOL_CALL", "cut")},
		{"MISSING_THOUGHT_SIGNATURE", sse(ending("MISSING_THOUGHT_SIGNATURE")), broke("MISSING_THOUGHT_SIGNATURE", "invalid_request")},
		{"TOO_MANY_TOOL_CALLS", sse(ending("TOO_MANY_TOOL_CALLS")), broke("TOO_MANY_TOOL_CALLS", "internal")},
		{"a blocked prompt", sse(`{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":3}}`), failed("", "", "content_filter")},
		{"feedback that blocks nothing", sse(`{"promptFeedback":{"safetyRatings":[]}}`, text1("a"), ending("STOP")), ended("a")},
		{"an error in the stream keeps what came before", sse(text1("a"), `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`), failed("a", "", "overloaded")},
		{"an error appended to a chunk", "data: " + text1("a") + `{"error":{"code":503,"status":"UNAVAILABLE"}}` + "\n\n", failed("a", "", "overloaded")},
		{"a list of responses", "[" + text1("a") + "\n,\r\n" + says(`{"text":"b"}`, stop) + "]", ended("ab")},
		{"a list with an error", `[{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}]`, failed("", "", "rate_limited")},
		{"a list that was cut", "[" + text1("a") + "\n,", failed("", "", "cut")},
		{"JSON that is no response", `{"hello":1}`, failed("", "", "invalid_request")},
		{"data that is no JSON", sse(text1("a"), "oops"), failed("a", "", "internal")},
		{"a page of HTML", "<html>\n", failed("", "", "invalid_request")},
		{"an empty body", "", failed("", "", "cut")},
		{"fields of another type are skipped", sse(`{"candidates":[{"content":{"parts":[{"text":"a","thought":"yes"}]},"finishReason":"STOP"}],"modelVersion":5,"usageMetadata":{"promptTokenCount":"many"}}`), ended("a")},
		{"parts that are no objects are skipped", sse(says(`1,null,{},{"thought":true}`, ""), text1("a"), ending("STOP")), ended("a")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := conformance.Read(t, Decode, strings.NewReader(tt.body)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestDecodeCountsOnce(t *testing.T) {
	a, _ := conformance.Read(t, Decode, strings.NewReader(fixtures()["thoughts, text and two calls"]))
	u := a.End.Usage
	if *u.InputTokens != 10 || *u.OutputTokens != 12 || *u.ReasoningTokens != 7 || *u.CachedInputTokens != 4 || *u.TotalTokens != 22 {
		t.Errorf("usage is %+v", u)
	}
	if a.End.Model != "gemini-test" || a.End.ResponseID != "r1" || a.Summary != "Let me see." {
		t.Errorf("the end is %+v of %+v", a.End, a)
	}
}

func TestAnErrorSaysWhatTheProviderSays(t *testing.T) {
	for body, want := range map[string]string{
		sse(`{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"Not this."}}`):                          "blocked the prompt (SAFETY): Not this: rephrase",
		sse(`{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"Malformed: print(add(1)"}]}`): "print(add(1)",
		sse(ending("MISSING_THOUGHT_SIGNATURE")):                                                                     "thought_signature",
	} {
		a, _ := conformance.Read(t, Decode, strings.NewReader(body))
		if !strings.Contains(a.End.Error.Message, want) || a.End.Error.Code == "" {
			t.Errorf("the error is %+v, want %q", a.End.Error, want)
		}
	}
}

// TestBlocksAreAsTheyCame: what has a signature is not joined with what has none.
func TestBlocksAreAsTheyCame(t *testing.T) {
	for name, want := range map[string]string{
		"a signature in the last part": `0:a 0:b 1:{"kind":"part","part":{"text":"","thoughtSignature":"c2ln"}}`,
		"a signature beside a text":    `0:a 1:b 2:{"kind":"text","part":{"thoughtSignature":"c2ln"}} 3:c`,
		"parts of other kinds":         `0:a 1:{"kind":"part","part":{"executableCode":{"language":"PYTHON","code":"1"}}} 2:{"kind":"part","part":{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}}} 3:b`,
	} {
		var got []string
		for e := range Decode(strings.NewReader(fixtures()[name])) {
			switch e := e.(type) {
			case *events.TextChunk:
				got = append(got, fmt.Sprintf("%d:%s", e.Block, e.Text))
			case *events.ReasoningChunk:
				got = append(got, fmt.Sprintf("%d:%s%s", e.Block, e.Text, e.Carry))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestDecodeIsTheSameHoweverTheTransportSplits(t *testing.T) {
	conformance.Decoder(t, Decode, fixtures())
}

func TestDecodeOfACutBodyKeepsItsBeginning(t *testing.T) {
	conformance.Cuts(t, Decode, fixtures())
}

func TestDecodeTakesLongLines(t *testing.T) {
	long := strings.Repeat("x", 10<<20)
	_, got := conformance.Read(t, Decode, strings.NewReader(sse(text1(long), ending("STOP"))))
	if got.Text != long || !got.Terminated {
		t.Errorf("%d bytes, terminated %v", len(got.Text), got.Terminated)
	}
}

func FuzzDecode(f *testing.F) {
	for _, body := range fixtures() {
		f.Add([]byte(body))
	}
	f.Add([]byte("[" + text1("a") + "," + ending("STOP") + "]"))
	f.Add([]byte(sse(text1(`\ud83d`), text1(`\ude00`), ending("MALFORMED_FUNCTION_CALL"))))
	f.Add([]byte(`data: {"promptFeedback":{"blockReason":"SAFETY"}}{"error":{"code":429}}` + "\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := recording.Collect(Decode(strings.NewReader(string(body))))
		if len(a.Broken) > 0 {
			t.Fatalf("the stream breaks rules: %s", a.Broken)
		}
	})
}

// TestOnlyAnAnswerWithContentIsFinished: then the end of the connection is awaited only
// for a while. A gateway's finish reason before the content is no end.
func TestOnlyAnAnswerWithContentIsFinished(t *testing.T) {
	var got []bool
	body := sse(says("", stop), text1("a"), says(`{"text":"b"}`, stop), text1("c"), ending("STOP"))
	for range decode(strings.NewReader(body), func(is bool) { got = append(got, is) }) {
		continue
	}
	if want := []bool{false, false, true, false, true}; !reflect.DeepEqual(got, want) {
		t.Errorf("finished is %v, want %v", got, want)
	}
}
