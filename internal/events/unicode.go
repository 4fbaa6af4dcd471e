package events

import (
	"strings"
	"unicode/utf8"
)

// WellFormed returns JSON, or what a model wrote in its place, whose escapes of half
// surrogate pairs are replaced: strict parsers refuse a whole request for one.
//
// Source: RFC 8259, section 8.2.
func WellFormed(raw string) string {
	if !utf8.ValidString(raw) {
		raw = strings.ToValidUTF8(raw, "\uFFFD")
	}
	if !strings.Contains(raw, `\u`) {
		return raw
	}
	var out strings.Builder
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			next := strings.IndexByte(raw[i:], '\\')
			if next < 0 {
				next = len(raw) - i
			}
			out.WriteString(raw[i : i+next])
			i += next
			continue
		}
		half, ok := CodeUnit(raw[i:])
		switch {
		case !ok || half < 0xD800 || half > 0xDFFF:
			n := min(2, len(raw)-i) // an escaped backslash is one escape
			out.WriteString(raw[i : i+n])
			i += n
			continue
		case half < 0xDC00:
			if low, ok := CodeUnit(raw[i+6:]); ok && low >= 0xDC00 && low <= 0xDFFF {
				out.WriteString(raw[i : i+12])
				i += 12
				continue
			}
		}
		out.WriteString(`\ufffd`)
		i += 6
	}
	return out.String()
}

// CodeUnit returns the code unit of a \u escape at the beginning of JSON text.
func CodeUnit[T string | []byte](s T) (unit rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for i := 2; i < 6; i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(c)
	}
	return unit, true
}
