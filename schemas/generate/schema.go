package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
)

// definitions holds the schemas of all events, of their shared types, of the records
// in buckets, and of the unions of events.
type definitions struct {
	events  []definition // in the order of the documentation
	shared  []definition // in the order in which the events first use them
	records []definition
	unions  []definition
}

// definition is the schema of one type.
type definition struct {
	name   string
	schema *jsonschema.Schema
	values []value // of an enum
}

// find returns the schema with a name; nil when there is none.
func (d *definitions) find(name string) *jsonschema.Schema {
	for _, all := range [][]definition{d.shared, d.events, d.records, d.unions} {
		if i := slices.IndexFunc(all, func(s definition) bool { return s.name == name }); i >= 0 {
			return all[i].schema
		}
	}
	return nil
}

// describe returns the schemas of everything. Named types inside others are
// references to #/$defs/<Name>.
func describe(src *source) (*definitions, error) {
	records := []reflect.Type{reflect.TypeFor[offer.Offer](), reflect.TypeFor[offer.Known]()}
	var shared []reflect.Type
	prototypes := events.Prototypes()
	for _, e := range prototypes {
		shared = collect(shared, reflect.TypeOf(e).Elem())
	}
	for _, r := range records {
		shared = collect(shared, r)
	}
	opts := &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[json.RawMessage](): {},
		reflect.TypeFor[[]byte]():          {Type: "string", ContentEncoding: "base64"},
		reflect.TypeFor[events.Line]():     refTo(decisionEvent),
	}}
	for _, t := range shared {
		opts.TypeSchemas[t] = refTo(nestedName(t))
	}
	defs := &definitions{unions: unions()}
	for _, t := range shared {
		if name := nestedName(t); events.New(name) == nil { // an event is described below
			s, err := schemaOf(t, opts, src)
			if err != nil {
				return nil, err
			}
			s.Description = describes(s.Description, wireName(t.Name()), name)
			defs.shared = append(defs.shared, definition{name, s, src.values[t.Name()]})
		}
	}
	for _, r := range records {
		s, err := schemaOf(r, opts, src)
		if err != nil {
			return nil, err
		}
		defs.records = append(defs.records, definition{wireName(r.Name()), s, nil})
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
		defs.events = append(defs.events, definition{e.Type(), s, nil})
	}
	return defs, defs.patches()
}

// collect appends our named types that t refers to, each once and before those it
// refers to itself. Embedded structs are no types of their own on the wire.
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
	ours := t.PkgPath() == reflect.TypeFor[events.Line]().PkgPath() || t.PkgPath() == reflect.TypeFor[offer.Offer]().PkgPath()
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
	if s.Description = describes(src.text[t.Name()], t.Name(), wireName(t.Name())); s.Description == "" {
		return nil, fmt.Errorf("type %s has no doc comment, which is its description", t.Name())
	}
	if t.Kind() == reflect.Struct {
		require(s, t)
	}
	if t.Kind() == reflect.String {
		for _, v := range src.values[t.Name()] {
			s.Enum = append(s.Enum, v.text)
		}
	}
	for name, p := range s.Properties {
		if p.Description == "" {
			p.Description = src.fields[t.Name()+"."+name]
		}
		if p.Description == "" {
			return nil, fmt.Errorf("field %s of %s has neither a jsonschema tag nor a comment, which is its description", name, t.Name())
		}
	}
	return s, nil
}

// require adds the fields that every writer must write though Go leaves them out when
// they are empty: those with the tag wire:"required".
func require(s *jsonschema.Schema, t reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Tag.Get("wire") == "required" && !slices.Contains(s.Required, name) {
			s.Required = append(s.Required, name)
		}
	}
	slices.SortFunc(s.Required, func(a, b string) int {
		return cmp.Compare(slices.Index(s.PropertyOrder, a), slices.Index(s.PropertyOrder, b))
	})
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

// patches makes Settings a merge patch, in which null unsets a field. Objects in it
// are patches too, under names of their own: elsewhere their fields are not null.
func (d *definitions) patches() error {
	settings := d.find("Settings")
	nullable(settings)
	for _, name := range []string{"GenerationParameters", "Limits", "Policy", "Compaction"} {
		s := d.find(name)
		if s == nil {
			return fmt.Errorf("type %s of Settings is missing: see patches in schema.go", name)
		}
		patch := s.CloneSchemas()
		nullable(patch)
		patch.Description = name + "Patch is " + name + " in Settings: null unsets a field.\n\n" + s.Description
		d.shared = append(d.shared, definition{name + "Patch", patch, nil})
		for _, p := range settings.Properties {
			for _, one := range p.AnyOf {
				if typeName(one) == name {
					one.Ref += "Patch"
				}
			}
		}
	}
	return nil
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
	for i, key := range []string{"$schema", "$id", "$comment", "title", "description", "type", "required", "oneOf", "properties", "$defs"} {
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
