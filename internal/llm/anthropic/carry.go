package anthropic

import (
	"bytes"
	"encoding/json"
	"maps"
)

// Data that must be sent back to Anthropic is stored as JSON like the block it
// belongs to: {"type":"thinking","signature":…} with the thinking's text,
// {"type":"citations","citations":[…]} after the text that cites, the fields
// that a call has beyond the usual, and every other block whole.

func thinkingCarry(signature string) json.RawMessage {
	return encode(struct {
		Type      string `json:"type"`
		Signature string `json:"signature"`
	}{kindThinking, signature})
}

func citationsCarry(citations []json.RawMessage) json.RawMessage {
	return encode(struct {
		Type      string            `json:"type"`
		Citations []json.RawMessage `json:"citations"`
	}{kindCitations, citations})
}

// callCarry keeps the fields of a tool_use that Parley's events do not have,
// such as the caller of a call that code made. The usual caller is omitted.
func callCarry(raw json.RawMessage) json.RawMessage {
	fields := map[string]json.RawMessage{}
	if parse(raw, &fields) != nil {
		return nil
	}
	var caller struct {
		Type string `json:"type"`
	}
	if parse(fields["caller"], &caller) != nil || caller.Type == "direct" {
		delete(fields, "caller")
	}
	maps.DeleteFunc(fields, func(key string, v json.RawMessage) bool {
		return key == "type" || key == "id" || key == "name" || key == "input" || string(v) == "null"
	})
	if len(fields) == 0 {
		return nil
	}
	return encode(fields)
}

// merge puts a delta into an opaque block: pieces of JSON make its input,
// strings are appended to the field of their name, anything else replaces the
// field (block and delta types appear without notice).
func (b *block) merge(partial string, frame []byte) {
	if partial != "" {
		b.partial = append(b.partial, partial...)
		return
	}
	var f struct {
		Delta map[string]json.RawMessage `json:"delta"`
	}
	if parse(frame, &f) != nil {
		return
	}
	for key, value := range f.Delta {
		if key == "type" || key == "partial_json" {
			continue
		}
		if b.fields == nil {
			b.fields = map[string]json.RawMessage{}
			if parse(b.raw, &b.fields) != nil {
				return
			}
		}
		var had, piece string
		if json.Unmarshal(value, &piece) == nil && json.Unmarshal(b.fields[key], &had) == nil {
			value = encode(had + piece)
		}
		b.fields[key] = value
	}
}

// carry returns the complete block; nil if its input was cut, because an
// incomplete block cannot be sent back.
func (b *block) carry() json.RawMessage {
	if len(b.partial) > 0 {
		if !json.Valid(b.partial) {
			return nil
		}
		if b.fields == nil {
			b.fields = map[string]json.RawMessage{}
			if parse(b.raw, &b.fields) != nil {
				return nil
			}
		}
		b.fields["input"] = b.partial
	}
	if b.fields != nil {
		return encode(b.fields)
	}
	var out bytes.Buffer
	if json.Compact(&out, b.raw) != nil {
		return nil
	}
	return out.Bytes()
}

// encode encodes values that always encode; it returns nil otherwise.
func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return raw
}
