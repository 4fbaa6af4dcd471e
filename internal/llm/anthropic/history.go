package anthropic

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// turn is a message of a request. The API demands that no content is empty,
// that a call's id is unique, and that the results of a message's calls come
// first in the very next message, all of them.
type turn struct {
	Role    string `json:"role"`
	Content []any  `json:"content"`
}

type textBlock struct {
	Type      string            `json:"type"`
	Text      string            `json:"text"`
	Citations []json.RawMessage `json:"citations,omitempty"`
}

type thinkingBlock struct {
	Type      string `json:"type"`
	Thinking  string `json:"thinking"`
	Signature string `json:"signature"`
}

type resultBlock struct {
	Type    string `json:"type"`
	ID      string `json:"tool_use_id"`
	Content any    `json:"content,omitempty"` // a string, or blocks
	IsError bool   `json:"is_error,omitempty"`
}

// history builds the messages of a request.
type history struct {
	name  string // the provider whose carries may be sent back
	turns []turn
	used  map[string]bool // ids of calls
	calls []openCall      // of the assistant message that waits for results
	loose []any           // results that belong to none of them
}

type openCall struct {
	call, providerID, id string
	result               *resultBlock
}

func turns(name string, messages []events.Message) []turn {
	h := &history{name: name, turns: []turn{}, used: map[string]bool{}}
	for _, m := range messages {
		switch m.Role {
		case events.RoleTool:
			for i, part := range m.Parts {
				h.result(part, imagesAfter(m.Parts[i+1:]))
			}
		case events.RoleAssistant:
			h.answerCalls()
			h.add("assistant", h.assistant(m)...)
		default:
			h.answerCalls()
			for _, part := range m.Parts {
				h.add("user", said(part)...)
			}
		}
	}
	h.answerCalls()
	return h.turns
}

// add appends to the last message of the role, or starts one. Consecutive
// messages of one role are merged: after a pause the answer continues in a
// second message.
func (h *history) add(role string, content ...any) {
	if len(content) == 0 {
		return
	}
	if n := len(h.turns); n > 0 && h.turns[n-1].Role != role {
		last := &h.turns[n-1]
		if role == "user" {
			last.Content = slices.DeleteFunc(last.Content, unanswered(last.Content))
			for len(last.Content) > 0 && isThinking(last.Content[len(last.Content)-1]) {
				last.Content = last.Content[:len(last.Content)-1] // the API refuses thinking at the end of a message
			}
		}
		if len(last.Content) == 0 {
			h.turns = h.turns[:n-1]
		}
	}
	if n := len(h.turns); n > 0 && h.turns[n-1].Role == role {
		h.turns[n-1].Content = append(h.turns[n-1].Content, content...)
		return
	}
	h.turns = append(h.turns, turn{Role: role, Content: content})
}

// unanswered returns calls of provider-run tools whose result is missing
// because the answer was cut: the API refuses them unless the answer is the
// last message.
func unanswered(content []any) func(any) bool {
	results := map[string]bool{}
	for _, c := range content {
		if b, ok := c.(opaqueBlock); ok && b.of != "" {
			results[b.of] = true
		}
	}
	return func(c any) bool {
		b, ok := c.(opaqueBlock)
		return ok && b.id != "" && strings.HasSuffix(b.kind, "_tool_use") && !results[b.id]
	}
}

func text(s string) []any {
	if strings.TrimSpace(s) == "" {
		return nil // the API refuses them, even if it sent them itself
	}
	return []any{textBlock{Type: "text", Text: s}}
}

// result buffers a call's result, and its images, until all results of its message
// exist.
func (h *history) result(part events.Part, images []any) {
	if part.Kind != events.PartResult {
		return
	}
	content := llm.ResultText(part)
	b := &resultBlock{Type: "tool_result", IsError: part.Status != "" && part.Status != events.StatusOK}
	switch {
	case len(images) > 0:
		b.Content = append(text(content), images...)
	case content != "":
		b.Content = content
	}
	for i := range h.calls {
		c := &h.calls[i]
		if c.result == nil && (c.call != "" && c.call == part.Call || part.Call == "" && c.providerID == part.ProviderID) {
			b.ID = c.id
			c.result = b
			return
		}
	}
	h.loose = append(h.loose, text(fmt.Sprintf("Result of a call of %s: %s", part.Name, content))...)
	h.loose = append(h.loose, images...)
}

// answerCalls writes the buffered results, in the order of the calls.
func (h *history) answerCalls() {
	var content []any
	for _, c := range h.calls {
		if c.result == nil {
			c.result = &resultBlock{Type: "tool_result", ID: c.id, Content: "there is no result of this call", IsError: true}
		}
		content = append(content, c.result)
	}
	content = append(content, h.loose...)
	h.calls, h.loose = nil, nil
	h.add("user", content...)
}
