package terminal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/visible"
)

// previewLines bounds the lines of arguments that a prompt shows at first.
const previewLines = 16

// question is a prompt for one decision.
type question struct {
	sheet       *sheet
	p           Profile
	m           marks
	in          LineReader
	a           events.Awaited
	edit        func(string) (string, error)
	keys        []key
	draft       string      // the text to edit
	elicitation elicitation // for events.WaitAnswer
}

// key is a possible answer: its letter, its word and its effect.
type key struct{ letter, word, help string }

// answers returns the possible answers.
func (q *question) answers() []key {
	var (
		no     = key{"n", "no", "do not run it; you may say why"}
		answer = key{"a", "answer", "do not run it: you write its result"}
		view   = key{"v", "view", "show the arguments whole"}
		skip   = key{"s", "skip", "decide later; it keeps waiting"}
		help   = key{"?", "help", "show this"}
	)
	switch q.a.For {
	case events.WaitApproval:
		return []key{{"y", "yes", "run it as it is shown"}, no, {"e", "edit", "run it with other arguments, in your editor"}, answer,
			{"A", "always", "run it, and such calls without asking in this conversation"}, view, skip, help}
	case events.WaitTime, events.WaitResult:
		return []key{no, answer, view, skip, help}
	case events.WaitLimit:
		return []key{{"y", "yes", "let the turn continue, up to the limit again"}, {"n", "no", "end the turn; you may say why"}, skip, help}
	case events.WaitAnswer:
		var all []key
		switch {
		case !q.elicitation.known: // without the question only no or later is possible
		case q.elicitation.url != "":
			all = append(all, key{"y", "yes", "you open it yourself, and the tool continues"})
		case q.elicitation.sealed: // an editor would write the secret to a file
			all = append(all, key{"a", "answer", "answer field by field; secrets are not shown"})
		case q.elicitation.confirms():
			all = append(all, key{"y", "yes", "say yes"})
		case len(q.elicitation.fields) > 0:
			all = append(all, key{"a", "answer", "answer field by field"})
			fallthrough
		default:
			all = append(all, key{"e", "edit", "write the whole answer as JSON, in your editor"})
		}
		return append(all, key{"n", "no", "give no answer: the tool continues without one"}, key{"v", "view", "show the question whole"}, skip, help)
	}
	return []key{view, skip, help}
}

// letter returns the letter of the key that a line names by letter or word.
// Case matters only for "a" and "A".
func letter(keys []key, line string) (string, bool) {
	lower := strings.ToLower(line)
	for _, k := range keys {
		if line == k.letter || lower == k.word || lower == k.letter && lower != "a" {
			return k.letter, true
		}
	}
	return "", false
}

// show writes what the person decides about.
func (q *question) show() {
	name := cmp.Or(q.p.cut(q.p.line(q.a.Tool), min(nameCells, q.p.columns()/2)), "?")
	what := " waits"
	switch q.a.For {
	case events.WaitApproval:
		what = " wants to run"
	case events.WaitTime:
		what = " waits for its time"
	case events.WaitResult:
		what = " waits for its result"
	case events.WaitLimit:
		name, what = q.p.cut(q.p.line(cmp.Or(q.a.Reason, "a limit")), q.p.columns()/2), " is reached"
	case events.WaitAnswer:
		what = " " + q.elicitation.wants(q.p)
	}
	q.sheet.note(plain, q.p.paint(yellow, q.m.pause)+q.p.paint(bold, " "+name)+what)
	switch q.a.For {
	case events.WaitLimit:
	case events.WaitAnswer:
		q.showElicitation(previewLines / 2)
	default:
		q.arguments(previewLines)
		if reason := q.p.line(q.a.Reason); reason != "" {
			q.sheet.note(plain, q.inside("  ", q.p.narrower(2).wrap(q.p.cut(reason, reasonCells))))
		}
	}
	// Absolute times: the package does not read a clock.
	pieces := append(conditions(&q.a, time.Time{}), q.p.line(q.a.Call))
	q.sheet.note(plain, indented("  ", q.p.narrower(2).flow(pieces)))
}

