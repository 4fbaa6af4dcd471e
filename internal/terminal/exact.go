package terminal

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// exact formats JSON as one line from which its meaning can be read exactly: a
// person decides about what they see. Invisible characters are written as
// escapes, escapes of visible characters as the characters. Text that is not
// JSON is cleaned.
func (p Profile) exact(raw json.RawMessage) string {
	cut := len(raw) > lineBytes
	var buf bytes.Buffer
	if err := json.Compact(&buf, raw); err != nil {
		return p.line(string(raw))
	}
	out := buf.Bytes()
	if cut {
		out = bytes.ToValidUTF8(out[:min(len(out), lineBytes)], nil)
	}
	line := p.clean(explicit(string(out)))
	if cut {
		line += p.marks().ellipsis
	}
	return line
}

// exactLines is exact on several indented lines.
func (p Profile) exactLines(raw json.RawMessage) string {
	var buf bytes.Buffer
	if err := json.Indent(&buf, raw, "", "  "); err != nil {
		return p.clean(string(raw))
	}
	return p.clean(explicit(buf.String()))
}

// explicit rewrites the characters of valid JSON. The result is valid JSON with
// the same meaning: outside strings JSON is ASCII.
func explicit(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		if s[0] == '\\' && len(s) > 1 {
			r, size := unescape(s)
			switch {
			case size == 0:
				b.WriteString(s[:2]) // a two-character escape
				s = s[2:]
				continue
			case shows(r) && r != '"' && r != '\\':
				b.WriteRune(r)
			default:
				b.WriteString(s[:size])
			}
			s = s[size:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '\n' || shows(r):
			b.WriteString(s[:size])
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				b.WriteString(`\u` + strconv.FormatInt(0x10000|int64(unit), 16)[1:])
			}
		}
		s = s[size:]
	}
	return b.String()
}

// unescape decodes an escape \uXXXX, or a surrogate pair of two. size is 0 if s
// does not start with one.
func unescape(s string) (r rune, size int) {
	unit := func(s string) (rune, bool) {
		if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(s[2:6], 16, 16)
		return rune(n), err == nil
	}
	first, ok := unit(s)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(first) {
		if second, ok := unit(s[6:]); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r, 12
			}
		}
		return utf8.RuneError, 6
	}
	return first, 6
}

// shows reports whether a character is visible: letters, marks, numbers,
// symbols and the plain space, except those that fonts draw as nothing.
func shows(r rune) bool {
	const brailleBlank = '\u2800'
	return r != utf8.RuneError && r != brailleBlank && unicode.IsPrint(r) &&
		!unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}
