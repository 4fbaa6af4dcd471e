package anthropic

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/parleybus/parley/internal/events"
)

// The kinds of content blocks that become text, reasoning and calls. Blocks of
// every other kind (redacted thinking, tools that the provider runs, future
// kinds) are kept complete and opaque.
const (
	kindText     = "text"
	kindThinking = "thinking"
	kindCall     = "tool_use"
	// kindCitations is Parley's own kind: the citations of the preceding text.
	kindCitations = "citations"
)

// block is a content block between its start and its stop.
type block struct {
	key       string
	kind      string
	raw       json.RawMessage            // opaque: as in the start
	fields    map[string]json.RawMessage // opaque: its fields, once a delta changed them
	input     json.RawMessage            // as in the start: complete, or {} if deltas follow
	partial   []byte                     // opaque: the input, from deltas
	signature string
	citations []json.RawMessage
}

func (b *block) opaque() bool {
	return b.kind != kindText && b.kind != kindThinking && b.kind != kindCall
}

// keyOf separates content that does not fit its block's kind.
func (b *block) keyOf(kind string) string {
	if b.kind == kind {
		return b.key
	}
	return b.key + " " + kind
}

func (d *decoder) begin(index int, kind string) *block {
	b := &block{key: strconv.Itoa(d.began), kind: kind}
	d.began++
	d.open[index] = b
	return b
}

func (d *decoder) start(index int, raw json.RawMessage) bool {
	var head struct {
		Type      string            `json:"type"`
		ID        string            `json:"id"`
		Name      string            `json:"name"`
		Input     json.RawMessage   `json:"input"`
		Text      string            `json:"text"`
		Thinking  string            `json:"thinking"`
		Signature string            `json:"signature"`
		Citations []json.RawMessage `json:"citations"`
	}
	if parse(raw, &head) != nil || head.Type == "" {
		return true // nothing to start; later deltas open their block
	}
	// The next block starts, so the limit did not cut the previous call.
	if !d.endUnclear() || d.open[index] != nil && !d.stop(index) {
		return false
	}
	b := d.begin(index, head.Type)
	switch b.kind {
	case kindText:
		b.citations = head.Citations
		return d.w.Text(b.key, head.Text)
	case kindThinking:
		return d.w.Reasoning(b.key, head.Thinking, false, nil) && d.sign(b, head.Signature)
	case kindCall:
		b.input = head.Input
		if !d.w.CallStart(b.key, head.ID, head.Name, false) {
			return false
		}
		d.w.CallCarry(b.key, callCarry(raw))
		return true
	}
	b.raw = raw
	return true
}

func (d *decoder) delta(f *frame, raw []byte) bool {
	b := d.open[f.Index]
	if b == nil {
		// A gateway lost the start. Text is kept; a call without a name is not one.
		switch f.Delta.Type {
		case "text_delta":
			b = d.begin(f.Index, kindText)
		case "thinking_delta", "signature_delta":
			b = d.begin(f.Index, kindThinking)
		default:
			return true
		}
	}
	if b.opaque() {
		b.merge(f.Delta.PartialJSON, raw)
		return true
	}
	switch f.Delta.Type {
	case "text_delta":
		return d.w.Text(b.keyOf(kindText), f.Delta.Text)
	case "thinking_delta":
		return d.w.Reasoning(b.keyOf(kindThinking), f.Delta.Thinking, false, nil)
	case "signature_delta":
		return d.sign(b, f.Delta.Signature)
	case "input_json_delta":
		return d.w.CallDelta(b.key, f.Delta.PartialJSON)
	case "citations_delta":
		if len(f.Delta.Citation) > 0 {
			b.citations = append(b.citations, f.Delta.Citation)
		}
	}
	return true
}

func (d *decoder) stop(index int) bool {
	b := d.open[index]
	if b == nil {
		return true
	}
	delete(d.open, index)
	if b.opaque() {
		return d.w.Reasoning(b.key, "", false, b.carry())
	}
	if b.kind == kindCall {
		if !d.endUnclear() || !d.completeInput(b) {
			return false
		}
		if args := d.w.CallArguments(b.key); args == "" || events.CheckArguments(args) != nil {
			// Empty arguments are valid, and are also what remains if a limit
			// cut them. The following event decides: another block, or the stop
			// reason.
			d.unclear = b
			return true
		}
		return d.w.CallEnd(b.key)
	}
	if len(b.citations) > 0 {
		return d.w.Reasoning(b.key+" "+kindCitations, "", false, citationsCarry(b.citations))
	}
	return true
}

// endUnclear ends the call whose arguments may have been cut: the next event shows
// that they were not.
func (d *decoder) endUnclear() bool {
	b := d.unclear
	d.unclear = nil
	return b == nil || d.w.CallEnd(b.key)
}

// completeInput takes the input from the block's start, which is complete if
// there were no deltas. The two are never joined.
func (d *decoder) completeInput(b *block) bool {
	switch string(bytes.Join(bytes.Fields(b.input), nil)) {
	case "", "{}", "null":
		return true
	}
	if d.w.CallArguments(b.key) != "" {
		return true
	}
	return d.w.CallDelta(b.key, string(b.input))
}

func (d *decoder) sign(b *block, signature string) bool {
	if signature == "" {
		return true
	}
	b.signature += signature
	return d.w.Reasoning(b.keyOf(kindThinking), "", false, thinkingCarry(b.signature))
}
