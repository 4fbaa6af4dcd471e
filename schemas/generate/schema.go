package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/parleybus/parley/internal/events"
)

// definitions holds the schemas of all events and of their shared types.
type definitions struct {
	events []definition // in the order of the documentation
	shared []definition // in the order in which the events first use them
}

// definition is the schema of one Go type.
type definition struct {
	name   string
	schema *jsonschema.Schema
}

// find returns a shared type.
func (d *definitions) find(name string) *jsonschema.Schema {
	i := slices.IndexFunc(d.shared, func(s definition) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return d.shared[i].schema
}

// describe returns the schemas of all events. Named types below them become
// references to #/$defs/<Name>.
func describe(src *source) (*definitions, error) {
	var shared []reflect.Type
	prototypes := events.Prototypes()
	for _, e := range prototypes {
		shared = collect(shared, reflect.TypeOf(e).Elem())
	}
	opts := &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[json.RawMessage](): {},
		reflect.TypeFor[events.Line]():     line(),
	}}
	for _, t := range shared {
		opts.TypeSchemas[t] = &jsonschema.Schema{Ref: "#/$defs/" + t.Name()}
	}
	defs := &definitions{}
	for _, t := range shared {
		s, err := schemaOf(t, opts, src)
		if err != nil {
			return nil, err
		}
		defs.shared = append(defs.shared, definition{t.Name(), s})
	}
	for _, e := range prototypes {
		s, err := schemaOf(reflect.TypeOf(e).Elem(), opts, src)
		if err != nil {
			return nil, err
		}
		var name any = e.Type()
		s.Properties["type"] = &jsonschema.Schema{Type: "string", Const: &name, Description: "the name of the event; always the first field"}
		s.PropertyOrder = append([]string{"type"}, s.PropertyOrder...)
		s.Required = append([]string{"type"}, s.Required...)
		defs.events = append(defs.events, definition{e.Type(), s})
	}
	return defs, nil
}

// line is an event inside an event.
func line() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object",
		Properties: map[string]*jsonschema.Schema{
			"type": {Type: "string", Description: "the name of the event, whose schema it follows"},
		},
		Required: []string{"type"},
	}
}

// collect appends the named types of the events package that t refers to, each
// once and before those it refers to itself. Embedded structs are no types of
// their own on the wire.
func collect(found []reflect.Type, t reflect.Type) []reflect.Type {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return add(found, t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			switch {
			case f.Anonymous:
				found = collect(found, f.Type)
			case f.Tag.Get("json") != "-":
				found = add(found, f.Type)
			}
		}
	}
	return found
}

func add(found []reflect.Type, t reflect.Type) []reflect.Type {
	ours := t.PkgPath() == reflect.TypeFor[events.Line]().PkgPath()
	if t == reflect.TypeFor[events.Line]() || ours && slices.Contains(found, t) {
		return found
	}
	if ours {
		found = append(found, t)
	}
	return collect(found, t)
}

// schemaOf returns the schema that jsonschema-go infers, changed to allow
// unknown fields and to refuse null, which this code never writes.
func schemaOf(t reflect.Type, opts *jsonschema.ForOptions, src *source) (*jsonschema.Schema, error) {
	// The type itself and its embedded types must be inlined, not referenced.
	spelled := &jsonschema.ForOptions{TypeSchemas: maps.Clone(opts.TypeSchemas)}
	delete(spelled.TypeSchemas, t)
	if t.Kind() == reflect.Struct {
		for f := range t.Fields() {
			if f.Anonymous {
				delete(spelled.TypeSchemas, f.Type)
			}
		}
	}
	s, err := jsonschema.ForType(t, spelled)
	if err != nil {
		return nil, err
	}
	relax(s)
	if s.Description = src.text[t.Name()]; s.Description == "" {
		return nil, fmt.Errorf("type %s has no doc comment, which is its description", t.Name())
	}
	if t.Kind() == reflect.String {
		for _, v := range src.values[t.Name()] {
			s.Enum = append(s.Enum, v.text)
		}
	}
	for name, p := range s.Properties {
		if p.Description == "" {
			return nil, fmt.Errorf("field %s of %s has no jsonschema tag, which is its description", name, t.Name())
		}
	}
	return s, nil
}

