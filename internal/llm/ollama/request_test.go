package ollama

import (
	"encoding/json"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func TestRequestBody(t *testing.T) {
	user := events.Message{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: "hi"}}}
	const said = `"messages":[{"role":"user","content":"hi"}]`
	tools := []events.ToolSpec{{Name: "add", Description: "adds", Schema: json.RawMessage(`{"type":"object","additionalProperties":false}`)}, {Name: "now"}}
	const add = `{"type":"function","function":{"name":"add","description":"adds","parameters":{"type":"object","additionalProperties":false}}}`
	const now = `{"type":"function","function":{"name":"now","parameters":{"type":"object","properties":{}}}}`
	tests := []struct {
		name string
		req  llm.Request
		want string
	}{
		{"the system prompt comes first", llm.Request{Model: "m", System: "Be brief.", Messages: []events.Message{user}},
			`{"model":"m","stream":true,"options":{},"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]}`},
		{"parameters are options", llm.Request{Model: "m", Messages: []events.Message{user}, Parameters: events.Parameters{
			MaxTokens: 5, Temperature: new(0.0), TopP: new(0.5), Seed: new(int64(7)), Stop: []string{"END"}, ReasoningEffort: "high"}},
			`{"model":"m","stream":true,"options":{"num_predict":5,"seed":7,"stop":["END"],"temperature":0,"top_p":0.5},"think":"high",` + said + `}`},
		{"the least effort is none", llm.Request{Model: "m", Messages: []events.Message{user}, Parameters: events.Parameters{ReasoningEffort: "minimal"}},
			`{"model":"m","stream":true,"options":{},"think":false,` + said + `}`},
		{"no effort is none", llm.Request{Model: "m", Messages: []events.Message{user}, Parameters: events.Parameters{ReasoningEffort: "none"}},
			`{"model":"m","stream":true,"options":{},"think":false,` + said + `}`},
		{"the most effort is high", llm.Request{Model: "m", Messages: []events.Message{user}, Parameters: events.Parameters{ReasoningEffort: "max"}},
			`{"model":"m","stream":true,"options":{},"think":"high",` + said + `}`},
		{"schemas are passed on whole", llm.Request{Model: "m", Messages: []events.Message{user}, Tools: tools, Parameters: events.Parameters{ToolChoice: "required"}},
			`{"model":"m","stream":true,"options":{},` + said + `,"tools":[` + add + `,` + now + `]}`},
		{"a tool that is demanded is the only one offered", llm.Request{Model: "m", Messages: []events.Message{user}, Tools: tools, Parameters: events.Parameters{ToolChoice: "now"}},
			`{"model":"m","stream":true,"options":{},` + said + `,"tools":[` + now + `]}`},
		{"no tool is offered when none may be called", llm.Request{Model: "m", Messages: []events.Message{user}, Tools: tools, Parameters: events.Parameters{ToolChoice: "none"}},
			`{"model":"m","stream":true,"options":{},` + said + `}`},
		{"extra options join ours, other extra fields are added",
			llm.Request{Model: "m", Messages: []events.Message{user}, Parameters: events.Parameters{MaxTokens: 5, Extra: map[string]json.RawMessage{
				"options": json.RawMessage(`{"num_ctx":32768}`), "keep_alive": json.RawMessage(`"1h"`)}}},
			`{"keep_alive":"1h",` + said + `,"model":"m","options":{"num_ctx":32768,"num_predict":5},"stream":true}`},
		{"calls and results keep ids, order and large numbers", llm.Request{Model: "m", Messages: []events.Message{user,
			{Role: events.RoleAssistant, Provider: "ollama", Parts: []events.Part{
				{Kind: events.PartReasoning, Text: "hm"}, {Kind: events.PartText, Text: "ok"},
				{Kind: events.PartCall, Call: "c1", ProviderID: "call_0", Name: "add", Arguments: `{"b":12345678901234567890,"a":1}`},
				{Kind: events.PartCall, Call: "c2", Name: "now", Arguments: `{"cut":`}}},
			{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Call: "c1", ProviderID: "call_0", Name: "add", Status: "ok", Text: "7"}}},
			{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Call: "c2", Name: "now", Status: "invalid_arguments"}}}}},
			`{"model":"m","stream":true,"options":{},"messages":[{"role":"user","content":"hi"},` +
				`{"role":"assistant","content":"ok","thinking":"hm","tool_calls":[{"id":"c1","function":{"index":0,"name":"add","arguments":{"b":12345678901234567890,"a":1}}},{"id":"c2","function":{"index":1,"name":"now","arguments":{}}}]},` +
				`{"role":"tool","content":"7","tool_name":"add","tool_call_id":"c1"},{"role":"tool","content":"{\"status\":\"invalid_arguments\",\"content\":\"\"}","tool_name":"now","tool_call_id":"c2"}]}`},
		{"what only another provider can read, and empty answers, are left out", llm.Request{Model: "m", Messages: []events.Message{user,
			{Role: events.RoleAssistant, Provider: "anthropic", Parts: []events.Part{{Kind: events.PartReasoning, Text: "hm", Carry: json.RawMessage(`{}`)}}},
			{Role: events.RoleAssistant, Provider: "anthropic", Parts: []events.Part{{Kind: events.PartReasoning, Text: "hm"}, {Kind: events.PartRefusal, Text: "no"}}}}},
			`{"model":"m","stream":true,"options":{},"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"no"}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := New(Config{}).body(tt.req)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	if _, err := New(Config{}).body(llm.Request{Tools: []events.ToolSpec{{Name: "x", Schema: json.RawMessage("{")}}}); err == nil {
		t.Error("a schema that is no JSON is sent")
	}
}
