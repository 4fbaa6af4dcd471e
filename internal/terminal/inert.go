package terminal

import (
	"html"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"

	"github.com/parleybus/parley/internal/visible"
)

// inertTries bounds how often a text is rewritten: an escape can change what
// belongs to code.
const inertTries = 8

// The parser's cost is quadratic in these. A text that has more of them is shown
// as code.
const (
	mostBrackets = 2000 // in a text
	mostQuotes   = 64   // block quotes inside each other
)

// defuser makes Markdown of others inert.
type defuser struct {
	parser    parser.Parser
	address   *regexp.Regexp // an address between angle brackets that may stay
	target    *regexp.Regexp // a link or an image whose parts need no interpretation
	brackets  *regexp.Regexp // what gives brackets a meaning: a target or a definition
	open      *regexp.Regexp // the beginning of HTML
	own       *regexp.Regexp // an escape of visible.Text
	reference *regexp.Regexp // a character reference
}

func newDefuser() *defuser {
	const tick = "`"
	const plain = `[^\s<>\[\]&"` + tick + `]|&[A-Za-z0-9_.-]+=`
	const part = `[^\s<>\[\]&"` + tick + `:@/]`
	return &defuser{
		parser:    goldmark.DefaultParser(),
		address:   regexp.MustCompile(`^<(?:https?://(?:` + plain + `)+|(?:mailto:)?` + part + `+@` + part + `+)>`),
		target:    regexp.MustCompile(`!?\[([^\[\]\\<>!` + tick + `\n]*)\]\(\s*<?((?:https?://|mailto:)[^\s()<>\[\]"'\\` + tick + `]+)>?(?:\s+"[^"\n]*")?\s*\)`),
		brackets:  regexp.MustCompile(`\]\s*[(\[:]`),
		open:      regexp.MustCompile(`^<[A-Za-z/!?]`),
		own:       regexp.MustCompile(`^<U\+[0-9A-F]{4,6}>`),
		reference: regexp.MustCompile(`^&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{0,31});`),
	}
}

// inert rewrites Markdown of others so that a reader of the file fetches nothing
// and sees where each link leads: an image becomes its alternative text and its
// address, a link its text and its target, HTML is shown as text. Code and other
// Markdown stay as they are. ok is false if that cannot be achieved.
func (d *defuser) inert(markdown string) (rewritten string, ok bool) {
	if !parseable(markdown) {
		return markdown, false
	}
	for range inertTries {
		code, _ := d.inspect(markdown)
		again := d.rewriteOutside(markdown, code)
		if again == markdown {
			break
		}
		markdown = again
	}
	_, ok = d.inspect(markdown)
	return markdown, ok
}

// parseable reports whether a text can be parsed in time.
func parseable(markdown string) bool {
	if strings.Count(markdown, "[") > mostBrackets {
		return false
	}
	for line := range strings.Lines(markdown) {
		head := line[:len(line)-len(strings.TrimLeft(line, " \t>-*+.)0123456789"))]
		if strings.Count(head, ">") > mostQuotes {
			return false
		}
	}
	return true
}

// extent is a range of bytes of a text.
type extent struct{ from, to int }

// inspect returns where a text has code, and whether it is free of images, links,
// definitions of links and HTML. An address between angle brackets is what it
// shows.
func (d *defuser) inspect(markdown string) (code []extent, harmless bool) {
	source := []byte(markdown)
	context := parser.NewContext()
	doc := d.parser.Parse(text.NewReader(source), parser.WithContext(context))
	harmless = len(context.References()) == 0
	// The walk's own function returns no error.
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Image, *ast.Link, *ast.RawHTML, *ast.HTMLBlock:
			harmless = false
		case *ast.AutoLink:
			harmless = harmless && d.address.MatchString("<"+string(n.Label(source))+">")
		case *ast.CodeSpan:
			for c := n.FirstChild(); c != nil; c = c.NextSibling() {
				if t, ok := c.(*ast.Text); ok {
					code = append(code, extent{t.Segment.Start, t.Segment.Stop})
				}
			}
		case *ast.CodeBlock, *ast.FencedCodeBlock:
			lines := n.Lines()
			for i := range lines.Len() {
				code = append(code, extent{lines.At(i).Start, lines.At(i).Stop})
			}
		}
		return ast.WalkContinue, nil
	})
	slices.SortFunc(code, func(a, b extent) int { return a.from - b.from })
	return code, harmless
}

// rewriteOutside rewrites what is outside code.
func (d *defuser) rewriteOutside(markdown string, code []extent) string {
	var pieces []string // outside and inside code in turns
	at := 0
	for _, c := range code {
		if c.from < at {
			continue
		}
		pieces = append(pieces, markdown[at:c.from], markdown[c.from:c.to])
		at = c.to
	}
	pieces = append(pieces, markdown[at:])
	outside := ""
	for i := 0; i < len(pieces); i += 2 {
		pieces[i] = d.target.ReplaceAllStringFunc(pieces[i], func(found string) string { return plainLink(found, d.target.FindStringSubmatch(found)) })
		outside += pieces[i] + "x"
	}
	brackets := d.brackets.MatchString(outside)
	for i := 0; i < len(pieces); i += 2 {
		pieces[i] = d.escapeMarkup(pieces[i], brackets)
	}
	return strings.Join(pieces, "")
}

// plainLink returns a link or an image as text, with its target.
func plainLink(found string, parts []string) string {
	label, to := strings.TrimSpace(parts[1]), parts[2]
	_, short, _ := strings.Cut(to, "://")
	switch {
	case strings.HasPrefix(found, "!"):
		return strings.TrimPrefix(label+" (image: <"+to+">)", " ")
	case label == "" || label == to || label == strings.TrimSuffix(short, "/"):
		return "<" + to + ">"
	}
	return label + " (<" + to + ">)"
}

// hidingReference reports whether a text begins with a character reference, such
// as &#x202e; or &rlm;, that a viewer turns into a hidden character.
func (d *defuser) hidingReference(s string) bool {
	found := d.reference.FindString(s)
	character := html.UnescapeString(found)
	return found != "" && visible.String(character) != character
}

// escapeMarkup escapes what can begin HTML or is a reference to a hidden
// character, and with brackets also what can begin a link.
func (d *defuser) escapeMarkup(s string, brackets bool) string {
	var b strings.Builder
	escaped := false
	for i := 0; i < len(s); i++ {
		rest := s[i:]
		switch {
		case escaped:
		case s[i] == '<' && d.own.MatchString(rest):
		case s[i] == '<' && d.address.MatchString(rest):
			found := d.address.FindString(rest)
			b.WriteString(found)
			i += len(found) - 1
			continue
		case s[i] == '<' && d.open.MatchString(rest), s[i] == '[' && brackets, s[i] == '&' && d.hidingReference(rest):
			b.WriteByte('\\')
		}
		escaped = s[i] == '\\' && !escaped
		b.WriteByte(s[i])
	}
	return b.String()
}
