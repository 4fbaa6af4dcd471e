package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// document returns docs/events.md.
func document(src *source, defs *definitions, examples map[string][]byte) []byte {
	var b bytes.Buffer
	b.WriteString(`<!-- ` + mark + ` -->
# Events

Everything that happens in a conversation is an event: a compact JSON object
whose first field is ` + "`type`" + `. A message carries one event or several, one per line
(NDJSON) and at most 4,096. Programs ignore unknown
fields and skip unknown events; [protocol.md](protocol.md) has the rules. [schemas/](../schemas) has the JSON Schemas,
[asyncapi.yaml](../schemas/asyncapi.yaml) also the subjects, headers and permissions.

## Channels

The names of writers and readers are roles. A caller may also do what an app may, but for
answering hooks.

| subject | written by | read by | messages |
| --- | --- | --- | --- |
`)
	for _, c := range channels() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", subject(c), writers(c), strings.Join(c.readers, ", "), links(slices.Concat(c.events, defs.recordsOf(c))))
	}
	b.WriteString("\n")
	for _, c := range channels() {
		fmt.Fprintf(&b, "- %s: %s\n", subject(c), c.text)
	}
	fmt.Fprintf(&b, "\nA [Decision](#decision) contains %s, and as a record %s.\n", links(decided()), links(recorded()))

	b.WriteString(`
Timers carry no event and belong to the orchestrator: when one fires, the
orchestrator decides on the turn channel.
`)
	for _, e := range defs.events {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%s\n\n", e.name, src.text[e.name], origin(e.name))
		fields(&b, e.schema)
		fmt.Fprintf(&b, "\n```json\n%s\n```\n", bytes.TrimSpace(examples[e.name]))
	}
	b.WriteString("\n## Records\n\nEntries of buckets; they have no `type`.\n")
	types(&b, defs.records)
	b.WriteString("\n## Types\n\nSeveral events use these types.\n")
	types(&b, defs.shared)
	b.WriteString("\n## Unions\n\n[parley.schema.json](../schemas/parley.schema.json) has all schemas in one file, for\ngenerators of code, and these unions of events.\n\n")
	for _, u := range defs.unions {
		var members []string
		for _, one := range u.schema.OneOf {
			members = append(members, typeName(one))
		}
		fmt.Fprintf(&b, "### %s\n\n%s One of: %s.\n\n", u.name, u.schema.Description, links(members))
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

// types writes a section for each type.
func types(b *bytes.Buffer, all []definition) {
	for _, s := range all {
		fmt.Fprintf(b, "\n### %s\n\n%s\n\n", s.name, s.schema.Description)
		if s.schema.Enum == nil {
			fields(b, s.schema)
			continue
		}
		for _, v := range s.values {
			fmt.Fprintf(b, "- `%s`", v.text)
			if v.comment != "" {
				fmt.Fprintf(b, ": %s", v.comment)
			}
			b.WriteString("\n")
		}
	}
}

// subject formats the address of a channel for people.
func subject(c channel) string {
	if c.address == "" {
		all := channels()
		i := slices.IndexFunc(all, func(request channel) bool { return request.reply == c.key })
		return "reply to " + subject(all[i])
	}
	return "`" + strings.NewReplacer("{", "<", "}", ">").Replace(c.address) + "`"
}

// recordsOf returns the messages of a channel that are records.
func (d *definitions) recordsOf(c channel) []string {
	var names []string
	for _, r := range d.records {
		if slices.Contains(c.messages, r.name) {
			names = append(names, r.name)
		}
	}
	return names
}

func writers(c channel) string {
	if len(c.senders) == 0 {
		return "the server"
	}
	return strings.Join(c.senders, ", ")
}

// origin returns the writers of an event and their subjects.
func origin(event string) string {
	if slices.Contains(decided(), event) {
		return "Written by: orchestrator, inside a [Decision](#decision)."
	}
	var places []string
	for _, c := range channels() {
		if slices.Contains(c.events, event) && len(c.senders) > 0 {
			places = append(places, fmt.Sprintf("%s on %s", writers(c), subject(c)))
		}
	}
	if slices.Contains(recorded(), event) {
		places = append(places, "orchestrator as a record, inside a [Decision](#decision)")
	}
	return "Written by: " + strings.Join(places, "; ") + "."
}

func links(names []string) string {
	var out []string
	for _, name := range names {
		out = append(out, fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name)))
	}
	return strings.Join(out, ", ")
}

func fields(b *bytes.Buffer, s *jsonschema.Schema) {
	b.WriteString("| field | type | required | description |\n| --- | --- | --- | --- |\n")
	for _, name := range s.PropertyOrder {
		p, required := s.Properties[name], ""
		if slices.Contains(s.Required, name) {
			required = "yes"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, kind(p), required, cell(p.Description))
	}
}

// kind returns the type of a field for people.
func kind(s *jsonschema.Schema) string {
	name := typeName(s)
	switch {
	case name != "":
		return links([]string{name})
	case len(s.AnyOf) > 0:
		return kind(s.AnyOf[0]) + " or null"
	case len(s.Types) > 0: // of a patch: a type or null
		one := *s
		one.Type, one.Types = s.Types[0], nil
		return kind(&one) + " or null"
	case s.Const != nil:
		return fmt.Sprintf("`%q`", *s.Const)
	case s.Type == "array":
		return "array of " + kind(s.Items)
	case s.Type == "object" && s.AdditionalProperties != nil:
		return "object of " + kind(s.AdditionalProperties)
	case s.Type == "":
		return "any JSON"
	}
	return s.Type
}

// cell escapes characters that would end a table cell or be read as markup.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(s) }
