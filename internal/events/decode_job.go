package events

import (
	"bytes"
	"encoding/json"
	"strings"
)

// messagesKey begins the transcript of a job. In a string the quotes are escaped, so
// that it can only be a field.
const messagesKey = `,"messages":[`

// decodeJob decodes a job whose transcript is as Append writes it, which is nearly all
// of a long conversation's job. What is before and behind the transcript takes the
// general path, and so does a message with something rare, such as an image.
func decodeJob(raw []byte) Event {
	at := bytes.Index(raw, []byte(messagesKey))
	if at < 0 {
		return nil
	}
	r := reader{rest: raw[at+len(messagesKey):]}
	messages := r.messages()
	if r.failed {
		return nil
	}
	job := new(GenerationJob)
	before := append(raw[:at:at], '}') // an object only if the transcript is a field of the job itself
	if json.Unmarshal(before, job) != nil || job.Messages != nil {
		return nil
	}
	job.Messages = messages
	next := "}"
	if r.skip(",") {
		next = `"`
	}
	if !bytes.HasPrefix(r.rest, []byte(next)) {
		return nil
	}
	behind := append([]byte{'{'}, r.rest...)
	// As encoding/json does, a later field of the same name replaces the messages.
	if json.Unmarshal(behind, job) != nil {
		return nil
	}
	return job
}

// messages reads a transcript to its closing bracket.
func (r *reader) messages() []Message {
	all := make([]Message, 0, bytes.Count(r.rest, []byte(`{"role":"`)))
	var b strings.Builder
	b.Grow(len(r.rest)) // at least the length of all strings
	for first := true; !r.failed && !r.skip("]"); first = false {
		if !first && !r.skip(",") {
			r.failed = true
			return nil
		}
		begin := *r
		m := r.message(&b)
		if r.failed {
			*r = begin
			value := r.value()
			if m = (Message{}); value == nil || json.Unmarshal(value, &m) != nil {
				r.failed = true
				return nil
			}
		}
		all = append(all, m)
	}
	return all
}

func (r *reader) message(b *strings.Builder) (m Message) {
	m.Role = Role(unquote(b, r.required(`{"role":`)))
	if !r.skip(`,"parts":[`) {
		r.failed = true
		return m
	}
	m.Parts = []Part{}
	for first := true; !r.failed && !r.skip("]"); first = false {
		if !first && !r.skip(",") {
			r.failed = true
			return m
		}
		m.Parts = append(m.Parts, r.part(b))
	}
	m.By = unquote(b, r.string(`,"by":`))
	m.Provider = unquote(b, r.string(`,"provider":`))
	m.Model = unquote(b, r.string(`,"model":`))
	m.Omitted = Omission(unquote(b, r.string(`,"omitted":`)))
	r.failed = r.failed || !r.skip("}")
	return m
}

func (r *reader) part(b *strings.Builder) (p Part) {
	p.Kind = PartKind(unquote(b, r.required(`{"kind":`)))
	p.Text = unquote(b, r.string(`,"text":`))
	p.Summary = r.skip(`,"summary":true`)
	p.Call = unquote(b, r.string(`,"call":`))
	p.ProviderID = unquote(b, r.string(`,"provider_id":`))
	p.Name = unquote(b, r.string(`,"name":`))
	p.Arguments = unquote(b, r.string(`,"arguments":`))
	p.Custom = r.skip(`,"custom":true`)
	p.Invalid = unquote(b, r.string(`,"invalid":`))
	p.Status = Status(unquote(b, r.string(`,"status":`)))
	if r.skip(`,"carry":`) {
		carry := r.value()
		if !json.Valid(carry) {
			r.failed = true
			return p
		}
		p.Carry = bytes.Clone(carry)
	}
	r.failed = r.failed || !r.skip("}")
	return p
}

// value takes an object or an array by its brackets and returns it, or nil. Whether it is
// valid is for the caller to look at.
func (r *reader) value() []byte {
	depth, quoted := 0, false
	for i := 0; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth == 0 {
			if c := r.rest[i]; c != '}' && c != ']' {
				return nil // a scalar
			}
			value := r.rest[:i+1]
			r.rest = r.rest[i+1:]
			return value
		}
	}
	return nil
}
