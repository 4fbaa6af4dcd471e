package anthropic

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func TestRequestBody(t *testing.T) {
	hi := []events.Message{user("hi")}
	const said = `"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]`
	tools := []events.ToolSpec{{Name: "add", Description: "adds", Schema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"integer"}}}`)}, {Name: "now"}}
	const offered = `"tools":[{"name":"add","description":"adds","input_schema":{"type":"object","properties":{"a":{"type":"integer"}}}},{"name":"now","input_schema":{"type":"object"}}]`
	extra := func(pairs ...string) map[string]json.RawMessage {
		m := map[string]json.RawMessage{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = json.RawMessage(pairs[i+1])
		}
		return m
	}
	tests := []struct {
		name string
		req  llm.Request
		want string
	}{
		{"an answer is bounded when nobody bounds it", llm.Request{Model: "m", System: "Be brief.", Messages: hi},
			`{"model":"m","max_tokens":8192,"system":[{"type":"text","text":"Be brief."}],` + said + `,"stream":true}`},
		{"parameters are passed on, whole is asked without a stream",
			llm.Request{Model: "m", Messages: hi, Whole: true, Parameters: events.Parameters{MaxTokens: 5, Temperature: new(0.0), TopP: new(0.5), Seed: new(int64(1)), Stop: []string{"END"}}},
			`{"model":"m","max_tokens":5,` + said + `,"temperature":0,"top_p":0.5,"stop_sequences":["END"],"stream":false}`},
		{"tools are offered, one is demanded", llm.Request{Model: "m", Messages: hi, Tools: tools, Parameters: events.Parameters{ToolChoice: "add"}},
			`{"model":"m","max_tokens":8192,` + said + `,` + offered + `,"tool_choice":{"type":"tool","name":"add"},"stream":true}`},
		{"any tool is demanded", llm.Request{Model: "m", Messages: hi, Tools: tools, Parameters: events.Parameters{ToolChoice: "required"}},
			`{"model":"m","max_tokens":8192,` + said + `,` + offered + `,"tool_choice":{"type":"any"},"stream":true}`},
		{"a choice without tools is not sent", llm.Request{Model: "m", Messages: hi, Parameters: events.Parameters{ToolChoice: "none"}},
			`{"model":"m","max_tokens":8192,` + said + `,"stream":true}`},
		{"a small effort fits into the default bound", llm.Request{Model: "claude-opus-4-20250514", Messages: hi, Parameters: events.Parameters{ReasoningEffort: "low", Temperature: new(0.5)}},
			`{"model":"claude-opus-4-20250514","max_tokens":8192,` + said + `,"thinking":{"type":"enabled","budget_tokens":2048},"stream":true}`},
		{"a high effort raises the default bound", llm.Request{Model: "claude-3-7-sonnet-20250219", Messages: hi, Parameters: events.Parameters{ReasoningEffort: "high"}},
			`{"model":"claude-3-7-sonnet-20250219","max_tokens":28672,` + said + `,"thinking":{"type":"enabled","budget_tokens":24576},"stream":true}`},
		{"a given bound is what remains for the answer", llm.Request{Model: "m", Messages: hi, Parameters: events.Parameters{ReasoningEffort: "medium", MaxTokens: 100}},
			`{"model":"m","max_tokens":8292,` + said + `,"thinking":{"type":"enabled","budget_tokens":8192},"stream":true}`},
		{"a demanded call excludes a budget", llm.Request{Model: "m", Messages: hi, Tools: tools[1:], Parameters: events.Parameters{ReasoningEffort: "low", ToolChoice: "required"}},
			`{"model":"m","max_tokens":8192,` + said + `,"tools":[{"name":"now","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"},"stream":true}`},
		{"a budget needs that the answer whose results are sent began with thinking",
			llm.Request{Model: "m", Messages: []events.Message{assistant("openai", called("c1", "x", "a", "{}")), result("c1", "ok", "1")}, Parameters: events.Parameters{ReasoningEffort: "low"}},
			`{"model":"m","max_tokens":8192,"messages":[{"role":"assistant","content":[{"id":"c1","input":{},"name":"a","type":"tool_use"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"1"}]}],"stream":true}`},
		{"a budget stays when the answer began with redacted thinking",
			llm.Request{Model: "m", Messages: []events.Message{assistant("anthropic", opaquePart(`{"type":"redacted_thinking","data":"x"}`), called("c1", "x", "a", "{}")), result("c1", "ok", "1")}, Parameters: events.Parameters{ReasoningEffort: "low"}},
			`{"model":"m","max_tokens":8192,"messages":[{"role":"assistant","content":[{"type":"redacted_thinking","data":"x"},{"id":"x","input":{},"name":"a","type":"tool_use"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":"1"}]}],"thinking":{"type":"enabled","budget_tokens":2048},"stream":true}`},
		{"later models know more effort", llm.Request{Model: "claude-opus-4-7", Messages: hi, Parameters: events.Parameters{ReasoningEffort: "max"}},
			`{"model":"claude-opus-4-7","max_tokens":8192,` + said + `,"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"max"},"stream":true}`},
		{"later models are asked by effort", llm.Request{Model: "claude-opus-4-7", Messages: hi, Parameters: events.Parameters{ReasoningEffort: "minimal", TopP: new(0.5)}},
			`{"model":"claude-opus-4-7","max_tokens":8192,` + said + `,"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"low"},"stream":true}`},
		{"extra fields are added",
			llm.Request{Model: "m", Messages: hi, Parameters: events.Parameters{Extra: extra("top_k", "3")}},
			`{"max_tokens":8192,` + said + `,"model":"m","stream":true,"top_k":3}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := New(Config{}).body(tt.req)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(string(got), cacheMark, "}"); got != tt.want { // see TestThePrefixOfARequestIsCached
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestRequestBodyNamesWhatIsNoJSON(t *testing.T) {
	_, _, err := New(Config{}).body(llm.Request{Tools: []events.ToolSpec{{Name: "x", Schema: json.RawMessage("{")}}})
	var e *events.Error
	if !errors.As(err, &e) || e.Class != events.ErrInvalidRequest || !strings.Contains(e.Message, "schemas") {
		t.Errorf("error is %v", err)
	}
}

func TestAdaptive(t *testing.T) {
	for model, want := range map[string]bool{
		"claude-3-haiku-20240307": false, "claude-3-7-sonnet-latest": false, "claude-sonnet-4-20250514": false,
		"claude-haiku-4-5-20251001": false, "claude-opus-4-6": true, "anthropic/claude-opus-4.7": true,
		"claude-sonnet-5": true, "claude-opus-5-20270101": true, "kimi-k2-5": false, "claude-": false,
	} {
		if got := adaptive(model); got != want {
			t.Errorf("adaptive(%q) is %v", model, got)
		}
	}
}
