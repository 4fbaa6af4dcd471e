package terminal

import (
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// fewFields is how many optional fields are gone through without asking first.
const fewFields = 3

// fill goes through the fields of what a tool asks for. Enter takes what is
// proposed, or leaves an optional field out; at one that must be there it leads
// back to the choices, where all that was filled in can be edited.
func (q *question) fill() (Choice, bool, error) {
	fields := q.asked.fields
	required := q.asked.required()
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
		for _, line := range strings.Split(q.inside("  "+q.m.bar+" ", q.draft), "\n") {
			q.sheet.note(plain, line)
		}
		if yes, err := q.sure("send this?"); err != nil || !yes {
			return Choice{}, false, err
		}
	}
	return Choice{Verdict: events.RulingAnswer, Content: string(answer)}, true, nil
}

// keep makes what was filled in what is edited, with what is proposed for the
// rest.
func (q *question) keep(given []member, rest []field) {
	k := asked{fields: rest}
	all, _ := members(k.draft())
	q.draft = q.p.exactLines(object(append(given, all...)))
}

// sure asks for a yes; anything else is a no.
func (q *question) sure(what string) (bool, error) {
	line, err := q.ask(what + " [y]es, or Enter for no:")
	word := strings.ToLower(strings.TrimSpace(line))
	return err == nil && (word == "y" || word == "yes"), err
}

// fillIn asks for one field until something fits. back says that the person
// leaves a field that must be there, so that there is no answer.
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
	what := fmt.Sprintf("%d of %d, %s (%s):", i+1, len(q.asked.fields), f.kindWord(), enter)
	for {
		line, err := q.ask(what)
		switch {
		case err != nil:
			return nil, false, err
		case strings.TrimSpace(line) == "" && len(f.given) == 0 && f.required:
			q.say(dim, "nothing was decided: this field is required")
			return nil, true, nil
		case strings.TrimSpace(line) == "":
			return f.given, false, nil
		}
		value, problem := f.typed(line)
		if problem == "" {
			return value, false, nil
		}
		q.say(red, problem)
	}
}
