package anthropic

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// TestThePrefixOfARequestIsCached: tools, system prompt and the last two messages of
// the user have a mark, never more than the four that the API allows, and what was
// marked in a request is a prefix of the next one.
func TestThePrefixOfARequestIsCached(t *testing.T) {
	var messages []events.Message
	before := ""
	for turn := range 4 {
		messages = append(messages, user("question"))
		body, _, err := New(Config{}).body(llm.Request{Model: "m", System: "Be brief.", Messages: messages, Tools: []events.ToolSpec{{Name: "add"}, {Name: "now"}}})
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			System, Tools []map[string]any
			Messages      []struct {
				Role    string
				Content []map[string]any
			}
		}
		if err := json.Unmarshal(body, &r); err != nil {
			t.Fatal(err)
		}
		marks := 0
		for _, list := range [][]map[string]any{r.System, r.Tools[1:]} {
			if list[len(list)-1]["cache_control"] == nil {
				t.Errorf("turn %d: %v has no mark", turn, list)
			}
		}
		for i, m := range r.Messages {
			for _, b := range m.Content {
				if b["cache_control"] == nil {
					continue
				}
				if marks++; m.Role != "user" || len(r.Messages)-i > 3 {
					t.Errorf("turn %d: message %d of %d is marked", turn, i, len(r.Messages))
				}
			}
		}
		if want := min(turn+1, 2); marks != want || strings.Count(string(body), "cache_control") != want+2 {
			t.Errorf("turn %d: %d messages are marked, want %d: %s", turn, marks, want, body)
		}
		plain := strings.ReplaceAll(string(body), cacheMark, "}")
		plain = plain[:strings.LastIndex(plain, `],"tools"`)]
		if !strings.HasPrefix(plain, before) {
			t.Errorf("turn %d: %s does not begin with %s", turn, plain, before)
		}
		before = plain
		messages = append(messages, assistant("anthropic", events.Part{Kind: events.PartText, Text: "answer"}))
	}
}
