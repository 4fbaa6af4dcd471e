package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Append appends the compact JSON of an event, "type" first, without a newline.
// The events of the token path are written by hand and allocate nothing when
// dst has room; the bytes are those that encoding/json would write. After an
// error dst is returned as it came.
func Append(dst []byte, e Event) ([]byte, error) {
	switch e := e.(type) {
	case *TextChunk:
		return appendTextChunk(dst, e), nil
	case *ReasoningChunk:
		if compact(e.Carry) {
			return appendReasoningChunk(dst, e), nil
		}
	case *ToolCallStart:
		return appendToolCallStart(dst, e), nil
	case *ToolCallDelta:
		return appendToolCallDelta(dst, e), nil
	case *ToolCallEnd:
		if compact(e.Carry) {
			return appendToolCallEnd(dst, e), nil
		}
	case *ToolOutput:
		return appendToolOutput(dst, e), nil
	case *GenerationJob:
		return appendJob(dst, e)
	case *Unknown:
		return appendUnknown(dst, e)
	}
	return appendSlow(dst, e)
}

func appendTextChunk(dst []byte, e *TextChunk) []byte {
	dst = append(dst, `{"type":"TextChunk"`...)
	dst = appendOrigin(dst, &e.Origin)
	dst = appendInt(dst, `,"block":`, e.Block)
	dst = appendString(append(dst, `,"text":`...), e.Text)
	dst = appendFlag(dst, `,"refusal":true`, e.Refusal)
	return append(dst, '}')
}

func appendReasoningChunk(dst []byte, e *ReasoningChunk) []byte {
	dst = append(dst, `{"type":"ReasoningChunk"`...)
	dst = appendOrigin(dst, &e.Origin)
	dst = appendInt(dst, `,"block":`, e.Block)
	dst = appendText(dst, `,"text":`, e.Text)
	dst = appendFlag(dst, `,"summary":true`, e.Summary)
	dst = appendRaw(dst, `,"carry":`, e.Carry)
	return append(dst, '}')
}

func appendToolCallStart(dst []byte, e *ToolCallStart) []byte {
	dst = append(dst, `{"type":"ToolCallStart"`...)
	dst = appendOrigin(dst, &e.Origin)
	dst = appendInt(dst, `,"block":`, e.Block)
	dst = appendText(dst, `,"call":`, e.Call)
	dst = appendText(dst, `,"provider_id":`, e.ProviderID)
	dst = appendString(append(dst, `,"name":`...), e.Name)
	dst = appendFlag(dst, `,"custom":true`, e.Custom)
	return append(dst, '}')
}

func appendToolCallDelta(dst []byte, e *ToolCallDelta) []byte {
	dst = append(dst, `{"type":"ToolCallDelta"`...)
	dst = appendOrigin(dst, &e.Origin)
	dst = appendInt(dst, `,"block":`, e.Block)
	dst = appendText(dst, `,"call":`, e.Call)
	dst = appendString(append(dst, `,"arguments":`...), e.Arguments)
	return append(dst, '}')
}

func appendToolCallEnd(dst []byte, e *ToolCallEnd) []byte {
	dst = append(dst, `{"type":"ToolCallEnd"`...)
	dst = appendOrigin(dst, &e.Origin)
	dst = appendInt(dst, `,"block":`, e.Block)
	dst = appendText(dst, `,"call":`, e.Call)
	dst = appendText(dst, `,"invalid":`, e.Invalid)
	dst = appendRaw(dst, `,"carry":`, e.Carry)
	return append(dst, '}')
}

func appendToolOutput(dst []byte, e *ToolOutput) []byte {
	dst = appendString(append(dst, `{"type":"ToolOutput","call":`...), e.Call)
	dst = appendText(dst, `,"attempt":`, e.Attempt)
	dst = strconv.AppendInt(append(dst, `,"index":`...), int64(e.Index), 10)
	dst = appendString(append(dst, `,"text":`...), e.Text)
	return append(dst, '}')
}

func appendOrigin(dst []byte, o *Origin) []byte {
	dst = appendText(dst, `,"attempt":`, o.Attempt)
	return strconv.AppendInt(append(dst, `,"index":`...), int64(o.Index), 10)
}

// appendInt appends a field that is left out when it is zero, as do appendText,
// appendFlag and appendRaw.
func appendInt(dst []byte, key string, n int) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, key...), int64(n), 10)
}

func appendText(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	return appendString(append(dst, key...), s)
}

func appendFlag(dst []byte, field string, on bool) []byte {
	if !on {
		return dst
	}
	return append(dst, field...)
}

func appendRaw(dst []byte, key string, raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return dst
	}
	return append(append(dst, key...), raw...)
}

// appendString writes a JSON string as encoding/json does without HTML
// escaping: bytes that are not UTF-8 become U+FFFD, and the line separators
// that JavaScript once choked on are escaped.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if plain(b) {
			i++
			continue
		}
		size := 1
		if b >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			invalid := r == utf8.RuneError && size == 1
			if !invalid && r != '\u2028' && r != '\u2029' {
				i += size
				continue
			}
			dst = append(dst, s[start:i]...)
			if invalid {
				dst = append(dst, `\ufffd`...)
			} else {
				dst = append(dst, `\u202`...)
				dst = append(dst, hex[r&0xf])
			}
		} else {
			dst = append(dst, s[start:i]...)
			switch b {
			case '\\', '"':
				dst = append(dst, '\\', b)
			case '\b':
				dst = append(dst, '\\', 'b')
			case '\f':
				dst = append(dst, '\\', 'f')
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&0xf])
			}
		}
		i += size
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// plain reports whether an ASCII byte needs no escape in a JSON string.
func plain(b byte) bool { return b >= ' ' && b < utf8.RuneSelf && b != '"' && b != '\\' }

// compact reports whether raw is valid JSON without space between its tokens,
// so that encoding/json would copy it; an empty one counts as compact.
func compact(raw json.RawMessage) bool {
	quoted := false
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			quoted = !quoted
		case '\\':
			i++
		case ' ', '\t', '\n', '\r':
			if !quoted {
				return false
			}
		}
	}
	return len(raw) == 0 || json.Valid(raw)
}

// appendUnknown copies an event of an unknown type. Only line breaks are
// removed.
func appendUnknown(dst []byte, u *Unknown) ([]byte, error) {
	switch {
	case len(u.Raw) == 0:
		return dst, fmt.Errorf("encode %s: an event of an unknown type has no bytes", u.Name)
	case bytes.IndexByte(u.Raw, '\n') < 0:
		return append(dst, u.Raw...), nil
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, u.Raw); err != nil {
		return dst, fmt.Errorf("encode %s: %w", u.Name, err)
	}
	return append(dst, buf.Bytes()...), nil
}

// appendSlow is the general path; the others must write the same bytes.
func appendSlow(dst []byte, e Event) ([]byte, error) {
	body, err := appendJSON(nil, e)
	if err != nil {
		return dst, fmt.Errorf("encode %s: %w", e.Type(), err)
	}
	if body[0] != '{' {
		return dst, fmt.Errorf("encode %s: the event is %s, not an object", e.Type(), body)
	}
	dst = append(dst, `{"type":"`...)
	dst = append(dst, e.Type()...)
	dst = append(dst, '"')
	if len(body) > 2 {
		dst = append(dst, ',')
	}
	return append(dst, body[1:]...), nil
}
