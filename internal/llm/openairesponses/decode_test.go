package openairesponses

import (
	"bytes"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/conformance"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestDecodeAgreesWithTheRecordings(t *testing.T) {
	recording.Run(t, "openai-responses", Decode)
}

// sse makes a body of one event per payload.
func sse(payloads ...string) string {
	return "data: " + strings.Join(payloads, "\n\ndata: ") + "\n\n"
}

const (
	created   = `{"type":"response.created","response":{"id":"resp_1","model":"m-1","status":"in_progress","output":[],"usage":null}}`
	completed = `{"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[],"usage":{"input_tokens":7,"output_tokens":3,"total_tokens":10,"output_tokens_details":{"reasoning_tokens":2}}}}`
	callAdded = `{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"add","arguments":""}}`
	callDone  = `{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"add","arguments":"{\"x\":1}","status":"completed"}}`
	argsHalf  = `{"type":"response.function_call_arguments.delta","output_index":0,"item_id":"fc_1","delta":"{\"x\":"}`
	argsRest  = `{"type":"response.function_call_arguments.delta","output_index":0,"item_id":"fc_1","delta":"1}"}`
	textHi    = `{"type":"response.output_text.delta","output_index":0,"content_index":0,"item_id":"msg_1","delta":"Hi"}`
)

// answered is an answer in short, to compare.
type answered struct {
	text, refusal, reasoning, summary string
	calls                             string // id name(arguments), with ! when invalid and * when custom
	finish                            events.Finish
	word                              string
	class                             events.ErrorClass
	message                           string // a part of it
	cut                               bool   // no terminal sign
}

func check(t *testing.T, got recording.Answer, want answered) {
	t.Helper()
	for _, rule := range got.Broken {
		t.Error("the stream breaks a rule: " + rule)
	}
	var calls []string
	for _, c := range got.Calls {
		call := c.ProviderID + " " + c.Name + "(" + c.Arguments + ")"
		if c.Custom {
			call += "*"
		}
		if c.Invalid != "" {
			call += "!"
		}
		calls = append(calls, call)
	}
	had := answered{text: got.Text, refusal: got.Refusal, reasoning: got.Reasoning, summary: got.Summary, calls: strings.Join(calls, " "),
		finish: got.End.Finish, word: got.End.FinishWord, cut: !got.End.Terminated}
	if e := got.End.Error; e != nil {
		had.class = e.Class
		if had.message = e.Message; strings.Contains(e.Message, want.message) {
			had.message = want.message
		}
	}
	if had != want {
		t.Errorf("the answer is\n%+v, want\n%+v", had, want)
	}
}

func TestDecode(t *testing.T) {
	for _, c := range shapes() {
		t.Run(c.name, func(t *testing.T) {
			check(t, recording.Collect(Decode(strings.NewReader(c.body))), c.want)
		})
	}
}

func TestDecodeYieldsTheSameHoweverTheNetworkCutsTheBody(t *testing.T) {
	bodies := map[string]string{}
	for _, c := range shapes() {
		bodies[c.name] = c.body
	}
	conformance.Decoder(t, Decode, bodies)
}

func TestDecodeOfABodyCutAnywhereKeepsItsBeginning(t *testing.T) {
	conformance.Cuts(t, Decode, map[string]string{"text and a call": sse(created, textHi, callAdded, argsHalf, argsRest, callDone, completed)})
}

func TestDecodeReportsModelIDAndUsage(t *testing.T) {
	end := recording.Collect(Decode(strings.NewReader(sse(created, textHi, completed)))).End
	if end.Model != "m-1" || end.ResponseID != "resp_1" {
		t.Errorf("model %q, response %q", end.Model, end.ResponseID)
	}
	u := end.Usage
	if u == nil || *u.InputTokens != 7 || *u.OutputTokens != 3 || *u.TotalTokens != 10 || *u.ReasoningTokens != 2 || u.CachedInputTokens != nil {
		t.Errorf("usage is %+v", u)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range shapes() {
		f.Add([]byte(c.body))
	}
	for _, r := range recording.Find(f, "openai-responses") {
		f.Add(r.Body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := recording.Collect(Decode(bytes.NewReader(body)))
		if len(got.Broken) > 0 {
			t.Errorf("the stream breaks rules: %v", got.Broken)
		}
		for _, c := range got.Calls {
			if c.Invalid == "" && !c.Custom && events.CheckArguments(c.Arguments) != nil {
				t.Errorf("a call with arguments %q may run", c.Arguments)
			}
		}
	})
}
