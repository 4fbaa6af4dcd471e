package events

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// decodeHot decodes the events of the token path and jobs when they are exactly as
// Append writes them. Anything else, valid or not, returns nil and takes the
// general path; so do rare cases (a carry, a
// surrogate pair written as two escapes). raw must be valid UTF-8.
func decodeHot(raw []byte) Event {
	r := reader{rest: raw}
	switch {
	case r.skip(`{"type":"TextChunk"`):
		return r.textChunk()
	case r.skip(`{"type":"ToolCallDelta"`):
		return r.toolCallDelta()
	case r.skip(`{"type":"ReasoningChunk"`):
		return r.reasoningChunk()
	case r.skip(`{"type":"GenerationJob"`):
		return decodeJob(raw)
	}
	return nil
}

func (r *reader) textChunk() Event {
	attempt, index := r.origin()
	block := r.int(`,"block":`)
	text := r.required(`,"text":`)
	refusal := r.skip(`,"refusal":true`)
	if !r.end() {
		return nil
	}
	e := &TextChunk{Origin: Origin{Index: index}, Block: block, Refusal: refusal}
	var b strings.Builder
	b.Grow(len(attempt) + len(text))
	e.Attempt, e.Text = unquote(&b, attempt), unquote(&b, text)
	return e
}

func (r *reader) reasoningChunk() Event {
	attempt, index := r.origin()
	block := r.int(`,"block":`)
	text := r.string(`,"text":`)
	summary := r.skip(`,"summary":true`)
	if !r.end() {
		return nil
	}
	e := &ReasoningChunk{Origin: Origin{Index: index}, Block: block, Summary: summary}
	var b strings.Builder
	b.Grow(len(attempt) + len(text))
	e.Attempt, e.Text = unquote(&b, attempt), unquote(&b, text)
	return e
}

func (r *reader) toolCallDelta() Event {
	attempt, index := r.origin()
	block := r.int(`,"block":`)
	call := r.string(`,"call":`)
	args := r.required(`,"arguments":`)
	if !r.end() {
		return nil
	}
	e := &ToolCallDelta{Origin: Origin{Index: index}, Block: block}
	var b strings.Builder
	b.Grow(len(attempt) + len(call) + len(args))
	e.Attempt, e.Call, e.Arguments = unquote(&b, attempt), unquote(&b, call), unquote(&b, args)
	return e
}

// reader consumes fields from the front of an event. Once something is not as
// Append writes it, failed stays set.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) skip(literal string) bool {
	if len(r.rest) < len(literal) || string(r.rest[:len(literal)]) != literal {
		return false
	}
	r.rest = r.rest[len(literal):]
	return true
}

func (r *reader) end() bool { return !r.failed && string(r.rest) == "}" }

func (r *reader) origin() (attempt []byte, index int) {
	attempt = r.string(`,"attempt":`)
	if !r.skip(`,"index":`) {
		r.failed = true
		return nil, 0
	}
	return attempt, r.number()
}

// int reads a field that may be absent.
func (r *reader) int(key string) int {
	if !r.skip(key) {
		return 0
	}
	return r.number()
}

// number reads a count. One that is negative, not in Append's form or
// too large for an int fails.
func (r *reader) number() int {
	n, i := 0, 0
	for i < len(r.rest) && r.rest[i]-'0' <= 9 {
		n = n*10 + int(r.rest[i]-'0')
		i++
	}
	if i == 0 || i > 9 || i > 1 && r.rest[0] == '0' {
		r.failed = true
		return 0
	}
	r.rest = r.rest[i:]
	return n
}

// required reads a string; string reads one that may be absent.
// Both return the text between the quotes, checked but still escaped.
func (r *reader) required(key string) []byte {
	before := len(r.rest)
	s := r.string(key)
	r.failed = r.failed || len(r.rest) == before
	return s
}

func (r *reader) string(key string) []byte {
	if !r.skip(key) {
		return nil
	}
	if !r.skip(`"`) {
		r.failed = true
		return nil
	}
	for i := 0; i < len(r.rest); {
		switch b := r.rest[i]; {
		case b == '"':
			s := r.rest[:i]
			r.rest = r.rest[i+1:]
			return s
		case b == '\\':
			_, size := escape(r.rest[i:])
			if size == 0 {
				r.failed = true
				return nil
			}
			i += size
		case b < ' ':
			r.failed = true
			return nil
		default:
			i++
		}
	}
	r.failed = true
	return nil
}

// unquote appends the meaning of a checked string to b, which must have room
// for it, and returns it. All strings of an event share one allocation so.
func unquote(b *strings.Builder, s []byte) string {
	start := b.Len()
	for len(s) > 0 {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			b.Write(s)
			break
		}
		b.Write(s[:i])
		c, size := escape(s[i:])
		b.WriteRune(c)
		s = s[i+size:]
	}
	return b.String()[start:]
}

// escape reads the escape sequence at the start of s. Its size is 0 when it is
// invalid or half of a surrogate pair.
func escape(s []byte) (c rune, size int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch s[1] {
	case '"', '\\', '/':
		return rune(s[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		if len(s) < 6 {
			return 0, 0
		}
		for _, d := range s[2:6] {
			switch {
			case d-'0' <= 9:
				c = c<<4 | rune(d-'0')
			case d|0x20 >= 'a' && d|0x20 <= 'f':
				c = c<<4 | rune(d|0x20-'a'+10)
			default:
				return 0, 0
			}
		}
		if utf8.ValidRune(c) {
			return c, 6
		}
	}
	return 0, 0
}
