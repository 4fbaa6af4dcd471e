package terminal

import (
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// Line returns a text as one line that a terminal obeys nothing in.
func Line(text string) string { return Profile{Unicode: true}.line(text) }

// CutLine is [Line] with at most so many columns, cut with an ellipsis.
func CutLine(p Profile, text string, columns int) string {
	p.Width, p.Color = columns, false
	return strings.TrimRight(p.cut(p.line(text), columns), " ")
}

// AwaitedLine returns one awaited thing as one harmless line: the tool and its
// arguments as they would run, or what the tool asks, in quotes.
func AwaitedLine(a events.Awaited) string {
	p := Profile{Unicode: true}
	tool := p.line(toolOf(&a))
	if a.For == events.WaitLimit {
		return "may it go on past " + tool + "?"
	}
	return strings.TrimSpace(tool + " " + p.argumentsOf(&a))
}
