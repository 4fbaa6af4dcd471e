package anthropic

import (
	"encoding/json"
	"slices"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// bindingBeta is the anthropic-beta value that allows block_binding.
const bindingBeta = "thinking-binding-controls-2026-08-01"

// blockBinding chooses what the API does with thinking whose prefix has changed.
type blockBinding struct {
	PrefixMismatch string `json:"prefix_mismatch_behavior"`
}

// lenient asks the API to drop thinking that no longer fits instead of refusing the
// request, and reports whether it did. Since Claude 5.1 a thinking block is bound to
// the system prompt, the tools and the messages before it, which hooks, tool-workers
// and Settings change between turns. These models think adaptively by default, so
// that naming the mode changes nothing.
//
// Thinking is left out if the request turns thinking off: the API then refuses it.
//
// Source: https://platform.claude.com/docs/en/build-with-claude/preserved-thinking
func (r *request) lenient(req llm.Request, extra map[string]json.RawMessage) bool {
	major, minor := version(r.Model)
	binds := major > 5 || major == 5 && minor >= 1
	if !binds && req.Demand != transcript.DemandLeniency || !slices.ContainsFunc(r.Messages, thinks) {
		return false
	}
	own := map[string]json.RawMessage{}
	if raw, ok := extra["thinking"]; ok {
		if json.Unmarshal(raw, &own) != nil || own["block_binding"] != nil {
			return own["block_binding"] != nil
		}
		if string(own["type"]) == `"disabled"` {
			r.withoutThinking()
			return false
		}
		own["block_binding"] = encode(blockBinding{"drop_block"})
		extra["thinking"] = encode(own)
		return true
	}
	if r.Thinking == nil {
		r.Thinking = &thinking{Type: "adaptive"}
	}
	r.Thinking.BlockBinding = &blockBinding{"drop_block"}
	return true
}

func thinks(t turn) bool { return slices.ContainsFunc(t.Content, isThinking) }

func isThinking(c any) bool {
	switch b := c.(type) {
	case thinkingBlock:
		return true
	case opaqueBlock:
		return b.kind == "redacted_thinking"
	}
	return false
}

func (r *request) withoutThinking() {
	for i := range r.Messages {
		r.Messages[i].Content = slices.DeleteFunc(r.Messages[i].Content, isThinking)
	}
	r.Messages = slices.DeleteFunc(r.Messages, func(t turn) bool { return len(t.Content) == 0 })
}