// arguments writes the arguments of the call, at most most lines; 0 for all. A
// bar before each line, also before continuation lines, marks them as text of
// others.
func (q *question) arguments(most int) {
	bar := "  " + q.m.bar + " "
	text := q.compact()
	if cells(bar+text) > q.p.columns() {
		text = q.text()
	}
	lines := strings.Split(q.inside(bar, text), "\n")
	shown := lines
	if most > 0 && len(lines) > most {
		shown = lines[:most]
	}
	for _, line := range shown {
		q.sheet.note(plain, line)
	}
	if more := len(lines) - len(shown); more > 0 {
		hint := fmt.Sprintf("%s %s more, %s in all: v shows the arguments whole", q.m.ellipsis, count(int64(more), "line"), size(int64(len(q.a.Arguments))))
		q.sheet.note(yellow, indented("  ", q.p.narrower(2).wrap(hint)))
	}
	if visible.RightToLeft(text) {
		q.sheet.note(yellow, indented("  ", q.p.narrower(2).wrap("some of it is written from right to left: your terminal may show what is beside it in another order")))
	}
}

// showElicitation writes the elicitation, at most most lines; 0 for all.
func (q *question) showElicitation(most int) {
	lines, hidden := q.elicitation.lines(q.p, "  "+q.m.bar+" ", most)
	for _, line := range lines {
		q.sheet.note(plain, line)
	}
	if hidden > 0 {
		hint := fmt.Sprintf("%s %d more: v shows the question whole", q.m.ellipsis, hidden)
		q.sheet.note(yellow, indented("  ", q.p.narrower(2).wrap(hint)))
	}
	if warning := q.elicitation.warning(); warning != "" {
		q.sheet.note(yellow, indented("  ", q.p.narrower(2).wrap(warning)))
	}
}

// inside puts a margin before each line of a text, and wraps lines that are too
// long.
func (q *question) inside(margin, text string) string {
	return indented(margin, ansi.Hardwrap(text, max(2, q.p.columns()-cells(margin)), true))
}

// compact returns the arguments on one line, as exact formats them.
func (q *question) compact() string {
	raw := events.Arguments(string(q.a.Arguments))
	var buf bytes.Buffer
	if err := json.Compact(&buf, raw); err != nil {
		return q.p.clean(string(raw))
	}
	return visible.Exact(buf.String())
}

// text returns the arguments as text to edit.
func (q *question) text() string { return q.p.exactLines(events.Arguments(string(q.a.Arguments))) }

// menu returns the prompt line.
func (q *question) menu() string {
	var words []string
	for _, k := range q.keys {
		if k.letter == "?" {
			words = append(words, "[?]")
			continue
		}
		words = append(words, "["+k.letter+"]"+k.word[1:])
	}
	what := "decide"
	switch q.a.For {
	case events.WaitApproval:
		what = "run it"
	case events.WaitLimit:
		what = "continue"
	case events.WaitAnswer:
		what = "answer it"
	}
	return what + "? " + strings.Join(words, " ")
}

// help writes the effect of each key.
func (q *question) help() {
	for _, k := range q.keys {
		q.sheet.note(plain, indented("  ", q.p.narrower(2).wrap(k.letter+" "+k.word+": "+k.help)))
	}
}

// note writes a note of the prompt.
func (q *question) note(st style, text string) { q.sheet.note(st, q.p.wrap(text)) }

// readLine writes a prompt and reads a line behind it.
func (q *question) readLine(what string) (string, error) { return q.read(what, false) }

// read is readLine; with hidden the terminal does not show what is typed.
func (q *question) read(what string, hidden bool) (string, error) {
	if err := q.sheet.flush(); err != nil { // what was shown before
		return "", err
	}
	line, err := q.in(hidden, func() error {
		q.sheet.enter(sectionNote, "")
		q.sheet.put(bold, q.p.wrap(what))
		q.sheet.put(plain, " ")
		return q.sheet.flush()
	})
	q.sheet.newlines = 1 // the person's Enter ended the line
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the decision on call %s: %w", q.p.line(q.a.Call), err)
	}
	return line, err
}
