package visible

import (
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON appends compact or indented JSON to dst, with hidden characters as \u
// escapes: the result is JSON with the same meaning, as outside its strings JSON
// is ASCII. Invalid UTF-8 becomes \ufffd.
func JSON(dst []byte, src []byte) []byte {
	var seq sequence
	emit := func(r rune, keep bool) {
		if keep {
			dst = utf8.AppendRune(dst, r)
		} else {
			dst = appendUnits(dst, r)
		}
	}
	for len(src) > 0 {
		r, size := utf8.DecodeRune(src)
		src = src[size:]
		switch {
		case r == utf8.RuneError && size == 1:
			seq.end(emit)
			dst = append(dst, `\ufffd`...)
		case r == '\n' || r == '\t':
			seq.end(emit)
			dst = append(dst, byte(r))
		default:
			seq.next(r, emit)
		}
	}
	seq.end(emit)
	return dst
}

// JSONWriter rewrites JSON that is written to it, a document or a line at a time.
type JSONWriter struct{ W io.Writer }

// Write implements [io.Writer].
func (w JSONWriter) Write(p []byte) (int, error) {
	if _, err := w.W.Write(JSON(make([]byte, 0, len(p)), p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Exact rewrites valid JSON so that its meaning can be read from it: a person
// decides about what they see. Beyond what [JSON] does, every space but the plain
// one and every character without a shape is an escape, an escape of a visible
// character is the character, and letters that pass for ASCII are escapes where
// they could mislead: see lookalike. The result is valid JSON with the same
// meaning.
func Exact(s string) string {
	out := make([]byte, 0, len(s))
	var seq sequence
	emit := func(r rune, keep bool) {
		if keep && (shows(r) || hides(r)) {
			out = utf8.AppendRune(out, r)
		} else {
			out = appendUnits(out, r)
		}
	}
	for len(s) > 0 {
		if s[0] == '\\' && len(s) > 1 {
			r, size := unescape(s)
			switch {
			case size == 0:
				seq.end(emit)
				out = append(out, s[:2]...) // a two-character escape
				size = 2
			case shows(r) && r != '"' && r != '\\':
				seq.next(r, emit)
			default:
				seq.end(emit)
				out = append(out, s[:size]...)
			}
			s = s[size:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		switch {
		case r == '\n':
			seq.end(emit)
			out = append(out, '\n')
		case r == utf8.RuneError:
			seq.end(emit)
			out = append(out, `\ufffd`...)
		default:
			seq.next(r, emit)
		}
	}
	seq.end(emit)
	return exposed(string(out))
}

// Quoted returns a text as a JSON string, as [Exact] shows it.
func Quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch r {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		default:
			if r < ' ' {
				b.Write(appendUnits(nil, r))
			} else {
				b.WriteRune(r)
			}
		}
	}
	b.WriteByte('"')
	return Exact(b.String())
}

// appendUnits appends a character as JSON escapes.
func appendUnits(dst []byte, r rune) []byte {
	for _, unit := range utf16.Encode([]rune{r}) {
		dst = append(dst, `\u`...)
		dst = append(dst, strconv.FormatInt(0x10000|int64(unit), 16)[1:]...)
	}
	return dst
}

// unescape decodes an escape of JSON: \u and four hexadecimal digits, or two of them
// as a surrogate pair. size is 0 if s does not start with one.
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
	return r != utf8.RuneError && r != brailleBlank && (unicode.IsPrint(r) || emoji(r)) && !hides(r)
}