func relax(s *jsonschema.Schema) {
	if s.Types != nil {
		s.Types = slices.DeleteFunc(s.Types, func(t string) bool { return t == "null" })
		if len(s.Types) == 1 {
			s.Type, s.Types = s.Types[0], nil
		} else if len(s.Types) == 0 {
			s.Types = nil
		}
	}
	if s.Properties != nil {
		s.AdditionalProperties = nil
	}
	for _, p := range s.Properties {
		relax(p)
	}
	if s.Items != nil {
		relax(s.Items)
	}
	if s.AdditionalProperties != nil {
		relax(s.AdditionalProperties)
	}
}

// schemaFile returns the schema of an event with all referenced types.
func schemaFile(e definition, defs *definitions) ([]byte, error) {
	s := e.schema.CloneSchemas()
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.ID = "https://parleybus.dev/schemas/" + e.name + ".json"
	s.Title = e.name
	refer(s, s, defs)
	if e.name == "Settings" {
		unset(s)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return headFirst(raw)
}

// refer adds the types that part references, recursively, to $defs of root.
func refer(root, part *jsonschema.Schema, defs *definitions) {
	if name := typeName(part); name != "" && root.Defs[name] == nil {
		if root.Defs == nil {
			root.Defs = map[string]*jsonschema.Schema{}
		}
		root.Defs[name] = defs.find(name)
		refer(root, defs.find(name), defs)
	}
	for _, p := range part.Properties {
		refer(root, p, defs)
	}
	if part.Items != nil {
		refer(root, part.Items, defs)
	}
	if part.AdditionalProperties != nil {
		refer(root, part.AdditionalProperties, defs)
	}
}

// unset allows null in Settings, which is a merge patch: null unsets a field.
func unset(root *jsonschema.Schema) {
	nullable(root)
	for _, name := range []string{"Parameters", "Limits", "Policy"} {
		root.Defs[name] = root.Defs[name].CloneSchemas()
		nullable(root.Defs[name])
	}
}

// nullable allows null for the optional fields of an object, and for the values
// of maps.
func nullable(s *jsonschema.Schema) {
	for name, p := range s.Properties {
		if slices.Contains(s.Required, name) {
			continue
		}
		if p.AdditionalProperties != nil {
			p.AdditionalProperties = orNull(p.AdditionalProperties)
		}
		s.Properties[name] = orNull(p)
	}
}

func orNull(s *jsonschema.Schema) *jsonschema.Schema {
	switch {
	case s.Type != "":
		s.Types, s.Type = []string{s.Type, "null"}, ""
	case s.Ref != "":
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Ref: s.Ref}, {Type: "null"}}, Description: s.Description}
	}
	return s
}

// typeName returns the shared type that a schema references, or "".
func typeName(s *jsonschema.Schema) string {
	if len(s.Ref) > len("#/$defs/") {
		return s.Ref[len("#/$defs/"):]
	}
	return ""
}

// headFirst indents a schema and moves the most important keys to the top.
func headFirst(raw []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	buf.WriteByte('{')
	for i, key := range []string{"$schema", "$id", "title", "description", "type", "required", "properties", "$defs"} {
		if fields[key] == nil {
			continue
		}
		if i > 0 {
			buf.WriteByte(',')
		}
		fmt.Fprintf(&buf, "%q:%s", key, fields[key])
		delete(fields, key)
	}
	buf.WriteByte('}')
	if len(fields) > 0 {
		return nil, fmt.Errorf("a keyword has no place in the file's order: %v", fields)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, buf.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
