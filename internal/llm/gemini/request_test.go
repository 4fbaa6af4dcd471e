package gemini

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func sent(t *testing.T, req llm.Request) string {
	t.Helper()
	body, failed := New(Config{}).body(req)
	if failed != nil {
		t.Fatal(failed)
	}
	return string(body)
}

func TestParameters(t *testing.T) {
	half, seed := 0.5, int64(7)
	params := events.Parameters{MaxTokens: 9, Temperature: &half, TopP: &half, Seed: &seed, Stop: []string{"x"}, ReasoningEffort: "low",
		Extra: map[string]json.RawMessage{"generationConfig": json.RawMessage(`{"topK":3,"temperature":9}`), "safetySettings": json.RawMessage(`[]`)}}
	if _, failed := New(Config{}).body(llm.Request{Model: "m", Parameters: params}); failed == nil || failed.Code != ceilings.CodeExtra {
		t.Errorf("an own field is replaced: %v", failed)
	}
	params.Extra["generationConfig"] = json.RawMessage(`{"topK":3}`)
	got := sent(t, llm.Request{Model: "gemini-3-flash-preview", System: "s", Messages: []events.Message{user("hi")}, Parameters: params})
	want := `{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":9,"seed":7,"stopSequences":["x"],"temperature":0.5,` +
		`"thinkingConfig":{"includeThoughts":true,"thinkingLevel":"low"},"topK":3,"topP":0.5},"safetySettings":[],"systemInstruction":{"parts":[{"text":"s"}]}}`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTools(t *testing.T) {
	tools := []events.ToolSpec{{Name: "add", Description: "adds", Schema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"number"}}}`)},
		{Name: "now", Schema: json.RawMessage(`{"type":"object","properties":{}}`)}}
	for word, mode := range map[string]string{"": "", "auto": `{"mode":"AUTO"}`, "none": `{"mode":"NONE"}`, "required": `{"mode":"ANY"}`, "add": `{"mode":"ANY","allowedFunctionNames":["add"]}`} {
		got := sent(t, llm.Request{Model: "m", Tools: tools, Messages: []events.Message{user("hi")}, Parameters: events.Parameters{ToolChoice: word}})
		want := `{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"tools":[{"functionDeclarations":[` +
			`{"name":"add","description":"adds","parametersJsonSchema":{"type":"object","properties":{"a":{"type":"number"}}}},{"name":"now","description":""}]}]`
		if mode != "" {
			want += `,"toolConfig":{"functionCallingConfig":` + mode + `}`
		}
		if want += "}"; got != want {
			t.Errorf("%q: got\n%s\nwant\n%s", word, got, want)
		}
	}
}

// said is a message of a model, after which come the results.
func said(provider, model string, parts ...events.Part) events.Message {
	return events.Message{Role: events.RoleAssistant, Provider: provider, Model: model, Parts: parts}
}

func called(call, id, carry string) events.Part {
	return events.Part{Kind: events.PartCall, Call: call, ProviderID: id, Name: "add", Arguments: `{"a":1}`, Carry: json.RawMessage(carry)}
}

func result(call string, status events.Status, text string) events.Message {
	return events.Message{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Call: call, Name: "add", Status: status, Text: text}}}
}

// answerOf is the message of a recorded answer.
func answerOf(t *testing.T, body string) events.Message {
	t.Helper()
	m := said("gemini", "gemini-3-flash")
	calls := map[int]int{}
	last := -1
	for e := range Decode(strings.NewReader(body)) {
		switch e := e.(type) {
		case *events.TextChunk:
			if e.Block != last {
				m.Parts = append(m.Parts, events.Part{Kind: events.PartText})
			}
			m.Parts[len(m.Parts)-1].Text += e.Text
			last = e.Block
		case *events.ReasoningChunk:
			if e.Block != last {
				m.Parts = append(m.Parts, events.Part{Kind: events.PartReasoning, Summary: e.Summary})
			}
			m.Parts[len(m.Parts)-1].Text += e.Text
			if e.Carry != nil {
				m.Parts[len(m.Parts)-1].Carry = e.Carry
			}
			last = e.Block
		case *events.ToolCallStart:
			calls[e.Block] = len(m.Parts)
			m.Parts = append(m.Parts, events.Part{Kind: events.PartCall, Call: "id-" + e.Name, ProviderID: e.ProviderID, Name: e.Name})
			last = e.Block
		case *events.ToolCallDelta:
			m.Parts[calls[e.Block]].Arguments += e.Arguments
		case *events.ToolCallEnd:
			m.Parts[calls[e.Block]].Carry = e.Carry
		}
	}
	return m
}

// TestAnAnswerGoesBackAsItCame: its own model gets the parts and signatures of an
// answer in their places, and no thoughts without a signature.
func TestAnAnswerGoesBackAsItCame(t *testing.T) {
	for name, want := range map[string]string{
		"text":                         `{"text":"Grüße, 東京!"}`,
		"thoughts, text and two calls": `{"text":"I add."},{"functionCall":{"id":"c1","name":"add","args":{"b":12345678901234567890,"a":1}},"thoughtSignature":"c2ln"},{"functionCall":{"name":"now","args":{}}}`,
		"a signature in the last part": `{"text":"ab"},{"text":"","thoughtSignature":"c2ln"}`,
		"a signature beside a text":    `{"text":"a"},{"text":"b","thoughtSignature":"c2ln"},{"text":"c"}`,
		"parts of other kinds":         `{"text":"a"},{"executableCode":{"language":"PYTHON","code":"1"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}},{"text":"b"}`,
		"a thought with a signature":   `{"text":"hm","thought":true,"thoughtSignature":"c2ln"},{"text":"a"}`,
		"citations":                    `{"text":"a"}`,
		"white space with a signature": `{"text":"a"},{"text":"\n","thoughtSignature":"c2ln"}`,
	} {
		body := fixtures()[name]
		switch name {
		case "a thought with a signature":
			body = sse(says(`{"text":"hm","thought":true,`+signed+`}`, ""), says(`{"text":"a"}`, stop))
		case "citations":
			body = sse(says(`{"text":"a"}`, `,"citationMetadata":{"citationSources":[{"uri":"u"}]}`+stop))
		case "white space with a signature":
			body = sse(text1("a"), says(`{"text":"\n",`+signed+`}`, stop))
		}
		m := answerOf(t, body)
		for _, model := range []string{"gemini-3-flash", "gemini-2.5-flash"} {
			req := llm.Request{Model: model, Messages: []events.Message{user("1"), m, user("2")}}
			got := sent(t, req)
			if model != m.Model {
				if strings.Contains(got, "c2ln") || strings.Contains(got, "executableCode") || strings.Contains(got, `"c1"`) {
					t.Errorf("%s: another model gets %s", name, got)
				}
				continue
			}
			if !sameParts(t, got, want) {
				t.Errorf("%s: got\n%s\nwant the parts\n%s", name, got, want)
			}
		}
	}
}

// sameParts reports whether the second content of a request has these parts.
func sameParts(t *testing.T, body, parts string) bool {
	t.Helper()
	var r struct {
		Contents []struct {
			Parts []map[string]json.RawMessage `json:"parts"`
		} `json:"contents"`
	}
	var want []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte("["+parts+"]"), &want); err != nil {
		t.Fatal(err)
	}
	got, errGot := json.Marshal(r.Contents[1].Parts)
	wanted, errWant := json.Marshal(want)
	return errGot == nil && errWant == nil && string(got) == string(wanted)
}

func TestHistory(t *testing.T) {
	question, bridge := `{"role":"user","parts":[{"text":"q"}]}`, `{"role":"model","parts":[{"text":"(This turn ended before there was an answer.)"}]}`
	for _, tt := range []struct {
		name     string
		model    string
		messages []events.Message
		want     string
	}{
		{"parallel calls have one content of responses, in the order of the calls", "gemini-2.5-flash",
			[]events.Message{user("q"), said("gemini", "gemini-2.5-flash", called("1", "a", `{"thoughtSignature":"x"}`), called("2", "", "")), result("2", "", "two"), result("1", "", "one")},
			question + `,{"role":"model","parts":[{"functionCall":{"id":"a","name":"add","args":{"a":1}},"thoughtSignature":"x"},{"functionCall":{"name":"add","args":{"a":1}}}]}` +
				`,{"role":"user","parts":[{"functionResponse":{"id":"a","name":"add","response":{"output":"one"}}},{"functionResponse":{"name":"add","response":{"output":"two"}}}]}`},
		{"another model's calls get the documented signature, in the first of each message", "gemini-3-flash",
			[]events.Message{user("q"), said("openai", "m", called("1", "a", `{"x":1}`), called("2", "b", "")), result("1", "", "one"), result("2", events.StatusFailed, "no")},
			question + `,{"role":"model","parts":[{"functionCall":{"name":"add","args":{"a":1}},"thoughtSignature":"skip_thought_signature_validator"},{"functionCall":{"name":"add","args":{"a":1}}}]}` +
				`,{"role":"user","parts":[{"functionResponse":{"name":"add","response":{"output":"one"}}},{"functionResponse":{"name":"add","response":{"error":"{\"status\":\"failed\",\"content\":\"no\"}"}}}]}`},
		{"what a call carries from OpenAI's wire stays there", "gemini-3-flash", []events.Message{user("q"), said("gemini", "gemini-3-flash",
			events.Part{Kind: events.PartReasoning, Text: "hm", Carry: json.RawMessage(`{"field":"reasoning_content","extra_content":{"google":{"thought_signature":"x"}}}`)},
			called("1", "", `{"type":"x","extra_content":{"google":{"thought_signature":"x"}}}`)), result("1", "", "one")},
			question + `,{"role":"model","parts":[{"functionCall":{"name":"add","args":{"a":1}},"thoughtSignature":"skip_thought_signature_validator"}]},{"role":"user","parts":[{"functionResponse":{"name":"add","response":{"output":"one"}}}]}`},
		{"a call without a result has a response", "m", []events.Message{user("q"), said("x", "m", called("1", "a", "")), user("q")},
			question + `,{"role":"model","parts":[{"functionCall":{"name":"add","args":{"a":1}}}]},{"role":"user","parts":[{"functionResponse":{"name":"add","response":{"error":"there is no result of this call"}}}]},{"role":"model","parts":[{"text":"(There was no answer to these results.)"}]},` + question},
		{"between responses and a question is an answer", "m", []events.Message{user("q"), said("x", "m", called("1", "a", "")), result("1", "", "one"), user("q")},
			question + `,{"role":"model","parts":[{"functionCall":{"name":"add","args":{"a":1}}}]},{"role":"user","parts":[{"functionResponse":{"name":"add","response":{"output":"one"}}}]},` + bridge + `,` + question},
		{"a history begins and ends with the user", "m", []events.Message{said("x", "m", events.Part{Kind: events.PartText, Text: "a"})},
			`{"role":"user","parts":[{"text":"(The beginning of the conversation is left out.)"}]},{"role":"model","parts":[{"text":"a"}]},{"role":"user","parts":[{"text":"(Continue.)"}]}`},
		{"answers in a row are one", "gemini-2.5-flash", []events.Message{user("q"), said("x", "m", events.Part{Kind: events.PartText, Text: "a"}),
			said("x", "m", called("1", "a", "")), result("1", "", "one")},
			question + `,{"role":"model","parts":[{"text":"a"},{"functionCall":{"name":"add","args":{"a":1}}}]},{"role":"user","parts":[{"functionResponse":{"name":"add","response":{"output":"one"}}}]}`},
	} {
		got := sent(t, llm.Request{Model: tt.model, Messages: tt.messages})
		var r struct{ Contents json.RawMessage }
		if err := json.Unmarshal([]byte(got), &r); err != nil {
			t.Fatal(err)
		}
		if want := "[" + tt.want + "]"; string(r.Contents) != want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, r.Contents, want)
		}
	}
}

// TestADemandedSignatureIsSent: a refusal says so for a model whose name does not.
func TestADemandedSignatureIsSent(t *testing.T) {
	req := llm.Request{Model: "m", Demand: "thought_signature", Messages: []events.Message{user("q"), said("x", "m", called("1", "a", "")), result("1", "", "one")}}
	if got := sent(t, req); !strings.Contains(got, noSignature) {
		t.Errorf("sent %s", got)
	}
}

func TestNamesOfCalls(t *testing.T) {
	for given, want := range map[string]string{"add": "add", "3d": "_3d", "-x": "_-x", "a b": "a_b", "": "unnamed", strings.Repeat("9", 70): "_" + strings.Repeat("9", 63)} {
		if got := name(given); got != want {
			t.Errorf("%q is %q", given, got)
		}
	}
}
