package dialect

import (
	"encoding/json"
	"slices"
)

// mostInlined bounds the schemas of a tool after references are written out.
const mostInlined = 5000

// inliner writes a schema with a host's keywords only.
type inliner struct {
	root *node
	take []string // keywords
	left int      // schemas until mostInlined
	refs []string // that lead to the current schema
}

// subset writes out references, and removes the keywords that the host does not take.
// What is removed makes the schema accept more, never less.
func (s *schema) subset(r Rules) {
	if len(r.Keywords) == 0 {
		return
	}
	in := &inliner{root: s.root, take: r.Keywords, left: mostInlined}
	if n := in.write(s.root); !n.equal(s.root) {
		s.root, s.changed = n, true
	}
}

// write returns a schema in the host's keywords.
func (in *inliner) write(n *node) *node {
	if in.left--; in.left < 0 || !n.isObject() {
		return object()
	}
	depth := len(in.refs)
	n = in.resolve(n)
	out := object()
	for i, key := range n.keys {
		if v := in.keyword(key, n.values[i]); v != nil && slices.Contains(in.take, key) {
			out.set(key, v)
		}
	}
	in.refs = in.refs[:depth]
	in.known(out)
	return out
}

// resolve returns a schema without reference and allOf, and with what its other
// keywords say in those that the host takes.
func (in *inliner) resolve(n *node) *node {
	n = n.shallow()
	for ref := n.get("$ref"); ref != nil; ref = n.get("$ref") {
		n.drop("$ref")
		target := in.root.at(ref.string())
		if slices.Contains(in.refs, ref.string()) || !target.isObject() {
			if ref.string() == "#" || target.is("object") {
				n.front("type", text("object"))
			}
			break // of a circle, one round is written; what is elsewhere may be anything
		}
		if in.left -= len(target.keys); in.left < 0 {
			break
		}
		in.refs = append(in.refs, ref.string())
		n.fill(target)
	}
	if all := n.drop("allOf"); all != nil && all.kind == '[' {
		for _, branch := range all.values {
			if !branch.isObject() {
				continue
			}
			branch = in.resolve(branch)
			more := 0
			if p := branch.get("properties"); p != nil {
				more = len(p.keys)
			}
			if in.left -= 1 + len(branch.keys) + more + len(branch.get("required").strings()); in.left < 0 {
				break
			}
			n.also(branch)
			n.fill(branch)
		}
	}
	if c := n.drop("const"); c != nil && n.get("enum") == nil {
		n.set("enum", list(c))
	}
	for bound, exclusive := range map[string]string{"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"} {
		if e := n.drop(exclusive); e != nil && n.get(bound) == nil {
			n.set(bound, e)
		}
	}
	return n
}

// keyword returns the value of a keyword; nil to leave it out.
func (in *inliner) keyword(key string, v *node) *node {
	switch key {
	case "properties":
		if !v.isObject() {
			return nil
		}
		all := object()
		for i, name := range v.keys {
			all.set(name, in.write(v.values[i]))
		}
		return all
	case "anyOf", "oneOf", "prefixItems":
		if v.kind != '[' {
			return nil
		}
		all := list()
		for _, branch := range v.values {
			all.values = append(all.values, in.write(branch))
		}
		return all
	case "items":
		return in.write(v)
	case "additionalProperties":
		if v.isObject() {
			return in.write(v)
		}
	case "format":
		if !slices.Contains([]string{"date-time", "date", "time", "float", "double", "int32", "int64"}, v.string()) {
			return nil
		}
	case "enum":
		return values(v)
	}
	return v
}

// values returns an enum of texts or numbers, the only ones that the host takes; nil
// for others. A null is left out.
func values(v *node) *node {
	if v.kind != '[' {
		return nil
	}
	all := list()
	for _, e := range v.values {
		_, isText := e.scalar.(string)
		_, isNumber := e.scalar.(json.Number)
		switch {
		case isText || isNumber:
			all.values = append(all.values, e)
		case e.kind != 0 || e.scalar != nil:
			return nil
		}
	}
	if len(all.values) == 0 {
		return nil
	}
	return all
}

// known gives an enum the type that it implies, and removes required names without a
// property.
func (in *inliner) known(n *node) {
	if enum := n.get("enum"); enum != nil && n.get("type") == nil {
		kind := "number"
		if len(enum.strings()) == len(enum.values) {
			kind = "string"
		}
		if kind == "string" || len(enum.strings()) == 0 {
			n.front("type", text(kind))
		}
	}
	names := n.get("required").strings()
	if len(names) == 0 {
		return
	}
	properties := n.get("properties")
	n.require(slices.DeleteFunc(names, func(name string) bool { return properties.get(name) == nil }))
}

// shallow copies an object, but not what is in it.
func (n *node) shallow() *node {
	return &node{kind: n.kind, keys: slices.Clone(n.keys), values: slices.Clone(n.values)}
}

// also adds the properties and the required names of a schema that must match, too. Of
// a property that both describe, one description counts. Nothing is changed that the
// copy shares with others.
func (n *node) also(other *node) {
	own, more := n.get("properties"), other.get("properties")
	if own.isObject() && more.isObject() {
		own = own.shallow()
		own.fill(more)
		n.set("properties", own)
	}
	required := slices.Clone(n.get("required").strings())
	for _, name := range other.get("required").strings() {
		if !slices.Contains(required, name) {
			required = append(required, name)
		}
	}
	n.require(required)
}

// fill adds the members of another object that this one lacks.
func (n *node) fill(other *node) {
	for i, key := range other.keys {
		if n.get(key) == nil {
			n.set(key, other.values[i])
		}
	}
}
