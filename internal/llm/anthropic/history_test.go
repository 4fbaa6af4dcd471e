package anthropic

import (
	"encoding/json"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func user(text string) events.Message {
	return events.Message{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: text}}}
}

func assistant(provider string, parts ...events.Part) events.Message {
	return events.Message{Role: events.RoleAssistant, Provider: provider, Parts: parts}
}

func textPart(text string) events.Part { return events.Part{Kind: events.PartText, Text: text} }

func called(call, id, name, args string) events.Part {
	return events.Part{Kind: events.PartCall, Call: call, ProviderID: id, Name: name, Arguments: args}
}

func result(call string, status events.Status, text string) events.Message {
	return events.Message{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Call: call, Name: "tool", Status: status, Text: text}}}
}

func opaquePart(carry string) events.Part {
	return events.Part{Kind: events.PartReasoning, Carry: json.RawMessage(carry)}
}

func TestHistory(t *testing.T) {
	const use = `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}`
	tests := []struct {
		name     string
		messages []events.Message
		want     string
	}{
		{"no messages are an empty list", nil, `[]`},
		{"results follow in one message, in the order of the calls, before what the user says",
			[]events.Message{user("go"), assistant("anthropic", textPart("ok"), called("c1", "toolu_1", "a", `{"x":1}`), called("c2", "toolu_2", "b", "")),
				result("c2", "ok", "two"), result("c1", "failed", "one"), user("and?")},
			`[{"role":"user","content":[{"type":"text","text":"go"}]},` +
				`{"role":"assistant","content":[{"type":"text","text":"ok"},{"id":"toolu_1","input":{"x":1},"name":"a","type":"tool_use"},{"id":"toolu_2","input":{},"name":"b","type":"tool_use"}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"{\"status\":\"failed\",\"content\":\"one\"}","is_error":true},{"type":"tool_result","tool_use_id":"toolu_2","content":"two"},{"type":"text","text":"and?"}]}]`},
		{"an id that repeats, or that the API refuses, is replaced by ours",
			[]events.Message{user("go"), assistant("anthropic", called("c1", "call_0", "a", "{}")), result("c1", "ok", "1"),
				assistant("anthropic", called("c2", "call_0", "a", "{}")), result("c2", "ok", "2"),
				assistant("openai", called("c3", "functions.add:0", "a", "{}")), result("c3", "ok", "3")},
			`[{"role":"user","content":[{"type":"text","text":"go"}]},` +
				`{"role":"assistant","content":[{"id":"call_0","input":{},"name":"a","type":"tool_use"}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_0","content":"1"}]},` +
				`{"role":"assistant","content":[{"id":"c2","input":{},"name":"a","type":"tool_use"}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"c2","content":"2"}]},` +
				`{"role":"assistant","content":[{"id":"c3","input":{},"name":"a","type":"tool_use"}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"c3","content":"3"}]}]`},
		{"calls without any id are paired by ids we make",
			[]events.Message{user("go"), assistant("", called("", "", "a", "{}"), called("", "", "b", "{}")), result("", "ok", "1"), result("", "ok", "2")},
			`[{"role":"user","content":[{"type":"text","text":"go"}]},` +
				`{"role":"assistant","content":[{"id":"call_2","input":{},"name":"a","type":"tool_use"},{"id":"call_3","input":{},"name":"b","type":"tool_use"}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_2","content":"1"},{"type":"tool_result","tool_use_id":"call_3","content":"2"}]}]`},
		{"arguments that are no object and names no tool can have give a valid request",
			[]events.Message{user("go"), assistant("anthropic", called("c1", "toolu_1", "multi.tool", `{"x":`), called("c2", "toolu_2", "", `[1]`)),
				result("c1", "invalid_arguments", ""), result("c2", "unknown_tool", "no such tool")},
			`[{"role":"user","content":[{"type":"text","text":"go"}]},` +
				`{"role":"assistant","content":[{"id":"toolu_1","input":{},"name":"multi_tool","type":"tool_use"},{"id":"toolu_2","input":{},"name":"unnamed","type":"tool_use"}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"{\"status\":\"invalid_arguments\",\"content\":\"\"}","is_error":true},{"type":"tool_result","tool_use_id":"toolu_2","content":"{\"status\":\"unknown_tool\",\"content\":\"no such tool\"}","is_error":true}]}]`},
		{"a call without a result gets one, a result without a call is text",
			[]events.Message{user("go"), assistant("anthropic", called("c1", "toolu_1", "a", "{}")), result("c9", "ok", "lost"), user("on")},
			`[{"role":"user","content":[{"type":"text","text":"go"}]},` +
				`{"role":"assistant","content":[{"id":"toolu_1","input":{},"name":"a","type":"tool_use"}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"there is no result of this call","is_error":true},` +
				`{"type":"text","text":"Result of a call of tool: lost"},{"type":"text","text":"on"}]}]`},
		{"empty text is dropped, and with it empty messages; users that follow each other are one",
			[]events.Message{user("a"), assistant("anthropic", textPart(" \n")), user(""), user("b")},
			`[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`},
		{"reasoning of another provider is left out",
			[]events.Message{user("a"), assistant("openai", events.Part{Kind: events.PartReasoning, Text: "hm", Carry: json.RawMessage(`{"type":"thinking","signature":"x"}`)}, textPart("b"))},
			`[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"assistant","content":[{"type":"text","text":"b"}]}]`},
		{"after a pause both messages of the answer are one",
			[]events.Message{user("a"), assistant("anthropic", opaquePart(use)), assistant("anthropic", opaquePart(`{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]}`)), user("b")},
			`[{"role":"user","content":[{"type":"text","text":"a"}]},` +
				`{"role":"assistant","content":[` + use + `,{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]}]},` +
				`{"role":"user","content":[{"type":"text","text":"b"}]}]`},
		{"a pause is continued with the call of the provider's tool last",
			[]events.Message{user("a"), assistant("anthropic", opaquePart(use))},
			`[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"assistant","content":[` + use + `]}]`},
		{"a call of the provider's tool that a cut left without result is dropped",
			[]events.Message{user("a"), assistant("anthropic", opaquePart(use)), user("b")},
			`[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(encode(turns("anthropic", tt.messages))); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
