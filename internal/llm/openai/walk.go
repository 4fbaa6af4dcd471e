package openai

import (
	"bytes"
	"encoding/json"
	"iter"
	"strconv"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// The chunks of a stream are small and numerous, and hosts send numbers or
// lists instead of strings, and null anywhere. So a payload is checked once, and
// then it is walked: every value stays raw until its reader interprets it. A walk
// over bytes that are not JSON ends early; it never panics.

// maxDepth is the depth at which encoding/json refuses a value.
const maxDepth = 10_000

// valid reports whether data is one JSON value, as [json.Valid] does. gjson takes a
// third of its time, but its recursion has no bound: larger payloads, which may nest
// deeper than maxDepth, are left to encoding/json.
func valid(data []byte) bool {
	if len(data) <= maxDepth {
		return gjson.ValidBytes(data)
	}
	return json.Valid(data)
}

// members yields the keys and values of a JSON object in order; nothing if raw
// is not an object. Keys are unescaped.
func members(raw []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		i := skipSpace(raw, 0)
		if i >= len(raw) || raw[i] != '{' {
			return
		}
		for i = skipSpace(raw, i+1); i < len(raw) && raw[i] == '"'; i = skipSpace(raw, i+1) {
			end := skipValue(raw, i)
			key := raw[i:end]
			i = skipSpace(raw, end)
			if i >= len(raw) || raw[i] != ':' {
				return
			}
			i = skipSpace(raw, i+1)
			end = skipValue(raw, i)
			if !yield(plainKey(key), raw[i:end]) {
				return
			}
			i = skipSpace(raw, end)
			if i >= len(raw) || raw[i] != ',' {
				return
			}
		}
	}
}

// elements yields the values of a JSON array with their positions.
func elements(raw []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		i := skipSpace(raw, 0)
		if i >= len(raw) || raw[i] != '[' {
			return
		}
		i = skipSpace(raw, i+1)
		for n := 0; i < len(raw) && raw[i] != ']'; n++ {
			end := skipValue(raw, i)
			if end == i || !yield(n, raw[i:end]) {
				return
			}
			i = skipSpace(raw, end)
			if i >= len(raw) || raw[i] != ',' {
				return
			}
			i = skipSpace(raw, i+1)
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skipValue returns where the value that begins at i ends.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return i
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		for depth := 0; i < len(b); {
			switch b[i] {
			case '"':
				i = skipString(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return i
	}
	for ; i < len(b); i++ {
		switch b[i] {
		case ',', ']', '}', ' ', '\n', '\r', '\t', ':':
			return i
		}
	}
	return i
}

func skipString(b []byte, i int) int {
	for i++; i < len(b); {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		end := i + n
		escapes := 0
		for end-escapes-1 >= i && b[end-escapes-1] == '\\' {
			escapes++
		}
		i = end + 1
		if escapes%2 == 0 {
			return i
		}
	}
	return len(b)
}

func plainKey(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') >= 0 || !utf8.Valid(quoted) {
		return []byte(text(quoted))
	}
	if len(quoted) < 2 {
		return nil
	}
	return quoted[1 : len(quoted)-1]
}

func isNull(raw []byte) bool { return len(raw) == 0 || string(raw) == "null" }

// text returns a value as text: a string unquoted, null as "", any other value
// as JSON.
func text(raw []byte) string {
	if isNull(raw) {
		return ""
	}
	if len(raw) < 2 || raw[0] != '"' {
		return string(raw)
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return string(raw)
	}
	return s
}

// number decodes a count; nil if the value is not one.
func number(raw []byte) *int64 {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return &n
	}
	f, err := strconv.ParseFloat(text(raw), 64)
	if err != nil || f < 0 || f > 1<<53 {
		return nil
	}
	n := int64(f)
	return &n
}

// object is a JSON object under construction: a later value of a key replaces
// the earlier one, null does not.
type object struct {
	keys   []string
	values map[string]json.RawMessage
}

func (o *object) set(key string, value []byte) {
	if isNull(value) {
		return
	}
	if o.values == nil {
		o.values = map[string]json.RawMessage{}
	}
	if _, had := o.values[key]; !had {
		o.keys = append(o.keys, key)
	}
	o.values[key] = bytes.Clone(value)
}

// raw returns the object's JSON; nil if it is empty.
func (o *object) raw() json.RawMessage {
	if len(o.keys) == 0 {
		return nil
	}
	out := []byte{'{'}
	for i, key := range o.keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, quote(key)...), ':')
		out = append(out, o.values[key]...)
	}
	return append(out, '}')
}

// quote returns s as a JSON string. Marshalling a string cannot fail.
func quote(s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return []byte(`""`)
	}
	return bytes.TrimRight(buf.Bytes(), "\n")
}
