package dialect

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// schema is a tool's schema while it is adapted.
type schema struct {
	raw     json.RawMessage
	root    *node
	changed bool
	notes   []string // what the provider's schema does not say, for the description
}

// encode returns the schema as it was written, unless something had to change.
func (s *schema) encode() json.RawMessage {
	if !s.changed {
		return s.raw
	}
	raw, err := s.root.MarshalJSON()
	if err != nil { // of values that were decoded from JSON
		return s.raw
	}
	return raw
}

func (s *schema) describe(more string) {
	if own := s.root.get("description").string(); own != "" {
		more += "\n\n" + own
	}
	s.root.set("description", text(more))
	s.changed = true
}

// schema adapts a schema.
func (r Rules) schema(raw json.RawMessage) (*schema, error) {
	s := &schema{raw: raw, root: object()}
	if len(raw) == 0 {
		s.changed = true
	} else {
		root, err := parse(raw)
		if err != nil {
			return nil, fmt.Errorf("its schema is not JSON: %w", err)
		}
		s.root = root
	}
	if !s.root.isObject() {
		return nil, errors.New("its schema is not a JSON object")
	}
	if s.root.drop("$schema") != nil {
		s.changed = true
	}
	if err := s.refer(); err != nil {
		return nil, err
	}
	switch t := s.root.get("type"); {
	case t.string() == "object":
	case t == nil || s.root.is("object"):
		s.root.front("type", text("object"))
		s.changed = true
	default:
		return nil, errors.New("its schema describes no object, and arguments are one")
	}
	if r.Flat {
		if err := s.flatten(); err != nil {
			return nil, err
		}
	}
	if err := s.keys(r); err != nil {
		return nil, err
	}
	s.each(s.root, r)
	s.subset(r)
	return s, nil
}

// refer replaces a reference at the top by what it names: providers demand a
// type there.
func (s *schema) refer() error {
	for range deepest {
		ref := s.root.get("$ref").string()
		if ref == "" {
			return nil
		}
		target := s.root.at(ref)
		if !target.isObject() {
			return fmt.Errorf("its schema refers to %.100q, which is not in it", ref)
		}
		s.root.drop("$ref")
		s.changed = true
		for i, key := range target.keys {
			if s.root.get(key) == nil {
				s.root.set(key, target.values[i].clone())
			}
		}
	}
	return errors.New("its schema refers to itself at the top")
}

// keys removes optional arguments whose names the provider refuses. A required
// one makes the tool unusable.
func (s *schema) keys(r Rules) error {
	properties := s.root.get("properties")
	if r.Key == 0 || !properties.isObject() {
		return nil
	}
	var dropped []string
	for _, key := range slices.Clone(properties.keys) {
		if wordOf(key, "_.-") && len(key) <= r.Key {
			continue
		}
		if slices.Contains(s.root.get("required").strings(), key) {
			return fmt.Errorf("%s takes names of arguments of at most %d letters, digits, _, . and -, and the tool requires one named %.100q", r.Host, r.Key, key)
		}
		properties.drop(key)
		dropped = append(dropped, fmt.Sprintf("%.100q", key))
		s.changed = true
	}
	if len(dropped) > 0 {
		s.notes = append(s.notes, "Arguments that cannot be given here: "+strings.Join(dropped, ", ")+".")
	}
	return nil
}

// each adapts a schema and those in it.
func (s *schema) each(n *node, r Rules) {
	s.modernize(n)
	if r.Items && n.is("array") && n.get("items") == nil {
		n.set("items", object())
		s.changed = true
	}
	if r.Properties && n.is("object") && n.get("properties") == nil {
		n.set("properties", object())
		s.changed = true
	}
	for i, key := range n.keys {
		v := n.values[i]
		switch placeOf(key) {
		case one:
			n.values[i] = s.sub(v, r, key == "items")
		case several:
			if v.kind != 0 {
				for j := range v.values {
					v.values[j] = s.sub(v.values[j], r, true)
				}
			}
		}
	}
}

// sub adapts a schema within another. A true or false in place of a schema is
// written as one where hosts decode schemas into structs.
func (s *schema) sub(n *node, r Rules, written bool) *node {
	if n.isObject() {
		s.each(n, r)
		return n
	}
	if all, is := n.scalar.(bool); is && written {
		s.changed = true
		n = object()
		if !all {
			n.set("not", object())
		}
	}
	return n
}

// modernize writes what drafts 4 to 7 say differently as draft 2020-12 does.
func (s *schema) modernize(n *node) {
	if tuple := n.get("items"); tuple != nil && tuple.kind == '[' {
		n.rename("items", "prefixItems")
		n.rename("additionalItems", "items")
		s.changed = true
	}
	for bound, exclusive := range map[string]string{"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"} {
		e := n.get(exclusive)
		if e == nil {
			continue
		}
		if excluded, old := e.scalar.(bool); old {
			n.drop(exclusive)
			if excluded && n.get(bound) != nil {
				n.rename(bound, exclusive)
			}
			s.changed = true
		}
	}
}

// place is what a keyword of a schema holds.
type place int

const (
	none    place = iota
	one           // a schema
	several       // a list of schemas, or schemas by name
)

func placeOf(keyword string) place {
	switch keyword {
	case "items", "additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "contains", "propertyNames", "not", "if", "then", "else":
		return one
	case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "prefixItems", "anyOf", "oneOf", "allOf":
		return several
	}
	return none
}
