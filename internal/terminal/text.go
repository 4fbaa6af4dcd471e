package terminal

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// lineBytes bounds what is looked at to make one line of a text, which may be
// megabytes long.
const lineBytes = 8 << 10

// cleaner makes text harmless as it comes in pieces. C0 controls and DEL are
// shown as cat -v shows them (^[), C1 controls, bidirectional overrides,
// embeddings and isolates and broken UTF-8 as one replacement sign. Newlines
// and tabs stay; U+2028 and U+2029 become newlines. CR LF becomes a newline and so does a CR alone, which would
// let a text write over what stands on its line.
type cleaner struct {
	bad string
	cr  bool // the last piece ended in a CR that is not yet written
}

func (c *cleaner) append(dst []byte, s string) []byte {
	for _, r := range s {
		if c.cr {
			c.cr = false
			dst = append(dst, '\n')
			if r == '\n' {
				continue
			}
		}
		switch {
		case r == '\r':
			c.cr = true
		case r == '\n' || r == '\t':
			dst = append(dst, byte(r))
		case r < 0x20 || r == 0x7f:
			dst = append(dst, '^', byte(r)^0x40)
		case r < 0x80:
			dst = append(dst, byte(r))
		case r == '\u2028' || r == '\u2029':
			dst = append(dst, '\n')
		case hostile(r):
			dst = append(dst, c.bad...)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// hostile reports runes outside ASCII that change how others are shown: C1, and
// the bidirectional controls of "Trojan Source" (CVE-2021-42574). Range over a
// string gives RuneError for broken UTF-8; a true U+FFFD comes to the same.
func hostile(r rune) bool {
	return r <= 0x9f || r == utf8.RuneError ||
		(r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069)
}

// clean makes a whole text harmless.
func (p Profile) clean(s string) string {
	c := cleaner{bad: p.marks().bad}
	out := c.append(make([]byte, 0, len(s)), s)
	if c.cr {
		out = append(out, '\n')
	}
	return string(out)
}

// line makes a text harmless and one line: white space of any length becomes
// one space.
func (p Profile) line(s string) string {
	cut := len(s) > lineBytes
	if cut {
		s = strings.ToValidUTF8(s[:lineBytes], "")
	}
	s = strings.Join(strings.Fields(p.clean(s)), " ")
	if cut {
		s += p.marks().ellipsis
	}
	return s
}

// Line makes a text of others harmless and one line of at most columns columns;
// 0 is any number.
func (p Profile) Line(text string, columns int) string {
	line := p.line(text)
	if columns > 0 {
		line = p.cut(line, columns)
	}
	return line
}

// cells is the number of columns that s takes in a terminal, counted in grapheme
// clusters: an emoji sequence takes what its sign takes.
func cells(s string) int { return ansi.StringWidth(s) }

// cut shortens s to at most width columns, with an ellipsis where it was cut.
func (p Profile) cut(s string, width int) string {
	tail := p.marks().ellipsis
	if cells(tail) >= width {
		tail = ""
	}
	return ansi.Truncate(s, width, tail)
}

// Wrap breaks a line of ours between words and puts indent spaces before each
// line of it.
func (p Profile) Wrap(line string, indent int) string {
	return indented(strings.Repeat(" ", indent), p.narrower(indent).wrap(line))
}

// wrap breaks a line of ours between words, never inside one: ids are copied
// whole. What others said is never wrapped, so that it can be copied.
func (p Profile) wrap(line string) string {
	if p.Width <= 0 || cells(line) <= p.Width {
		return line
	}
	return strings.Join(fill(strings.Fields(line), " ", p.Width), "\n")
}

// fill joins words by a separator into lines of at most width columns; 0 is one
// line. A word that is wider has a line of its own. The word wrap of x/ansi also
// breaks at hyphens, which would tear ids apart.
func fill(words []string, separator string, width int) []string {
	var lines []string
	line := ""
	for i, word := range words {
		switch {
		case i == 0:
			line = word
		case width > 0 && line != "" && cells(line+separator+word) > width:
			lines, line = append(lines, line), word
		default:
			line += separator + word
		}
	}
	return append(lines, line)
}

// took writes a duration for people: 3 ms, 1.2 s, 2 m 5 s.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d m %d s", int(d.Minutes()), int(d.Seconds())%60)
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1_000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// count writes a number with its noun.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// cost writes US dollars for people: $12.34, $0.0123.
func cost(usd float64) string {
	switch {
	case usd >= 1:
		return fmt.Sprintf("$%.2f", usd)
	case usd >= 0.00005:
		return fmt.Sprintf("$%.4f", usd)
	}
	return "under $0.0001"
}

// roughly writes a time that may be long in its two largest units, or one where
// the other says little: 40 s, 1 m 30 s, 25 m, 3 h 20 m, 7 d.
func roughly(d time.Duration) string {
	pair := func(n, m time.Duration, large, small string) string {
		if m == 0 {
			return fmt.Sprintf("%d %s", n, large)
		}
		return fmt.Sprintf("%d %s %d %s", n, large, m, small)
	}
	const day = 24 * time.Hour
	switch d = max(0, d); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d.Round(time.Second)/time.Second)
	case d < 10*time.Minute:
		d = d.Round(time.Second)
		return pair(d/time.Minute, d%time.Minute/time.Second, "m", "s")
	case d < time.Hour:
		return fmt.Sprintf("%d m", d.Round(time.Minute)/time.Minute)
	case d < day:
		d = d.Round(time.Minute)
		return pair(d/time.Hour, d%time.Hour/time.Minute, "h", "m")
	}
	d = d.Round(time.Hour)
	return pair(d/day, d%day/time.Hour, "d", "h")
}

// clock writes a moment with as much as it takes to know it, seen from at:
// 12:00:40 UTC within the hour, the date otherwise and when at is not known.
func clock(ms int64, at time.Time) string {
	t := time.UnixMilli(ms).UTC()
	if d := t.Sub(at); !at.IsZero() && d < time.Hour && d > -time.Hour {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("2006-01-02 15:04 UTC")
}

// when writes a moment to come, how far and which: in 2 h (2026-07-01 14:00 UTC).
func when(ms int64, at time.Time) string {
	if at.IsZero() {
		return "at " + clock(ms, at)
	}
	return ahead(time.UnixMilli(ms).Sub(at)) + " (" + clock(ms, at) + ")"
}

// ahead writes how far away a moment is.
func ahead(d time.Duration) string {
	if d <= 0 {
		return "now"
	}
	return "in " + roughly(d)
}
