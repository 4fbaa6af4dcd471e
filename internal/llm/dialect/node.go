package dialect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// deepest bounds the nesting of a schema.
const deepest = 200

// node is a JSON value that keeps the order of an object's members, which models
// follow when they write arguments.
type node struct {
	kind   json.Delim // '{' or '['; 0 for other values
	keys   []string   // of an object
	values []*node    // of an object or an array
	scalar any        // string, bool, nil or json.Number
}

func parse(raw []byte) (*node, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	n, err := next(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text follows the JSON value")
	}
	return n, nil
}

func next(d *json.Decoder, depth int) (*node, error) {
	if depth > deepest {
		return nil, fmt.Errorf("it is nested more than %d deep", deepest)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, is := t.(json.Delim)
	if !is {
		return &node{scalar: t}, nil
	}
	n := &node{kind: open}
	for d.More() {
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			n.keys = append(n.keys, name)
		}
		v, err := next(d, depth+1)
		if err != nil {
			return nil, err
		}
		n.values = append(n.values, v)
	}
	_, err = d.Token()
	return n, err
}

// MarshalJSON implements [json.Marshaler].
func (n *node) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	err := n.write(&out)
	return out.Bytes(), err
}

func (n *node) write(out *bytes.Buffer) error {
	if n.kind == 0 {
		return scalar(out, n.scalar)
	}
	out.WriteByte(byte(n.kind))
	for i, v := range n.values {
		if i > 0 {
			out.WriteByte(',')
		}
		if n.kind == '{' {
			if err := scalar(out, n.keys[i]); err != nil {
				return err
			}
			out.WriteByte(':')
		}
		if err := v.write(out); err != nil {
			return err
		}
	}
	out.WriteByte(byte(n.kind) + 2) // the closing bracket, of either kind
	return nil
}

func scalar(out *bytes.Buffer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1) // the encoder's line break
	return nil
}

func object() *node { return &node{kind: '{'} }

func text(s string) *node { return &node{scalar: s} }

func list(values ...*node) *node { return &node{kind: '[', values: values} }

func (n *node) isObject() bool { return n != nil && n.kind == '{' }

// get returns a member; nil if there is none. Of two the last counts, as for
// every decoder.
func (n *node) get(key string) *node {
	if n.isObject() {
		for i, k := range slices.Backward(n.keys) {
			if k == key {
				return n.values[i]
			}
		}
	}
	return nil
}

// set replaces a member in its place, or adds it at the end.
func (n *node) set(key string, v *node) {
	if i := slices.Index(n.keys, key); i >= 0 {
		n.values[i] = v
		return
	}
	n.keys, n.values = append(n.keys, key), append(n.values, v)
}

// front adds a member as the first, or replaces it in its place.
func (n *node) front(key string, v *node) {
	if n.get(key) != nil {
		n.set(key, v)
		return
	}
	n.keys, n.values = slices.Insert(n.keys, 0, key), slices.Insert(n.values, 0, v)
}

// drop removes a member and returns it; nil if there was none.
func (n *node) drop(key string) (dropped *node) {
	for i := len(n.keys) - 1; i >= 0; i-- {
		if n.keys[i] == key {
			dropped = n.values[i]
			n.keys, n.values = slices.Delete(n.keys, i, i+1), slices.Delete(n.values, i, i+1)
		}
	}
	return dropped
}

func (n *node) rename(from, to string) {
	for i, k := range n.keys {
		if k == from {
			n.keys[i] = to
		}
	}
}

func (n *node) string() string {
	if n == nil {
		return ""
	}
	s, _ := n.scalar.(string)
	return s
}

// strings returns the texts of a list.
func (n *node) strings() []string {
	var all []string
	if n != nil && n.kind == '[' {
		for _, v := range n.values {
			if s, ok := v.scalar.(string); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

// is reports whether a schema is of a type, alone or among others.
func (n *node) is(kind string) bool {
	t := n.get("type")
	return t.string() == kind || slices.Contains(t.strings(), kind)
}

// at returns what a reference within the document names, "#/$defs/item"; nil for
// any other.
func (n *node) at(ref string) *node {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil
	}
	for step := range strings.SplitSeq(path, "/") {
		if n = n.get(strings.NewReplacer("~1", "/", "~0", "~").Replace(step)); n == nil {
			return nil
		}
	}
	return n
}

// clone copies a value, so that a change affects one place only.
func (n *node) clone() *node {
	c := *n
	c.keys, c.values = slices.Clone(n.keys), make([]*node, len(n.values))
	for i, v := range n.values {
		c.values[i] = v.clone()
	}
	return &c
}
