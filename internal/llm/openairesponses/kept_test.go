package openairesponses

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// TestItemsOfProviderRunToolsAreKept: they are in the log whole, once, and go back to
// the model that made them.
func TestItemsOfProviderRunToolsAreKept(t *testing.T) {
	const (
		search = `{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"q"}}`
		mcp    = `{"type":"mcp_call","id":"mcp_1","server_label":"s","name":"f","arguments":"{}","output":"4"}`
		cited  = `{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hi","annotations":[{"type":"url_citation","url":"https://example.com"}]}]}`
	)
	done := func(index, item string) string {
		return `{"type":"response.output_item.done","output_index":` + index + `,"item":` + item + `}`
	}
	for _, c := range []struct{ name, body string }{
		{"streamed", sse(created, `{"type":"response.output_item.added","output_index":0,"item":{"type":"web_search_call","id":"ws_1","status":"in_progress"}}`,
			done("0", search), done("1", mcp), done("2", cited), `{"type":"response.completed","response":{"status":"completed","output":[`+search+`,`+mcp+`,`+cited+`]}}`)},
		{"in the final output alone", sse(created, `{"type":"response.completed","response":{"status":"completed","output":[`+search+`,`+mcp+`,`+cited+`]}}`)},
		{"in one object", `{"status":"completed","output":[` + search + `,` + mcp + `,` + cited + `]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var kept []string
			var parts []events.Part
			for e := range Decode(strings.NewReader(c.body)) {
				switch e := e.(type) {
				case *events.TextChunk:
					parts = append(parts, events.Part{Kind: events.PartText, Text: e.Text})
				case *events.ReasoningChunk:
					kept = append(kept, string(e.Carry))
					parts = append(parts, events.Part{Kind: events.PartReasoning, Text: e.Text, Carry: e.Carry})
				}
			}
			if want := []string{search, mcp, `{"type":"message","annotations":[[{"type":"url_citation","url":"https://example.com"}]]}`}; strings.Join(kept, "\n") != strings.Join(want, "\n") {
				t.Errorf("kept\n%s\nwant\n%s", strings.Join(kept, "\n"), strings.Join(want, "\n"))
			}
			p := New(Config{})
			raw, err := json.Marshal(p.input(llm.Request{Model: "m", Messages: []events.Message{{Role: events.RoleAssistant, Provider: p.Name(), Model: "m", Parts: parts}}}))
			if err != nil || !strings.HasPrefix(string(raw), `[`+search+`,`+mcp+`,{"content":"Hi","role":"assistant"`) {
				t.Errorf("sent back: %s %v", raw, err)
			}
			raw, _ = json.Marshal(p.input(llm.Request{Model: "other", Messages: []events.Message{{Role: events.RoleAssistant, Provider: p.Name(), Model: "m", Parts: parts}}}))
			if strings.Contains(string(raw), "web_search_call") {
				t.Errorf("sent to another model: %s", raw)
			}
		})
	}
}
