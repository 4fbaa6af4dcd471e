// Package terminal shows events to a person, in a terminal or through a pipe:
// a conversation as it streams ([Renderer]), a transcript ([Transcript]), a
// list ([Table], [Approvals]). [Prompt] asks the person about what waits.
//
// What a model, a tool or another person wrote is never obeyed by the terminal:
// control characters and bidirectional overrides are made visible or taken out
// before they are written. Nothing here reads a clock; times are those of the
// log. Nothing moves the cursor, so what was shown stays in the scrollback and
// can be copied.
package terminal

import (
	"os"
	"strconv"
	"strings"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"
)

// The widths that are assumed, in columns.
const (
	widthMin     = 20  // a terminal that says less is taken to have this
	widthDefault = 80  // a terminal that does not say
	widthPipe    = 160 // of a card, where there is no terminal
)

// Profile is what can be shown on an output.
type Profile struct {
	// Color allows SGR sequences (bold, dim, colours).
	Color bool
	// Width is the number of columns, at least 20; 0 means that the output is
	// not a terminal.
	Width int
	// Interactive says that a person sits at a terminal that can move its
	// cursor.
	Interactive bool
	// Unicode allows marks outside ASCII. Texts are shown as they are anyway.
	Unicode bool
}

// Detect finds out what out can show. NO_COLOR (https://no-color.org) wins over
// CLICOLOR_FORCE, which wins over CLICOLOR=0, TERM=dumb and an output that is
// not a terminal. The locale is LC_ALL, LC_CTYPE or LANG, the first that is set.
func Detect(out *os.File, env func(string) string) Profile {
	fd := out.Fd()
	tty := isatty.IsTerminal(fd) || isatty.IsCygwinTerminal(fd)
	columns := 0
	if tty {
		if w, _, err := term.GetSize(int(fd)); err == nil {
			columns = w
		}
	}
	return profile(tty, columns, env)
}

func profile(tty bool, columns int, env func(string) string) Profile {
	p := Profile{Unicode: unicodeLocale(env)}
	if tty {
		name := env("TERM")
		// Windows Terminal sets no TERM.
		p.Interactive = name != "dumb" && (name != "" || env("WT_SESSION") != "")
		p.Width = terminalWidth(columns, env)
	}
	force := env("CLICOLOR_FORCE")
	switch {
	case env("NO_COLOR") != "":
	case force != "" && force != "0":
		p.Color = true
	default:
		p.Color = p.Interactive && env("CLICOLOR") != "0"
	}
	return p
}

func terminalWidth(columns int, env func(string) string) int {
	if columns <= 0 {
		// Serial lines and some containers report no size.
		columns, _ = strconv.Atoi(env("COLUMNS"))
	}
	if columns <= 0 {
		columns = widthDefault
	}
	return max(columns, widthMin)
}

func unicodeLocale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(env(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// columns is the width a card may take.
func (p Profile) columns() int {
	if p.Width <= 0 {
		return widthPipe
	}
	return p.Width
}

// style is an SGR sequence; the empty one changes nothing.
type style string

const (
	plain  style = ""
	bold   style = "\x1b[1m"
	dim    style = "\x1b[2m"
	red    style = "\x1b[31m"
	green  style = "\x1b[32m"
	yellow style = "\x1b[33m"
	reset        = "\x1b[0m"
)

// paint returns text in a style, ended, so that nothing that follows inherits
// it.
func (p Profile) paint(s style, text string) string {
	if !p.Color || s == plain || text == "" {
		return text
	}
	return string(s) + text + reset
}

// Dim is text for the second glance.
func (p Profile) Dim(text string) string { return p.paint(dim, text) }

// marks are the signs beside texts.
type marks struct {
	call, ok, fail, pause, arrow, dash, dot, bar, ellipsis, bad string
}

func (p Profile) marks() marks {
	if p.Unicode {
		return marks{
			call: "▸", ok: "✓", fail: "✗", pause: "⏸", arrow: "→",
			dash: "—", dot: "·", bar: "│", ellipsis: "…", bad: "\uFFFD",
		}
	}
	return marks{
		call: "*", ok: "+", fail: "x", pause: "||", arrow: "->",
		dash: "---", dot: "|", bar: "|", ellipsis: "...", bad: "?",
	}
}
