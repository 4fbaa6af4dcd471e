package terminal

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/visible"
)

// elicitation is a question that a tool puts to a person during its call.
type elicitation struct {
	known   bool // whether the question could be read
	message string
	schema  json.RawMessage // nil: the answer is yes or no
	// fields are the properties of the schema, required ones first; none if the
	// schema does not describe an object with properties.
	fields []field
	simple bool // fields describe the schema completely
}

// elicitationOf reads the elicitation of something that waits for
// [events.WaitAnswer].
func elicitationOf(a *events.Awaited) elicitation {
	var q struct {
		Message string
		Schema  json.RawMessage
	}
	if len(a.Arguments) == 0 || json.Unmarshal(a.Arguments, &q) != nil {
		return elicitation{message: a.Reason}
	}
	k := elicitation{known: true, message: q.Message, schema: q.Schema}
	if s := string(q.Schema); s == "" || s == "null" {
		k.schema = nil
		return k
	}
	k.fields, k.simple = fieldsOf(q.Schema)
	return k
}

// YesOrNo reports whether a is a tool's elicitation without a schema, so that
// the verdict approve answers it.
func YesOrNo(a *events.Awaited) bool {
	if a.For != events.WaitAnswer {
		return false
	}
	k := elicitationOf(a)
	return k.known && k.schema == nil
}

// confirms reports whether the answer has no fields.
func (k *elicitation) confirms() bool { return k.schema == nil || k.simple && len(k.fields) == 0 }

// required returns the number of required fields.
func (k *elicitation) required() int {
	n := 0
	for i := range k.fields {
		if k.fields[i].required {
			n++
		}
	}
	return n
}

// wants describes the kind of answer.
func (k *elicitation) wants() string {
	switch n := len(k.fields); {
	case !k.known:
		return "asks something"
	case k.confirms():
		return "asks for yes or no"
	case n > 0:
		return "asks for " + count(int64(n), "field")
	}
	return "asks for an answer in JSON"
}

// check returns what is wrong with a whole answer, "" if nothing is. The
// orchestrator checks it again against the whole schema.
func (k *elicitation) check(p Profile, answer json.RawMessage) string {
	given, _ := members(answer) // callers pass an object
	for i := range k.fields {
		f := &k.fields[i]
		at := slices.IndexFunc(given, func(m member) bool { return m.name == f.name })
		problem := ""
		switch {
		case at >= 0:
			problem = f.check(given[at].value)
		case f.required:
			problem = "is required"
		}
		if problem != "" {
			return p.cut(f.label(), nameCells) + ": " + problem
		}
	}
	return ""
}

// draft returns an answer to start editing from: the proposed values, and null
// for required fields without one. null is not valid for any field.
func (k *elicitation) draft() json.RawMessage {
	var answer []member
	for i := range k.fields {
		switch f := &k.fields[i]; {
		case len(f.given) > 0:
			answer = append(answer, member{f.name, f.given})
		case f.required:
			answer = append(answer, member{f.name, json.RawMessage("null")})
		}
	}
	return object(answer)
}

// object returns the JSON object with these members.
func object(all []member) json.RawMessage {
	out := []byte{'{'}
	for i, m := range all {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, quoted(m.name)...)
		out = append(append(out, ':'), m.value...)
	}
	return append(out, '}')
}

// lines returns the elicitation with a margin before each line: at most most
// lines of the message, and at most most fields on one line each. most 0 shows
// everything. hidden counts the lines and fields that are left out.
func (k *elicitation) lines(p Profile, margin string, most int) (shown []string, hidden int) {
	message := strings.TrimSpace(strings.ReplaceAll(p.clean(k.message), "\t", "    "))
	if message != "" {
		for line := range strings.SplitSeq(message, "\n") {
			shown = append(shown, p.behind(margin, "", line)...)
		}
	}
	if most > 0 && len(shown) > most {
		hidden = len(shown) - most
		shown = shown[:most]
	}
	for i := range k.fields {
		f := &k.fields[i]
		switch {
		case most == 0:
			shown = append(shown, f.whole(p, margin)...)
		case i < most:
			line := p.cut(f.text(p, fewChoices), max(2, p.columns()-cells(margin)))
			shown = append(shown, margin+p.boldly(f.label(), line))
		default:
			hidden++
		}
	}
	if len(k.fields) == 0 && !k.confirms() {
		raw := strings.Split(p.exactLines(k.schema), "\n")
		if most > 0 && len(raw) > most {
			hidden += len(raw) - most
			raw = raw[:most]
		}
		for _, line := range raw {
			shown = append(shown, p.behind(margin, "", line)...)
		}
	}
	return shown, hidden
}

// behind wraps a text at spaces, and inside words that are too long. It puts
// margin before each line and hang before continuation lines. Only the spaces
// at line ends are dropped.
func (p Profile) behind(margin, hang, text string) []string {
	columns := max(2, p.columns()-cells(margin)-cells(hang))
	var shown []string
	for _, line := range fill(strings.Split(text, " "), " ", columns) {
		for part := range strings.SplitSeq(ansi.Hardwrap(line, columns, true), "\n") {
			if len(shown) > 0 {
				part = hang + part
			}
			shown = append(shown, margin+part)
		}
	}
	return shown
}

// boldly returns line with its prefix head in bold.
func (p Profile) boldly(head, line string) string {
	if !strings.HasPrefix(line, head) {
		return line // cut inside head
	}
	return p.paint(bold, head) + line[len(head):]
}

// quoted returns a text as a JSON string; visible characters are not escaped.
func quoted(text string) string { return visible.Quoted(text) }
