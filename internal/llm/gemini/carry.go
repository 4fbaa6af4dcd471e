package gemini

import (
	"encoding/json"
	"maps"

	"github.com/parleybus/parley/internal/events"
)

// Fields of a part.
const (
	keyText      = "text"
	keyThought   = "thought"
	keyCall      = "functionCall"
	keySignature = "thoughtSignature"
)

// carry is the carry of a reasoning part: what a part of the answer has beyond a text.
// The carry of a call is its part without the call.
type carry struct {
	Kind string                     `json:"kind"`
	Part map[string]json.RawMessage `json:"part"`
}

// The kinds of carries.
const (
	ofText    = "text"     // further fields of the text before
	ofThought = "thought"  // further fields of the thought that has the carry
	whole     = "part"     // a whole part, of a kind that Parley does not know
	metadata  = "metadata" // of the answer: citations, grounding; not sent back
)

// returned appends the part to which a carry belongs. Thoughts without a signature are
// not sent back: they are summaries, which the API does not read.
func returned(out []part, p events.Part) []part {
	var c carry
	if len(p.Carry) == 0 || parse(p.Carry, &c) != nil || len(c.Part) == 0 {
		return out
	}
	fields := part{}
	for key, v := range c.Part {
		fields[key] = v
	}
	switch c.Kind {
	case ofText:
		if n := len(out); n > 0 && out[n-1][keyText] != nil && out[n-1][keySignature] == nil && out[n-1][keyThought] == nil {
			maps.Copy(out[n-1], fields)
			return out
		}
		fields[keyText] = ""
	case ofThought:
		fields[keyText], fields[keyThought] = p.Text, true
	case whole:
	default:
		return out
	}
	return append(out, fields)
}

// rest returns the further fields of a call: none if it has no signature, because the
// carries of messages over OpenAI's wire, which had this provider's name before, have
// other fields.
func rest(raw json.RawMessage) part {
	fields := map[string]json.RawMessage{}
	out := part{}
	if len(raw) == 0 || parse(raw, &fields) != nil || fields[keySignature] == nil {
		return out
	}
	for key, v := range fields {
		out[key] = v
	}
	return out
}

// encode encodes values that always encode; it returns nil otherwise.
func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return raw
}
