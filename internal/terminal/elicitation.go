package terminal

import (
	"encoding/json"
	"fmt"
	"net/url"
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
	server string
	url    string // to be opened by the person
	sealed bool   // the answer holds secrets, and is sealed for the tool's worker
}

// elicitationOf reads the elicitation of something that waits for
// [events.WaitAnswer].
func elicitationOf(a *events.Awaited) elicitation {
	var q struct {
		Message, Server, URL, Key string
		Schema                    json.RawMessage
		Secret                    []string
	}
	if len(a.Arguments) == 0 || json.Unmarshal(a.Arguments, &q) != nil {
		return elicitation{message: a.Reason}
	}
	k := elicitation{known: true, message: q.Message, schema: q.Schema, server: q.Server, url: q.URL, sealed: q.Key != ""}
	if s := string(q.Schema); s == "" || s == "null" {
		k.schema = nil
		return k
	}
	k.fields, k.simple = fieldsOf(q.Schema)
	for i := range k.fields {
		k.fields[i].secret = slices.Contains(q.Secret, k.fields[i].name)
	}
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

// from names the MCP server that asks; empty for a tool that is none.
func (k *elicitation) from(p Profile) string {
	if k.server == "" {
		return ""
	}
	return "(MCP server " + p.cut(literal(json.RawMessage(quoted(k.server))), nameCells) + ") "
}

// wants describes who asks, and the kind of answer.
func (k *elicitation) wants(p Profile) string { return k.from(p) + k.what() }

func (k *elicitation) what() string {
	switch n := len(k.fields); {
	case !k.known:
		return "asks something"
	case k.url != "":
		return "asks you to open an address"
	case k.confirms():
		return "asks for yes or no"
	case n > 0:
		text := "asks for " + count(int64(n), "field")
		if secret := k.secrets(); secret > 0 && n > 1 {
			text += fmt.Sprintf(", %d of them secret", secret)
		} else if secret > 0 {
			text += ", which is secret"
		}
		return text
	case k.sealed:
		return "asks for a secret in JSON"
	}
	return "asks for an answer in JSON"
}

func (k *elicitation) secrets() int {
	n := 0
	for i := range k.fields {
		if k.fields[i].secret {
			n++
		}
	}
	return n
}

// warning says what a person should know before they answer; empty if there is
// nothing.
func (k *elicitation) warning() string {
	switch {
	case k.url != "" && strings.Contains(k.url, "xn--"):
		return "parley does not open it: look at the address first. Its name has letters of another script: it may imitate another name"
	case k.url != "":
		return "parley does not open it: look at the address first"
	case k.sealed && k.server != "":
		return "a secret is not shown while you type, and only the worker that asks can read it. MCP servers must not ask for secrets like this: answer only if you trust this one"
	case k.sealed:
		return "a secret is not shown while you type, and only the worker that asks can read it"
	}
	return ""
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
	if k.url != "" {
		shown = append(shown, p.behind(margin, "", "address: "+literal(json.RawMessage(quoted(k.url))))...)
		if to, err := url.Parse(k.url); err == nil {
			shown = append(shown, p.behind(margin, "", "host: "+literal(json.RawMessage(quoted(to.Host))))...)
		}
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
