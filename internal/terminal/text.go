package terminal

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/parleybus/parley/internal/visible"
)

// lineBytes bounds the bytes read to make one line of a text, which may be
// megabytes long.
const lineBytes = 8 << 10

// clean cleans a whole text.
func (p Profile) clean(s string) string {
	t := visible.Text{Bad: p.marks().bad}
	return string(t.End(t.Append(make([]byte, 0, len(s)), s)))
}

// line cleans a text and joins its lines: white space of any length becomes one
// space.
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

// Line cleans a text of others and returns it as one line of at most columns
// columns; 0 means no limit.
func (p Profile) Line(text string, columns int) string {
	line := p.line(text)
	if columns > 0 {
		line = p.cut(line, columns)
	}
	return line
}

// cells returns the number of columns that s takes in a terminal, counted by
// grapheme cluster: an emoji sequence takes the columns of its symbol.
func cells(s string) int { return ansi.StringWidth(s) }

// cut shortens s to at most width columns, with an ellipsis at the cut.
func (p Profile) cut(s string, width int) string {
	tail := p.marks().ellipsis
	if cells(tail) >= width {
		tail = ""
	}
	return ansi.Truncate(s, width, tail)
}

// Wrap wraps a line of Parley's own between words and puts indent spaces before
// each line.
func (p Profile) Wrap(line string, indent int) string {
	return indented(strings.Repeat(" ", indent), p.narrower(indent).wrap(line))
}

// wrap wraps a line of Parley's own between words, never inside one, so that
// ids can be copied whole. Text of others is never wrapped.
func (p Profile) wrap(line string) string {
	if p.Width <= 0 || cells(line) <= p.Width {
		return line
	}
	return strings.Join(fill(strings.Fields(line), " ", p.Width), "\n")
}

// fill joins words by a separator into lines of at most width columns; 0 means
// one line. A wider word has a line of its own. The word wrap of x/ansi also
// breaks at hyphens, which would split ids.
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

// took formats a duration for people: 3 ms, 1.2 s, 2 m 5 s.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d m %d s", int(d.Minutes()), int(d.Seconds())%60)
}

// size formats a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1_000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// count formats a number with its noun.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// cost formats US dollars for people: $12.34, $0.0123.
func cost(usd float64) string {
	switch {
	case usd >= 1:
		return fmt.Sprintf("$%.2f", usd)
	case usd >= 0.00005:
		return fmt.Sprintf("$%.4f", usd)
	}
	return "under $0.0001"
}

// roughly formats a duration in its two largest units, or in one if the other
// is negligible: 40 s, 1 m 30 s, 25 m, 3 h 20 m, 7 d.
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

// clock formats a time with the precision needed at the time at: 12:00:40 UTC
// within the hour, otherwise with the date. A zero at is unknown.
func clock(ms int64, at time.Time) string {
	t := time.UnixMilli(ms).UTC()
	if d := t.Sub(at); !at.IsZero() && d < time.Hour && d > -time.Hour {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("2006-01-02 15:04 UTC")
}

// when formats a future time as distance and time: in 2 h (2026-07-01 14:00
// UTC).
func when(ms int64, at time.Time) string {
	if at.IsZero() {
		return "at " + clock(ms, at)
	}
	return ahead(time.UnixMilli(ms).Sub(at)) + " (" + clock(ms, at) + ")"
}

// ahead formats how far away a time is.
func ahead(d time.Duration) string {
	if d <= 0 {
		return "now"
	}
	return "in " + roughly(d)
}
