package terminal

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/parleybus/parley/internal/events"
)

// asked is what a tool asks a person in the middle of its call.
type asked struct {
	known   bool // false when only that something is asked is known
	message string
	schema  json.RawMessage // nil asks for yes or no
	// fields are those of the schema, required ones first. There may be none
	// for a schema of another form than that of an object with properties.
	fields []field
	simple bool // schema is an object's, and fields are all that it asks for
}

// askedBy reads a question out of what is awaited for [events.WaitAnswer].
func askedBy(a *events.Awaited) asked {
	var q struct {
		Message string
		Schema  json.RawMessage
	}
	if len(a.Arguments) == 0 || json.Unmarshal(a.Arguments, &q) != nil {
		return asked{message: a.Reason}
	}
	k := asked{known: true, message: q.Message, schema: q.Schema}
	if s := string(q.Schema); s == "" || s == "null" {
		k.schema = nil
		return k
	}
	k.fields, k.simple = fieldsOf(q.Schema)
	return k
}

// YesOrNo reports whether something awaited is a tool's question that approve
// answers, as it asks for no more than that.
func YesOrNo(a *events.Awaited) bool {
	if a.For != events.WaitAnswer {
		return false
	}
	k := askedBy(a)
	return k.known && k.schema == nil
}

// confirms reports whether there is nothing to fill in.
func (k *asked) confirms() bool { return k.schema == nil || k.simple && len(k.fields) == 0 }

// required is how many fields must be there.
func (k *asked) required() int {
	n := 0
	for i := range k.fields {
		if k.fields[i].required {
			n++
		}
	}
	return n
}

// wants says what kind of answer is asked for.
func (k *asked) wants() string {
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

// check says what is wrong with a whole answer as far as it is known here; ""
// when nothing is.
func (k *asked) check(p Profile, answer json.RawMessage) string {
	given, _ := members(answer) // an object, as who calls this made sure
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

// draft is an answer to begin with: what is proposed, and null for what must be
// there, which fits nothing.
func (k *asked) draft() json.RawMessage {
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

// object is the JSON object of members.
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

// lines are what is asked, each behind a margin: most lines of the message, and
// as many fields on one line each. With most 0 all of it stands there, whole.
// hidden counts the lines and fields that are left out.
func (k *asked) lines(p Profile, margin string, most int) (shown []string, hidden int) {
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

// behind breaks a line between words, and a word that is too long anywhere, and
// puts a margin before each line and hang before those that go on. No space is
// lost but those at which a line ends.
func (p Profile) behind(margin, hang, text string) []string {
	room := max(2, p.columns()-cells(margin)-cells(hang))
	var shown []string
	for _, line := range fill(strings.Split(text, " "), " ", room) {
		for part := range strings.SplitSeq(ansi.Hardwrap(line, room, true), "\n") {
			if len(shown) > 0 {
				part = hang + part
			}
			shown = append(shown, margin+part)
		}
	}
	return shown
}

// boldly is a line with the beginning that it shares with head in bold.
func (p Profile) boldly(head, line string) string {
	if !strings.HasPrefix(line, head) {
		return line // it was cut there
	}
	return p.paint(bold, head) + line[len(head):]
}

// quoted is a text as a JSON string, in which nothing is escaped that shows.
func quoted(text string) string {
	raw, _ := json.Marshal(text) // texts always encode
	return explicit(string(raw))
}
