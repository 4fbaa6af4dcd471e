package anthropic

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/parleybus/parley/internal/events"
)

// sent is a message as the API reads it.
type sent struct {
	Role    string `json:"role"`
	Content []struct {
		Type      string          `json:"type"`
		Text      string          `json:"text"`
		ID        string          `json:"id"`
		Input     json.RawMessage `json:"input"`
		ToolUseID string          `json:"tool_use_id"`
	} `json:"content"`
}

func TestAnyTranscriptGivesARequestThatTheAPIAllows(t *testing.T) {
	texts := rapid.SampledFrom([]string{"", " ", "hi", "\n"})
	ids := rapid.SampledFrom([]string{"", "call_0", "call_2", "toolu_1", "functions.a:0", strings.Repeat("x", 80)})
	parts := rapid.Custom(func(t *rapid.T) events.Part {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return textPart(texts.Draw(t, "text"))
		case 1:
			return opaquePart(rapid.SampledFrom([]string{"", "{", "[]", `{"type":"thinking","signature":"s"}`, `{"type":"server_tool_use","id":"s1","name":"w","input":{}}`,
				`{"type":"web_search_tool_result","tool_use_id":"s1","content":[]}`, `{"type":"citations","citations":[{}]}`}).Draw(t, "carry"))
		}
		p := called(ids.Draw(t, "call"), ids.Draw(t, "provider id"), texts.Draw(t, "name"), rapid.SampledFrom([]string{"", "null", "{", "[]", `{"a":1}`}).Draw(t, "arguments"))
		p.Carry = json.RawMessage(rapid.SampledFrom([]string{"", "{", "null", "[]", `{"caller":{"type":"x"}}`}).Draw(t, "carry"))
		return p
	})
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) events.Message {
			switch rapid.IntRange(0, 2).Draw(t, "role") {
			case 0:
				return user(texts.Draw(t, "text"))
			case 1:
				return result(ids.Draw(t, "call"), rapid.SampledFrom([]events.Status{"ok", "failed"}).Draw(t, "status"), texts.Draw(t, "text"))
			}
			return assistant(rapid.SampledFrom([]string{"anthropic", "openai"}).Draw(t, "provider"), rapid.SliceOfN(parts, 0, 4).Draw(t, "parts")...)
		}), 0, 8).Draw(t, "messages")
		raw, err := json.Marshal(turns("anthropic", messages))
		if err != nil {
			t.Fatal(err)
		}
		var out []sent
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatal(err)
		}
		allowed(t, out, string(raw))
	})
}

// allowed checks the rules by which the API refuses histories.
func allowed(t *rapid.T, out []sent, raw string) {
	used := map[string]bool{}
	var open []string
	for i, m := range out {
		if len(m.Content) == 0 || i > 0 && out[i-1].Role == m.Role {
			t.Fatalf("message %d is empty or repeats a role: %s", i, raw)
		}
		var calls, results []string
		for n, b := range m.Content {
			switch b.Type {
			case "text":
				if strings.TrimSpace(b.Text) == "" {
					t.Fatalf("message %d holds empty text: %s", i, raw)
				}
			case "tool_use":
				if b.ID == "" || used[b.ID] || len(b.Input) == 0 || b.Input[0] != '{' {
					t.Fatalf("message %d holds call %q with input %q: %s", i, b.ID, b.Input, raw)
				}
				used[b.ID] = true
				calls = append(calls, b.ID)
			case "tool_result":
				if n != len(results) {
					t.Fatalf("message %d holds a result that does not come first: %s", i, raw)
				}
				results = append(results, b.ToolUseID)
			}
		}
		if strings.Join(results, " ") != strings.Join(open, " ") {
			t.Fatalf("message %d answers %q, want %q: %s", i, results, open, raw)
		}
		open = calls
	}
	if len(open) > 0 {
		t.Fatalf("calls %q have no result: %s", open, raw)
	}
}
