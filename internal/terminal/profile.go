// Package terminal shows events to a person, in a terminal or through a pipe: a
// conversation as it streams ([Renderer]), a transcript ([Transcript]), a list
// ([Table], [Approvals]). [Prompt] prompts a person for a decision.
//
// Text of a model, a tool or another person cannot control the terminal, hide or
// change its order: [visible] escapes it before it is measured and written. The package does not read a clock; times are those
// of the log. It does not move the cursor, so the scrollback holds the whole
// output and can be copied.
package terminal

import (
	"os"
	"strconv"
	"strings"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"
)

// Widths in columns.
const (
	widthMin     = 20  // lower bound for the width of a terminal
	widthDefault = 80  // if the terminal's width is unknown
	widthPipe    = 160 // of a card, without a terminal
)

// Profile describes the capabilities of an output.
type Profile struct {
	// Color allows SGR sequences (bold, dim, colours).
	Color bool
	// Width is the number of columns, at least 20; 0 if the output is not a
	// terminal.
	Width int
	// Interactive reports whether the output is a terminal that can move its
	// cursor.
	Interactive bool
	// Unicode allows marks outside ASCII. It does not affect texts.
	Unicode bool
}

// Detect returns the capabilities of out. In order of precedence: NO_COLOR
// (https://no-color.org), CLICOLOR_FORCE, CLICOLOR=0, TERM=dumb, and whether
// out is a terminal. The locale is the first of LC_ALL, LC_CTYPE and LANG that
// is set.
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
		// Windows Terminal does not set TERM.
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

// columns returns the maximum width of a card.
func (p Profile) columns() int {
	if p.Width <= 0 {
		return widthPipe
	}
	return p.Width
}

// style is an SGR sequence; empty is the default style.
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

// paint returns text in a style, followed by a reset.
func (p Profile) paint(s style, text string) string {
	if !p.Color || s == plain || text == "" {
		return text
	}
	return string(s) + text + reset
}

// Dim returns text in the style for secondary information.
func (p Profile) Dim(text string) string { return p.paint(dim, text) }

// marks are the symbols beside texts.
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

// Styles returns the control sequences that this package writes.
func Styles() []string {
	return []string{string(bold), string(dim), string(red), string(green), string(yellow), reset}
}
