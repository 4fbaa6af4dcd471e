package anthropic

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// messageOf puts the events of an answer together as a transcript holds them: one
// part per block, in the order of the blocks.
func messageOf(t *testing.T, body string) events.Message {
	t.Helper()
	m := events.Message{Role: events.RoleAssistant, Provider: "anthropic"}
	part := func(block int, kind events.PartKind) *events.Part {
		for len(m.Parts) <= block {
			m.Parts = append(m.Parts, events.Part{Kind: kind})
		}
		return &m.Parts[block]
	}
	for e := range Decode(strings.NewReader(body)) {
		switch e := e.(type) {
		case *events.TextChunk:
			part(e.Block, events.PartText).Text += e.Text
		case *events.ReasoningChunk:
			p := part(e.Block, events.PartReasoning)
			p.Text += e.Text
			if len(e.Carry) > 0 {
				p.Carry = e.Carry
			}
		case *events.ToolCallStart:
			p := part(e.Block, events.PartCall)
			p.ProviderID, p.Name, p.Call = e.ProviderID, e.Name, "ours-"+e.ProviderID
		case *events.ToolCallDelta:
			part(e.Block, events.PartCall).Arguments += e.Arguments
		case *events.ToolCallEnd:
			part(e.Block, events.PartCall).Carry = e.Carry
		}
	}
	return m
}

func TestAnswersAreReturnedAsTheyCame(t *testing.T) {
	opaque := func(start string, deltas ...string) string {
		blocks := []string{begin, `{"type":"content_block_start","index":0,"content_block":` + start + `}`}
		return sse(append(append(blocks, deltas...), blockStop("0"), finish("pause_turn"), stop)...)
	}
	tests := []struct{ name, body, want string }{
		{"thinking with its signature, redacted thinking and text", reasoned(),
			`[{"type":"thinking","thinking":"Let me see.","signature":"c2ln"},{"type":"redacted_thinking","data":"ZGF0YQ=="},{"type":"text","text":"Yes."}]`},
		{"a signature without thinking", sse(begin,
			`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}`, blockStop("0"), finish("end_turn"), stop),
			`[{"type":"thinking","thinking":"","signature":"c2ln"}]`},
		{"a search, its result and the citations of the text", searched(),
			`[{"id":"srvtoolu_1","input":{"query":"rain"},"name":"web_search","type":"server_tool_use"},` +
				`{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","encrypted_content":"xyz"}]},` +
				`{"type":"text","text":"It rains.","citations":[{"type":"web_search_result_location","url":"https://example.org"}]}]`},
		{"a block of an unknown type that comes in deltas", opaque(`{"type":"compaction","content":null,"n":1}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"compaction_delta","content":"so "}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"compaction_delta","content":"far","n":2}}`),
			`[{"content":"so far","n":2,"type":"compaction"}]`},
		{"a call that code made", sse(begin,
			`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"a","input":{},"caller":{"type":"code_execution_20250825","tool_id":"srvtoolu_1"}}}`,
			jsonDelta("0", `{\"n\":12345678901234567890}`), blockStop("0"), finish("tool_use"), stop),
			`[{"caller":{"type":"code_execution_20250825","tool_id":"srvtoolu_1"},"id":"toolu_1","input":{"n":12345678901234567890},"name":"a","type":"tool_use"}]`},
		{"nothing of a block whose input was cut", opaque(`{"type":"server_tool_use","id":"srvtoolu_1","name":"a","input":{}}`, jsonDelta("0", `{\"q`)), `[]`},
		{"nothing of thinking that was cut before its signature", sse(begin,
			`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let"}}`), `[]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &history{name: "anthropic", used: map[string]bool{}}
			blocks := h.assistant(messageOf(t, tt.body))
			if blocks == nil {
				blocks = []any{}
			}
			if got := string(encode(blocks)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
