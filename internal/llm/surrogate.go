package llm

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/parleybus/parley/internal/events"
)

// Hosts cut text between tokens, and a token may end in the middle of a character
// beyond U+FFFF: then one piece ends with the escape of the first half of its
// surrogate pair, and the next begins with the second. A JSON decoder replaces each
// half. So half pairs are marked before decoding, and the [Writer] joins them.
//
// A mark is U+FDD0, which is never a character, and a private character in place of
// the half: six bytes, as many as the escape.
const (
	mark      = '\uFDD0'
	firstHalf = 0xD800
	lowHalf   = 0xDC00
	halves    = 0x800
	inMark    = 0xE000 // stands for firstHalf
	markLen   = 6
)

// markHalves replaces the escapes of half surrogate pairs in JSON, in place.
func markHalves(line []byte) {
	for i := 0; ; {
		n := bytes.IndexByte(line[i:], '\\')
		if n < 0 || i+n+1 >= len(line) {
			return
		}
		i += n
		unit, ok := events.CodeUnit(line[i:])
		switch {
		case !ok || unit < firstHalf || unit >= firstHalf+halves:
			i += 2 // an escaped backslash is one escape
			continue
		case unit < lowHalf:
			if low, ok := events.CodeUnit(line[i+markLen:]); ok && low >= lowHalf && low < firstHalf+halves {
				i += 2 * markLen
				continue
			}
		}
		utf8.AppendRune(utf8.AppendRune(line[:i], mark), inMark+unit-firstHalf)
		i += markLen
	}
}

// Unmark joins marked halves of surrogate pairs and replaces those without another
// half.
func Unmark(s string) string {
	joined, rest := joinHalves(s)
	if rest != "" {
		joined += string(utf8.RuneError)
	}
	return joined
}

// joinHalves is Unmark, but returns the mark of a first half at the end: the other may
// follow.
func joinHalves(s string) (joined, rest string) {
	if !strings.ContainsRune(s, mark) {
		return s, ""
	}
	var out strings.Builder
	for s != "" {
		before, after, found := strings.Cut(s, string(mark))
		out.WriteString(before)
		if s = after; !found {
			break
		}
		unit, size := half(s)
		if size == 0 {
			out.WriteRune(mark) // the provider's own
			continue
		}
		s = s[size:]
		next, size := rune(0), 0
		if after, ok := strings.CutPrefix(s, string(mark)); ok {
			next, size = half(after)
		}
		switch {
		case unit < lowHalf && s == "":
			return out.String(), string(mark) + string(inMark+unit-firstHalf)
		case unit < lowHalf && size > 0 && next >= lowHalf:
			out.WriteRune((unit-firstHalf)<<10 + next - lowHalf + 0x10000)
			s = s[markLen:]
		default:
			out.WriteRune(utf8.RuneError)
		}
	}
	return out.String(), ""
}

// half returns the code unit that the second character of a mark stands for, and its
// size; 0 if it is not one.
func half(s string) (unit rune, size int) {
	r, size := utf8.DecodeRuneInString(s)
	if r < inMark || r >= inMark+halves {
		return 0, 0
	}
	return r - inMark + firstHalf, size
}
