// Package visible rewrites text from outside so that a person sees all of it, in
// the order in which it is. It escapes what controls a terminal, reorders text
// or is drawn as nothing: C0 and C1 controls, bidirectional controls
// (CVE-2021-42574), zero-width characters, tags (U+E0000), variation selectors
// and other default-ignorable characters. Text in every script and emoji stay
// readable: see sequence for the rule.
//
// Everything that Parley prints for people passes through this package.
package visible

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Text rewrites text that arrives in pieces. C0 controls and DEL are written as
// by cat -v (^[), other hidden characters as by less (<U+202E>), invalid UTF-8 as
// one replacement character. Newlines and tabs are kept; U+2028 and U+2029 become
// newlines. CR LF becomes a newline, and so does CR alone, with which a text could
// overwrite its line.
//
// A joiner at the end of a piece is written with the next one.
type Text struct {
	Bad string // for invalid UTF-8; empty means U+FFFD
	cr  bool   // the last piece ended in a CR that is not written yet
	seq sequence
}

// Append appends the next piece to dst.
func (t *Text) Append(dst []byte, s string) []byte {
	emit := func(r rune, keep bool) { dst = appendText(dst, r, keep) }
	for i, r := range s {
		if t.cr {
			t.cr = false
			dst = append(dst, '\n')
			if r == '\n' {
				continue
			}
		}
		switch {
		case r == '\r':
			t.seq.end(emit)
			t.cr = true
		case r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029':
			t.seq.end(emit)
			if r != '\t' {
				r = '\n'
			}
			dst = append(dst, byte(r))
		case r == utf8.RuneError:
			t.seq.end(emit)
			if t.Bad != "" {
				dst = append(dst, t.Bad...)
			} else {
				dst = utf8.AppendRune(dst, r)
			}
		case r >= ' ' && r < 0x7f && len(t.seq.held) == 0:
			dst = append(dst, s[i])
			t.seq.base, t.seq.last, t.seq.marks, t.seq.chosen = r, r, 0, false
		default:
			t.seq.next(r, emit)
		}
	}
	return dst
}

// End appends what the last piece left open.
func (t *Text) End(dst []byte) []byte {
	t.seq.end(func(r rune, keep bool) { dst = appendText(dst, r, keep) })
	if t.cr {
		t.cr = false
		dst = append(dst, '\n')
	}
	return dst
}

func appendText(dst []byte, r rune, keep bool) []byte {
	switch {
	case keep:
		return utf8.AppendRune(dst, r)
	case r < 0x20 || r == 0x7f:
		return append(dst, '^', byte(r)^0x40)
	}
	return fmt.Appendf(dst, "<U+%04X>", r)
}

// String rewrites a whole text.
func String(s string) string {
	var t Text
	return string(t.End(t.Append(make([]byte, 0, len(s)), s)))
}

// Writer rewrites all that is written to W, except the sequences in Own. Each
// Write holds whole characters.
type Writer struct {
	W    io.Writer
	Own  []string // control sequences of the program itself
	text Text
}

// Write implements [io.Writer].
func (w *Writer) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p))
	rest := string(p)
	for rest != "" {
		at := strings.IndexAny(rest, "\x1b\r")
		if at < 0 {
			at = len(rest)
		}
		out = w.text.Append(out, rest[:at])
		if rest = rest[at:]; rest == "" {
			break
		}
		own := w.own(rest)
		if own == "" {
			out = w.text.Append(out, rest[:1])
			rest = rest[1:]
			continue
		}
		out = append(w.text.End(out), own...)
		rest = rest[len(own):]
	}
	// What is written must be seen now: nothing is held back.
	out = w.text.flush(out)
	if _, err := w.W.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// own returns the sequence of the program itself that s begins with.
func (w *Writer) own(s string) string {
	for _, own := range w.Own {
		if strings.HasPrefix(s, own) {
			return own
		}
	}
	return ""
}

// flush appends what is held, and keeps the characters before it as context.
func (t *Text) flush(dst []byte) []byte {
	if len(t.seq.held) > 0 || t.cr {
		return t.End(dst)
	}
	return dst
}
