package terminal

import "strings"

// blocks splits Markdown into whole blocks while it streams, so that each can
// be rendered once: later text does not change an earlier block. The
// concatenated blocks are the text, byte by byte. The block structure is that
// of CommonMark 0.31, except that HTML ends at an empty line.
type blocks struct {
	block strings.Builder // whole lines of the block that may continue
	line  strings.Builder // the incomplete last line
	kind  blockKind
	blank bool   // the last line is empty
	fence string // of an open code block; else empty
}

// blockKind is the kind of a block, from its first line.
type blockKind int

const (
	blockNone     blockKind = iota // only empty lines so far
	blockPlain                     // ends at an empty line
	blockList                      // may continue after an empty line
	blockIndented                  // indented code; may continue after an empty line
)

// add takes the next piece of the text and returns the blocks that it
// completes.
func (b *blocks) add(piece string) (whole []string) {
	for part := range strings.Lines(piece) {
		b.line.WriteString(part)
		if strings.HasSuffix(part, "\n") {
			whole = append(whole, b.endLine()...)
		}
	}
	return whole
}

// endLine handles a complete line.
func (b *blocks) endLine() (whole []string) {
	text := b.line.String()
	b.line.Reset()
	l := readLine(text)
	if b.kind == blockList && !l.empty && !l.indented {
		b.fence = "" // the item ends here, and its code with it
	}
	open := b.fence
	b.fence = fenceAfter(open, l.inside(b.kind))
	if open == "" && b.kind != blockNone && b.begins(l) {
		whole = append(whole, b.take())
	}
	if b.kind == blockNone && !l.empty {
		b.kind = l.kind()
	}
	b.block.WriteString(text)
	b.blank = l.empty
	closed := open != "" && b.fence == ""
	if b.kind == blockPlain && b.fence == "" && (l.empty || closed || open == "" && l.heading) {
		whole = append(whole, b.take())
	}
	return whole
}

// begins reports whether a line starts a new block.
func (b *blocks) begins(l blockLine) bool {
	switch {
	case l.empty:
		return false
	case l.heading, b.fence != "" && !l.indented && l.item == 0:
		return true
	case b.kind == blockPlain:
		return l.interrupts
	}
	return b.blank && !l.indented && !(b.kind == blockList && l.item > 0)
}

func (b *blocks) take() string {
	text := b.block.String()
	b.block.Reset()
	b.kind, b.blank = blockNone, false
	return text
}

// blockLine holds the properties of a line outside code.
type blockLine struct {
	text       string
	empty      bool
	indented   bool
	heading    bool
	item       int  // bytes of a list item's marker
	interrupts bool // the item can interrupt a paragraph: a bullet, or number 1
}

func readLine(text string) blockLine {
	l := blockLine{text: text, empty: strings.TrimSpace(text) == ""}
	if l.empty {
		return l
	}
	l.indented = text[0] == ' ' || text[0] == '\t'
	if l.indented {
		return l
	}
	if rest := strings.TrimLeft(text, "#"); rest != text && len(text)-len(rest) <= 6 {
		l.heading = strings.TrimLeft(rest, " \t\r\n") != rest
	}
	rest := strings.TrimLeft(text, "0123456789")
	digits := len(text) - len(rest)
	marker := digits == 0 && strings.IndexByte("-*+", text[0]) >= 0 ||
		digits > 0 && digits <= 9 && rest != "" && strings.IndexByte(".)", rest[0]) >= 0
	if marker && len(text) > digits+1 && strings.IndexByte(" \t", text[digits+1]) >= 0 {
		l.item = digits + 1
		l.interrupts = digits == 0 || text[:digits] == "1"
	}
	return l
}

func (l blockLine) kind() blockKind {
	switch {
	case l.item > 0:
		return blockList
	case strings.HasPrefix(l.text, "    ") || strings.HasPrefix(l.text, "\t"):
		return blockIndented
	}
	return blockPlain
}

// inside returns the line without the marker and indentation of the list item
// that it is in.
func (l blockLine) inside(block blockKind) string {
	if block == blockList || l.item > 0 {
		return strings.TrimLeft(l.text[l.item:], " \t")
	}
	return l.text
}

// fenceAfter returns the open fence after a line; open is the one before the
// line. Empty means none. See CommonMark 0.31, section 4.5.
func fenceAfter(open, line string) string {
	line = strings.TrimRight(line, "\r\n")
	rest := strings.TrimLeft(line, " ")
	if len(line)-len(rest) > 3 || rest == "" || rest[0] != '`' && rest[0] != '~' {
		return open
	}
	info := strings.TrimLeft(rest, rest[:1])
	fence := rest[:len(rest)-len(info)]
	switch {
	case len(fence) < 3:
	case open == "":
		if fence[0] == '~' || !strings.Contains(info, "`") {
			return fence
		}
	case fence[0] == open[0] && len(fence) >= len(open) && strings.TrimSpace(info) == "":
		return ""
	}
	return open
}
