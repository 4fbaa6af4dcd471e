package terminal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// fewFields is how many optional fields the prompt goes through without
// confirmation.
const fewFields = 3

// fill prompts for each field of an elicitation. Enter accepts the proposed
// value, or omits an optional field; for a required field without a proposal it
// returns to the menu, where the answer so far can be edited.
func (q *question) fill() (Choice, bool, error) {
	fields := q.elicitation.fields
	if len(fields) == 0 {
		return q.fillWhole()
	}
	required := q.elicitation.required()
	var given []member
	optional := true
	for i := range fields {
		f := &fields[i]
		if rest := len(fields) - required; i == required && i > 0 && rest > fewFields {
			yes, err := q.sure(fmt.Sprintf("%d more may be left as they are: go through them?", rest))
			if err != nil {
				return Choice{}, false, err
			}
			optional = yes
		}
		value := member{f.name, f.given}
		if f.required || optional {
			var back bool
			var err error
			if value.value, back, err = q.fillIn(f, i); err != nil {
				return Choice{}, false, err
			} else if back {
				q.keep(given, fields[i:])
				return Choice{}, false, nil
			}
		}
		if len(value.value) > 0 {
			given = append(given, value)
		}
	}
	q.keep(given, nil)
	answer := object(given)
	if len(fields) > 1 {
		for _, line := range strings.Split(q.inside("  "+q.m.bar+" ", q.p.exactLines(object(q.masked(given)))), "\n") {
			q.sheet.note(plain, line)
		}
		if yes, err := q.sure("send this?"); err != nil || !yes {
			return Choice{}, false, err
		}
	}
	return Choice{Verdict: events.RulingAnswer, Content: string(answer)}, true, nil
}

// fillWhole reads an answer whose fields are not known, as JSON. It holds a secret.
func (q *question) fillWhole() (Choice, bool, error) {
	line, err := q.read("the answer as one line of JSON (not shown):", true)
	if err != nil {
		return Choice{}, false, err
	}
	if strings.TrimSpace(line) == "" || events.CheckArguments(line) != nil {
		q.note(red, "it takes a JSON object: nothing was decided")
		return Choice{}, false, nil
	}
	return Choice{Verdict: events.RulingAnswer, Content: line}, true, nil
}

// masked returns an answer to be shown: without its secrets.
func (q *question) masked(given []member) []member {
	shown := slices.Clone(given)
	for i := range shown {
		if slices.ContainsFunc(q.elicitation.fields, func(f field) bool { return f.secret && f.name == shown[i].name }) {
			shown[i].value = json.RawMessage(`"(secret)"`)
		}
	}
	return shown
}

// keep stores the answer so far, with the proposed values of the other fields,
// as the text to edit. An answer with secrets is not edited.
func (q *question) keep(given []member, rest []field) {
	if q.elicitation.sealed {
		return
	}
	k := elicitation{fields: rest}
	all, _ := members(k.draft())
	q.draft = q.p.exactLines(object(append(given, all...)))
}

// sure prompts for yes or no; anything but yes is no.
func (q *question) sure(what string) (bool, error) {
	line, err := q.readLine(what + " [y]es, or Enter for no:")
	word := strings.ToLower(strings.TrimSpace(line))
	return err == nil && (word == "y" || word == "yes"), err
}

// fillIn prompts for one field until the value is valid. back reports that the
// person skipped a required field, so that there is no answer.
func (q *question) fillIn(f *field, i int) (value []byte, back bool, err error) {
	for _, line := range f.whole(q.p, "  "+q.m.bar+" ") {
		q.sheet.note(plain, line)
	}
	enter := "Enter leaves it out"
	switch {
	case len(f.given) > 0:
		enter = "Enter takes the default"
	case f.required:
		enter = "required"
	}
	if f.secret {
		enter += ", not shown"
	}
	what := fmt.Sprintf("%d of %d, %s (%s):", i+1, len(q.elicitation.fields), f.kindWord(), enter)
	for {
		line, err := q.read(what, f.secret)
		switch {
		case err != nil:
			return nil, false, err
		case strings.TrimSpace(line) == "" && len(f.given) == 0 && f.required:
			q.note(dim, "nothing was decided: this field is required")
			return nil, true, nil
		case strings.TrimSpace(line) == "":
			return f.given, false, nil
		}
		value, problem := f.typed(line)
		if problem == "" {
			return value, false, nil
		}
		q.note(red, problem)
	}
}
