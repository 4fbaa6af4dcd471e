package bus

import (
	"strings"
	"unicode/utf8"
)

// Preview is the beginning of a text, cut at a character and at most n bytes.
func Preview(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.ToValidUTF8(s[:n], "\uFFFD")
}

// oneLine keeps a text from breaking a header or a log line.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
}
