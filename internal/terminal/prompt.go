package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/visible"
)

// LineReader calls prompt, which writes what is asked, and returns the next line
// that a person typed, without its line ending. With hidden the terminal does not
// show what is typed, from before prompt writes: a person, or a program that pastes,
// types as soon as the prompt is there. It returns io.EOF at the end of the input.
// Any other error aborts the prompt, such as a context's.
type LineReader func(hidden bool, prompt func() error) (string, error)

// Choice is a person's decision.
type Choice struct {
	Verdict   events.Ruling   // approve, reject, edit, answer or approve_for_conversation
	Arguments json.RawMessage // edit: the new arguments, a compact JSON object
	Content   string          // answer: the result; for an elicitation a compact JSON object
	Reason    string          // reject: may be empty
	Skip      bool            // no decision yet; nothing else is set
}

// Prompt prompts a person for one decision: it shows on out what would run, and
// reads lines from in until one decides. It shows exactly what is decided
// about: invisible characters are written as escapes, text of others never
// starts at the beginning of a line, and omissions are marked. The end of the
// input returns Choice.Skip.
//
// edit opens a text, JSON as shown, for the person to change. Prompt shows an
// error of edit, or why the text is not valid, and prompts again with the
// edited text kept. A text that is empty or has the same meaning as before
// changes nothing.
//
// An error is the writer's, or an error of in other than io.EOF.
func Prompt(out io.Writer, in LineReader, p Profile, a events.Awaited, edit func(string) (string, error)) (Choice, error) {
	q := &question{sheet: newSheet(out, p), p: p, m: p.marks(), in: in, a: a, edit: edit}
	if a.For == events.WaitAnswer {
		q.elicitation = elicitationOf(&a)
		q.a.Arguments = q.elicitation.draft() // the text to edit
	}
	q.keys = q.answers()
	q.draft = q.text()
	q.show()
	for {
		line, err := q.readLine(q.menu())
		var c Choice
		decided := false
		if err == nil {
			c, decided, err = q.take(strings.TrimSpace(line))
		}
		switch {
		case errors.Is(err, io.EOF):
			q.sheet.note(plain, "")
			return Choice{Skip: true}, q.sheet.flush()
		case err != nil:
			return Choice{}, err
		case decided:
			return c, q.sheet.flush()
		}
	}
}

// take handles a line and reports whether it decides.
func (q *question) take(line string) (c Choice, decided bool, err error) {
	letter, known := letter(q.keys, line)
	switch {
	case line == "":
		return Choice{}, false, nil
	case !known:
		q.note(dim, q.p.cut(q.p.line(line), nameCells)+" is no answer here: ? shows what is")
		return Choice{}, false, nil
	}
	switch letter {
	case "y":
		if q.a.For == events.WaitAnswer && q.elicitation.schema != nil {
			return Choice{Verdict: events.RulingAnswer, Content: "{}"}, true, nil
		}
		return Choice{Verdict: events.RulingApprove}, true, nil
	case "A":
		return Choice{Verdict: events.RulingAlways}, true, nil
	case "s":
		return Choice{Skip: true}, true, nil
	case "n":
		if q.a.For == events.WaitAnswer { // a declined elicitation has no reason
			return Choice{Verdict: events.RulingReject}, true, nil
		}
		why, err := q.readLine("why? (empty for no reason)")
		return Choice{Verdict: events.RulingReject, Reason: strings.TrimSpace(why)}, err == nil, err
	case "e":
		return q.edited()
	case "a":
		if q.a.For == events.WaitAnswer {
			return q.fill()
		}
		return q.answer()
	case "v":
		if q.a.For == events.WaitAnswer {
			q.showElicitation(0)
		} else {
			q.arguments(0)
		}
	case "?":
		q.help()
	}
	return Choice{}, false, nil
}

// edited opens the arguments, or the answer to an elicitation, in the editor.
func (q *question) edited() (Choice, bool, error) {
	what, are := "the arguments", "were"
	if q.a.For == events.WaitAnswer {
		what, are = "the answer", "was"
	}
	text, err := q.edit(q.draft)
	if err != nil {
		q.note(red, what+" "+are+" not edited: "+q.p.line(err.Error()))
		return Choice{}, false, nil
	}
	if strings.TrimSpace(text) == "" {
		q.note(dim, "the text is empty: nothing was changed")
		return Choice{}, false, nil
	}
	if q.a.For == events.WaitAnswer && strings.TrimSpace(text) == strings.TrimSpace(q.draft) {
		q.note(dim, "nothing was changed: nothing was decided") // leaving the editor means no
		return Choice{}, false, nil
	}
	if problem := q.wrong(text); problem != "" {
		q.draft = text
		q.note(red, problem+"; e edits again what you wrote")
		return Choice{}, false, nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, events.Arguments(text)); err != nil {
		return Choice{}, false, fmt.Errorf("compact %s: %w", what, err)
	}
	if q.a.For == events.WaitAnswer {
		return Choice{Verdict: events.RulingAnswer, Content: compact.String()}, true, nil
	}
	if visible.Exact(compact.String()) == q.compact() {
		q.draft = q.text()
		q.note(dim, "nothing was changed")
		return Choice{}, false, nil
	}
	return Choice{Verdict: events.RulingEdit, Arguments: compact.Bytes()}, true, nil
}

// wrong returns why an edited text is not valid; "" if it is.
func (q *question) wrong(text string) string {
	err := events.CheckArguments(text)
	switch {
	case q.a.For == events.WaitAnswer && err != nil:
		return where(text, err) + "the answer is no JSON object: " + q.p.line(strings.TrimPrefix(err.Error(), "arguments are "))
	case err != nil:
		return where(text, err) + q.p.line(err.Error())
	case q.a.For == events.WaitAnswer:
		return q.elicitation.check(q.p, events.Arguments(text))
	}
	return ""
}

// answer reads the result that the person gives.
func (q *question) answer() (Choice, bool, error) {
	var text strings.Builder
	for what := `the result, as the model will read it (a \ at the end of a line continues it):`; ; what = "." {
		line, err := q.readLine(what)
		if err != nil {
			return Choice{}, false, err
		}
		more, goesOn := strings.CutSuffix(line, `\`)
		text.WriteString(more)
		if !goesOn {
			break
		}
		text.WriteByte('\n')
	}
	if strings.TrimSpace(text.String()) == "" {
		q.note(dim, "the result is empty: nothing was decided")
		return Choice{}, false, nil
	}
	return Choice{Verdict: events.RulingAnswer, Content: text.String()}, true, nil
}

// where returns the line of a JSON syntax error, counted from 1.
func where(text string, err error) string {
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return ""
	}
	before := text[:min(len(text), max(0, int(syntax.Offset)))]
	return fmt.Sprintf("line %d: ", 1+strings.Count(strings.TrimRight(before, "\r\n"), "\n"))
}
