package dialect

import (
	"errors"
	"slices"
)

const (
	// mostBranches bounds the alternatives at the top of a schema, those within
	// alternatives included.
	mostBranches = 200
	// longestNote bounds what the description says of alternatives, in bytes.
	longestNote = 2000
)

// errBranches reports a schema whose alternatives are not written out.
var errBranches = errors.New("the alternatives at the top of its schema are too many")

// flatten replaces anyOf, oneOf and allOf at the top by the arguments of all
// branches, and removes enum and not. The tool's description gets what is
// lost.
func (s *schema) flatten() error {
	removed := object()
	left := mostBranches
	for _, key := range []string{"anyOf", "oneOf", "allOf", "not", "enum"} {
		if s.root.get(key) == nil {
			continue
		}
		n := s.root.drop(key)
		s.changed = true
		removed.set(key, n.clone())
		if key == "not" || key == "enum" || n.kind != '[' {
			continue
		}
		shape, err := s.merge(key, n.values, &left)
		if err != nil {
			return err
		}
		s.root.absorb(shape)
	}
	if len(removed.keys) == 0 {
		return nil
	}
	note := "The arguments must also match another schema; a call that does not is refused, and the refusal says why."
	if raw, err := removed.MarshalJSON(); err == nil && len(raw) <= longestNote {
		note = "The arguments must also match this JSON Schema: " + string(raw)
	}
	s.notes = append(s.notes, note)
	return nil
}

// merge returns one schema with the properties of all branches, and those
// required that every call must have.
func (s *schema) merge(key string, branches []*node, left *int) (*node, error) {
	var whole *node
	for _, b := range branches {
		shape, err := s.shape(b, left)
		switch {
		case err != nil:
			return nil, err
		case shape == nil: // a branch of other values than objects, which no call matches
		case whole == nil:
			whole = shape
		default:
			required, more := whole.get("required").strings(), shape.get("required").strings()
			whole.absorb(shape)
			if key != "allOf" {
				required = slices.DeleteFunc(required, func(name string) bool { return !slices.Contains(more, name) })
				whole.require(required)
			}
		}
	}
	if whole == nil {
		whole = object()
	}
	return whole, nil
}

// shape returns the properties and the required names of a branch.
func (s *schema) shape(b *node, left *int) (*node, error) {
	if *left--; *left < 0 {
		return nil, errBranches
	}
	if ref := b.get("$ref").string(); ref != "" {
		target := s.root.at(ref)
		if target == nil {
			return nil, errors.New("its schema refers to what is not in it")
		}
		shape, err := s.shape(target, left)
		if err != nil || shape == nil {
			return nil, err
		}
		rest := b.clone()
		rest.drop("$ref")
		more, err := s.shape(rest, left)
		if more != nil {
			shape.absorb(more)
		}
		return shape, err
	}
	if b.get("type") != nil && !b.is("object") {
		return nil, nil
	}
	shape := object()
	if p := b.get("properties"); p.isObject() {
		shape.set("properties", p.clone())
	}
	shape.require(b.get("required").strings())
	for _, key := range []string{"anyOf", "oneOf", "allOf"} {
		n := b.get(key)
		if n == nil || n.kind != '[' {
			continue
		}
		inner, err := s.merge(key, n.values, left)
		if err != nil {
			return nil, err
		}
		shape.absorb(inner)
	}
	return shape, nil
}

// absorb adds the properties and the required names of a shape. A property that
// both describe differently may be either.
func (n *node) absorb(shape *node) {
	if more := shape.get("properties"); more.isObject() {
		all := n.get("properties")
		if !all.isObject() {
			all = object()
			n.set("properties", all)
		}
		for i, key := range more.keys {
			switch own := all.get(key); {
			case own == nil:
				all.set(key, more.values[i])
			case !own.equal(more.values[i]):
				all.set(key, own.either(more.values[i]))
			}
		}
	}
	required := n.get("required").strings()
	for _, name := range shape.get("required").strings() {
		if !slices.Contains(required, name) {
			required = append(required, name)
		}
	}
	n.require(required)
}

// require sets the required names.
func (n *node) require(names []string) {
	if len(names) == 0 {
		n.drop("required")
		return
	}
	all := list()
	for _, name := range names {
		all.values = append(all.values, text(name))
	}
	n.set("required", all)
}

// either returns a schema that one of two matches.
func (n *node) either(other *node) *node {
	if union := n.get("anyOf"); union != nil && union.kind == '[' && len(n.keys) == 1 {
		if !slices.ContainsFunc(union.values, other.equal) {
			union.values = append(union.values, other)
		}
		return n
	}
	both := object()
	both.set("anyOf", list(n, other))
	return both
}

// equal reports whether two values are written alike.
func (n *node) equal(other *node) bool {
	a, errA := n.MarshalJSON()
	b, errB := other.MarshalJSON()
	return errA == nil && errB == nil && string(a) == string(b)
}
