package terminal

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// kind is the type of value of a field.
type kind int

const (
	kindJSON kind = iota // any other
	kindText
	kindWhole
	kindNumber
	kindBool
	kindOne     // one of the choices
	kindSeveral // a list of choices
)

// fewChoices bounds the choices listed for a field in a list of fields.
const fewChoices = 6

// field is a property of the answer to an elicitation.
type field struct {
	name     string
	kind     kind
	required bool
	secret   bool
	about    string
	choices  []choice
	given    json.RawMessage // the proposed value; nil if there is none, or it is not valid
	rules    property
	raw      json.RawMessage // its schema
}

// choice is one value of an enumeration.
type choice struct {
	value json.RawMessage
	title string
}

// property holds the parts of a property's JSON Schema that are used.
type property struct {
	Type        string
	Title       string
	Description string
	Enum        []json.RawMessage
	EnumNames   []string
	OneOf       []titled
	AnyOf       []titled
	Items       *property
	Default     json.RawMessage
	Format      string
	Pattern     string
	Minimum     *float64
	Maximum     *float64
	MinLength   *int
	MaxLength   *int
	MinItems    *int
	MaxItems    *int
}

type titled struct {
	Const json.RawMessage
	Title string
}

// fieldsOf reads the schema of an answer: its fields, required ones first.
// known reports whether the fields describe the schema completely.
func fieldsOf(schema json.RawMessage) (fields []field, known bool) {
	var s struct {
		Properties json.RawMessage
		Required   []string
	}
	keywords, ok := members(schema)
	if !ok || json.Unmarshal(schema, &s) != nil {
		return nil, false
	}
	known = true
	plain := []string{"type", "properties", "required", "title", "description", "$schema", "additionalProperties"}
	for _, k := range keywords {
		known = known && slices.Contains(plain, k.name)
	}
	properties, ok := members(s.Properties)
	if !ok && len(s.Properties) > 0 {
		return nil, false
	}
	seen := map[string]bool{}
	for _, m := range properties {
		if seen[m.name] {
			return nil, false // a duplicate name is ambiguous
		}
		seen[m.name] = true
		fields = append(fields, newField(m, slices.Contains(s.Required, m.name)))
	}
	for _, name := range s.Required {
		if !seen[name] {
			seen[name] = true
			fields = append(fields, field{name: name, required: true})
		}
	}
	slices.SortStableFunc(fields, func(a, b field) int {
		if a.required == b.required {
			return 0
		} else if a.required {
			return -1
		}
		return 1
	})
	return fields, known
}

func newField(m member, required bool) field {
	f := field{name: m.name, required: required, raw: m.value}
	var p property
	if json.Unmarshal(m.value, &p) != nil {
		return f // shown unchanged, and filled in as JSON
	}
	f.rules, f.about = p, cmp.Or(p.Description, p.Title)
	f.choices = p.choices()
	switch {
	case p.Type == "array" && p.Items != nil && len(p.Items.choices()) > 0:
		f.kind, f.choices = kindSeveral, p.Items.choices()
	case len(f.choices) > 0:
		f.kind = kindOne
	case p.Type == "string":
		f.kind = kindText
	case p.Type == "integer":
		f.kind = kindWhole
	case p.Type == "number":
		f.kind = kindNumber
	case p.Type == "boolean":
		f.kind = kindBool
	}
	if len(p.Default) > 0 && f.check(p.Default) == "" {
		f.given = p.Default
	}
	return f
}

// choices returns the values that a schema lists.
func (p *property) choices() []choice {
	var all []choice
	for i, v := range p.Enum {
		c := choice{value: v}
		if len(p.EnumNames) == len(p.Enum) {
			c.title = p.EnumNames[i]
		}
		all = append(all, c)
	}
	if len(all) > 0 {
		return all
	}
	for _, t := range append(p.OneOf, p.AnyOf...) {
		if len(t.Const) == 0 {
			return nil
		}
		all = append(all, choice{t.Const, t.Title})
	}
	return all
}

// label returns the field's name in an unambiguous form.
func (f *field) label() string { return literal(json.RawMessage(quoted(f.name))) }

// literal formats a JSON value like exact, but without the quotes of a string
// that cannot be taken for another value.
func literal(raw json.RawMessage) string {
	shown := Profile{}.exact(raw)
	var text string
	if json.Unmarshal(raw, &text) != nil || json.Valid([]byte(text)) || shown != `"`+text+`"` ||
		strings.ContainsAny(text, ",:;()[]{}") || strings.Join(strings.Fields(text), " ") != text || text == "" {
		return shown
	}
	return text
}

// text describes the field on one line: name, type of value, and title. It
// lists at most most choices.
func (f *field) text(p Profile, most int) string {
	facts := []string{f.takes(p, most)}
	if f.secret {
		facts = append(facts, "secret")
	}
	facts = append(facts, f.bounds(p)...)
	if f.required {
		facts = append(facts, "required")
	}
	if len(f.given) > 0 {
		facts = append(facts, "default "+literal(f.given))
	}
	text := f.label() + " (" + strings.Join(facts, ", ") + ")"
	if about := p.line(f.about); about != "" {
		text += ": " + about
	}
	return text
}

// kindWord names the kind in a prompt.
func (f *field) kindWord() string {
	if f.kind == kindSeveral {
		return "some of these, with commas"
	}
	return f.takes(Profile{}, 0)
}

// takes describes the values that the field accepts.
func (f *field) takes(p Profile, most int) string {
	what := ""
	switch f.kind {
	case kindText:
		return "text"
	case kindWhole:
		return "whole number"
	case kindNumber:
		return "number"
	case kindBool:
		return "yes or no"
	case kindOne:
		what = "one of "
	case kindSeveral:
		what = "some of "
	default:
		return "JSON"
	}
	if most == 0 {
		return what + "these"
	}
	var values []string
	for _, c := range f.choices[:min(most, len(f.choices))] {
		values = append(values, literal(c.value))
	}
	what += strings.Join(values, ", ")
	if more := len(f.choices) - len(values); more > 0 {
		what += fmt.Sprintf(" %s %d more", p.marks().ellipsis, more)
	}
	return what
}

// whole describes the field in full, with one line per choice.
func (f *field) whole(p Profile, margin string) []string {
	const hang = "    "
	lines := p.behind(margin, hang, f.text(p, 0))
	lines[0] = margin + p.boldly(f.label(), strings.TrimPrefix(lines[0], margin))
	mark := "- "
	for i, c := range f.choices {
		if f.numbered() {
			mark = fmt.Sprintf("%d ", i+1)
		}
		text := "  " + mark + literal(c.value)
		if title := p.line(c.title); title != "" && title != literal(c.value) {
			text += " (" + title + ")"
		}
		lines = append(lines, p.behind(margin, hang, text)...)
	}
	if f.kind == kindJSON && len(f.raw) > 0 {
		lines = append(lines, p.behind(margin, hang, "  schema "+p.exact(f.raw))...)
	}
	return lines
}
