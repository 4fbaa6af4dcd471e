package anthropic

import (
	"encoding/json"
	"fmt"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// opaqueBlock is a block that is sent back unchanged.
type opaqueBlock struct {
	kind, id, of string
	raw          json.RawMessage
}

func (b opaqueBlock) MarshalJSON() ([]byte, error) { return b.raw, nil }

// assistant returns the blocks of an answer and opens its calls. Reasoning of
// other providers is left out: the API refuses it without a signature.
func (h *history) assistant(m events.Message) []any {
	var out []any
	own := m.Provider == h.name
	for _, part := range m.Parts {
		switch part.Kind {
		case events.PartText, events.PartRefusal:
			out = append(out, text(part.Text)...)
		case events.PartCall:
			out = append(out, h.call(part, own))
		case events.PartReasoning:
			if own {
				out = reasoning(out, part)
			}
		}
	}
	return out
}

func reasoning(out []any, part events.Part) []any {
	var carry struct {
		Type      string            `json:"type"`
		Signature string            `json:"signature"`
		Citations []json.RawMessage `json:"citations"`
		ID        string            `json:"id"`
		Of        string            `json:"tool_use_id"`
	}
	if parse(part.Carry, &carry) != nil || carry.Type == "" {
		return out
	}
	switch carry.Type {
	case kindThinking:
		return append(out, thinkingBlock{Type: kindThinking, Thinking: part.Text, Signature: carry.Signature})
	case kindCitations:
		if n := len(out); n > 0 {
			if t, ok := out[n-1].(textBlock); ok {
				t.Citations = carry.Citations
				out[n-1] = t
			}
		}
		return out
	}
	return append(out, opaqueBlock{kind: carry.Type, id: carry.ID, of: carry.Of, raw: part.Carry})
}

// call encodes a call. Arguments that are not a JSON object are sent as {}: the
// call's result tells the model what was wrong with them.
func (h *history) call(part events.Part, own bool) any {
	id := h.id(part, own)
	h.calls = append(h.calls, openCall{call: part.Call, providerID: part.ProviderID, id: id})
	var fields map[string]json.RawMessage
	if !own || parse(part.Carry, &fields) != nil || fields == nil {
		fields = map[string]json.RawMessage{}
	}
	fields["type"] = encode(kindCall)
	fields["id"] = encode(id)
	fields["name"] = encode(transcript.Name(part.Name))
	fields["input"] = json.RawMessage("{}")
	if !part.Custom && events.CheckArguments(part.Arguments) == nil {
		fields["input"] = events.Arguments(part.Arguments)
	}
	return fields
}

// id returns the provider's own id of a call if this API accepts it and no
// other call of the history has it, because ids of other providers repeat.
// Otherwise it returns Parley's id.
func (h *history) id(part events.Part, own bool) string {
	for n := 0; ; n++ {
		id := fmt.Sprintf("call_%d", n)
		switch {
		case n == 0 && own:
			id = part.ProviderID
		case n <= 1:
			id = part.Call
		}
		if transcript.ValidID(id) && !h.used[id] {
			h.used[id] = true
			return id
		}
	}
}
