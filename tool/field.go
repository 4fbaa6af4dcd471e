package tool

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// field is a field of a struct as encoding/json sees it.
type field struct {
	reflect.StructField
	name     string
	depth    int  // of embedding: the shallowest field of a name counts
	optional bool // it may be absent
	quoted   bool // a number or bool within a string
}

// object returns the schema of a struct.
func (w *walker) object(t reflect.Type) (*jsonschema.Schema, error) {
	if slices.Contains(w.open, t) {
		return nil, w.problem(t, "%s contains itself: a schema of it has no end; take a flat list whose items name their parent", t)
	}
	w.open = append(w.open, t)
	defer func() { w.open = w.open[:len(w.open)-1] }()
	all, err := w.fields(t, 0, false)
	if err != nil {
		return nil, err
	}
	s := &jsonschema.Schema{Type: "object", Properties: map[string]*jsonschema.Schema{}}
	if w.input {
		// An unknown name is an error of the model, which should get an error.
		s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	}
	for i, f := range all {
		hidden := slices.ContainsFunc(all, func(g field) bool { return g.name == f.name && g.depth < f.depth })
		if hidden {
			continue
		}
		if slices.ContainsFunc(all[:i], func(g field) bool { return g.name == f.name && g.depth == f.depth }) {
			return nil, w.problem(t, "two fields are called %q in JSON: rename one of the two", f.name)
		}
		w.path = append(w.path, f.Name)
		p, err := w.property(f)
		w.path = w.path[:len(w.path)-1]
		if err != nil {
			return nil, err
		}
		s.Properties[f.name] = p
		s.PropertyOrder = append(s.PropertyOrder, f.name)
		if !f.optional {
			s.Required = append(s.Required, f.name)
		}
	}
	return s, nil
}

// fields returns the fields of a struct and of its embedded structs, by the
// rules of encoding/json.
func (w *walker) fields(t reflect.Type, depth int, optional bool) ([]field, error) {
	var all []field
	for f := range t.Fields() {
		inner := f.Type
		if f.Anonymous && inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		embedded := f.Anonymous && inner.Kind() == reflect.Struct
		tag := f.Tag.Get("json")
		if tag == "-" || !f.IsExported() && !embedded {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if embedded && name == "" {
			below, err := w.embedded(f, inner, depth, optional)
			if err != nil {
				return nil, err
			}
			all = append(all, below...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		list := strings.Split(options, ",")
		all = append(all, field{
			StructField: f, name: cmp.Or(name, f.Name), depth: depth,
			optional: optional || slices.Contains(list, "omitempty") || slices.Contains(list, "omitzero") || w.input && f.Type.Kind() == reflect.Pointer,
			quoted:   slices.Contains(list, "string"),
		})
	}
	return all, nil
}

// embedded returns the fields that an embedded struct promotes.
func (w *walker) embedded(f reflect.StructField, inner reflect.Type, depth int, optional bool) ([]field, error) {
	if slices.Contains(w.open, inner) {
		return nil, w.problem(inner, "%s is embedded in itself: a schema of it has no end", inner)
	}
	pointer := f.Type != inner
	if pointer && w.input && !f.IsExported() {
		return nil, w.problem(inner, "encoding/json cannot fill the embedded *%s: embed it without the pointer, or export it", inner)
	}
	w.open = append(w.open, inner)
	defer func() { w.open = w.open[:len(w.open)-1] }()
	return w.fields(inner, depth+1, optional || pointer)
}

// property returns the schema of a field.
func (w *walker) property(f field) (*jsonschema.Schema, error) {
	s, err := w.schema(f.Type)
	if err != nil {
		return nil, err
	}
	if f.optional && s.Types != nil && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil // null means absent
	}
	if f.quoted && (s.Type == "integer" || s.Type == "number" || s.Type == "boolean") {
		s = &jsonschema.Schema{Type: "string", Description: s.Type + " as text"}
	}
	if text := f.Tag.Get("jsonschema"); text != "" {
		if word, _, _ := strings.Cut(text, " "); strings.Contains(word, "=") {
			return nil, w.problem(f.Type, "the tag jsonschema is a description; %q is not: use the tag enum for values, omitempty for optional, InputSchema for more", text)
		}
		s.Description = text
	}
	if values := f.Tag.Get("enum"); values != "" {
		if err := enumerate(s, values); err != nil {
			return nil, w.problem(f.Type, "enum %q: %v", values, err)
		}
	}
	return s, nil
}

// enumerate restricts the allowed values, of the items if the field is a list.
func enumerate(s *jsonschema.Schema, values string) error {
	if s.Items != nil {
		return enumerate(s.Items, values)
	}
	kind, null := s.Type, false
	if s.Types != nil {
		kind, null = s.Types[1], true
	}
	for text := range strings.SplitSeq(values, ",") {
		switch kind {
		case "string":
			s.Enum = append(s.Enum, text)
		case "integer", "number":
			var n json.Number
			if err := json.Unmarshal([]byte(strings.TrimSpace(text)), &n); err != nil {
				return fmt.Errorf("%q is not a number", text)
			}
			s.Enum = append(s.Enum, n)
		default:
			return fmt.Errorf("only strings, numbers and lists of them have values to choose from")
		}
	}
	if null {
		s.Enum = append(s.Enum, nil)
	}
	return nil
}
