package openai

import (
	"encoding/json"
	"strings"
)

// The fields in which hosts send reasoning and expect it back. Gemini's thought
// signature of a text is in extra_content.
const (
	fieldReasoningContent = "reasoning_content"
	fieldReasoning        = "reasoning"
	fieldDetails          = "reasoning_details"
	fieldContent          = "content"
	fieldExtra            = "extra_content"
)

// carry is the carry of a reasoning block: the field of its text, and further
// fields that the message must have when it is sent back.
type carry struct {
	Field   string          `json:"field,omitempty"`
	Details json.RawMessage `json:"reasoning_details,omitempty"`
	Extra   json.RawMessage `json:"extra_content,omitempty"`
}

func (c carry) raw() json.RawMessage {
	raw, err := json.Marshal(c)
	if err != nil {
		return nil // the parts were taken from valid JSON
	}
	return raw
}

// thought is the reasoning of one delta, raw.
type thought struct{ content, plain, details []byte }

// reasoning is the state of an answer's reasoning that is needed at its end.
type reasoning struct {
	key     string // of the last block
	field   string // of the last block's text
	details []*detail
	extra   []byte
}

// think decodes the reasoning of a delta. Routers send the same text in two or
// three fields: one of them is read.
func (d *decoder) think(t thought) bool {
	for _, v := range elements(t.details) {
		d.reasoning.add(v)
	}
	if s := text(t.content); s != "" {
		return d.reason(fieldReasoningContent, s, false)
	}
	if s := text(t.plain); s != "" {
		return d.reason(fieldReasoning, s, false)
	}
	for _, v := range elements(t.details) {
		var s string
		var summary bool
		for key, v := range members(v) {
			switch string(key) {
			case "text":
				s = text(v)
			case "summary":
				s, summary = text(v), true
			}
		}
		if !d.reason(fieldReasoning, s, summary) {
			return false
		}
	}
	return true
}

// reason writes a piece of reasoning. The carry of a block's first piece names
// the field.
func (d *decoder) reason(field, s string, summary bool) bool {
	if s == "" {
		return true
	}
	r := &d.reasoning
	key := d.segment.key("reasoning")
	if key == r.key && field == r.field {
		return d.w.Reasoning(key, s, summary, nil)
	}
	r.key, r.field = key, field
	return d.w.Reasoning(key, s, summary, carry{Field: field}.raw())
}

// finish writes the complete reasoning_details, and extra_content: they arrive
// in fragments and belong to the message, not to one block.
func (r *reasoning) finish(d *decoder) {
	if len(r.details) == 0 && len(r.extra) == 0 {
		return
	}
	c := carry{Field: r.field, Extra: r.extra}
	if len(r.details) > 0 {
		list := []byte{'['}
		for i, e := range r.details {
			if i > 0 {
				list = append(list, ',')
			}
			list = append(list, e.raw()...)
		}
		c.Details = append(list, ']')
	}
	if r.key == "" {
		r.key = d.segment.key("reasoning")
	}
	d.w.Reasoning(r.key, "", false, c.raw())
}

// detail is an entry of reasoning_details, merged from its fragments: those of
// one index, type and id. Text and summary are concatenated; of the other
// fields the last non-null value counts.
type detail struct {
	kind, index, id string
	fields          object
	text, summary   strings.Builder
}

func (r *reasoning) add(raw []byte) {
	var f detail
	for key, v := range members(raw) {
		switch string(key) {
		case "type":
			f.kind = text(v)
		case "index":
			f.index = text(v)
		case "id":
			f.id = text(v)
		}
	}
	e := r.detail(&f)
	for key, v := range members(raw) {
		switch string(key) {
		case "text":
			e.text.WriteString(text(v))
			e.fields.set("text", []byte(`""`)) // its place
		case "summary":
			e.summary.WriteString(text(v))
			e.fields.set("summary", []byte(`""`))
		default:
			e.fields.set(string(key), v)
		}
	}
}

// detail returns the entry that a fragment continues, or a new one. Encrypted
// entries arrive complete. Fragments of one entry arrive close together, so
// only the last few entries are searched.
func (r *reasoning) detail(f *detail) *detail {
	if f.kind == "reasoning.text" || f.kind == "reasoning.summary" {
		for i := len(r.details) - 1; i >= max(0, len(r.details)-8); i-- {
			e := r.details[i]
			if e.kind == f.kind && e.index == f.index && (e.id == f.id || e.id == "" || f.id == "") {
				if e.id == "" {
					e.id = f.id
				}
				return e
			}
		}
	}
	r.details = append(r.details, f)
	return f
}

func (e *detail) raw() json.RawMessage {
	if e.text.Len() > 0 {
		e.fields.set("text", quote(e.text.String()))
	}
	if e.summary.Len() > 0 {
		e.fields.set("summary", quote(e.summary.String()))
	}
	if raw := e.fields.raw(); raw != nil {
		return raw
	}
	return json.RawMessage("{}")
}
