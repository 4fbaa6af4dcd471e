package tool

import (
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/parleybus/parley/internal/ceilings"
)

// affordable returns an error if validating a value costs more than the ceiling, or
// if it is nested too deeply. It is an upper bound, computed without validating: each
// pair of a subschema and a value is visited once, however often the validation does.
func (v *Validator) affordable(s *jsonschema.Schema, doc any, left *int64) error {
	if _, deep := nested(doc, 0); deep {
		return ceilings.Errorf(ceilings.CodeValidationCost, "arguments are nested deeper than %d objects and lists", maxNesting)
	}
	usual := v.most().ValidationCost
	e := estimate{most: min(usual, *left), known: map[pair]int64{}}
	c := max(e.cost(s, newNode(doc)), e.steps)
	*left -= min(c, *left)
	switch {
	case c <= e.most:
		return nil
	case e.most < usual:
		return errShared
	}
	return ceilings.Errorf(ceilings.CodeValidationCost, "arguments are too costly to validate against the tool's schema (more than %d units): pass less at once, or raise validation_cost", usual)
}

// node is a value of the arguments. Its children are the containers inside it, so
// that a pair with a subschema has an identity; leaves are nodes for a moment.
type node struct {
	value any
	size  int64 // values inside, itself included
	kids  []*node
	names map[string]*node
}

func newNode(value any) *node {
	n := &node{value: value, size: 1}
	switch value := value.(type) {
	case map[string]any:
		n.names = make(map[string]*node, len(value))
		for name, v := range value {
			kid := newNode(v)
			n.names[name] = kid
			n.size += kid.size + int64(len(name))/64
		}
	case []any:
		n.kids = make([]*node, len(value))
		for i, v := range value {
			n.kids[i] = newNode(v)
			n.size += n.kids[i].size
		}
	case string:
		n.size += int64(len(value)) / 64
	}
	return n
}

type pair struct {
	schema *jsonschema.Schema
	node   *node
}

// estimate adds up costs until they exceed the ceiling. A unit is about one visit of
// the library: an error may be built there.
type estimate struct {
	most, steps int64
	known       map[pair]int64
}

// cost returns an upper bound of what applying a schema to a value costs.
func (e *estimate) cost(s *jsonschema.Schema, n *node) int64 {
	if s == nil {
		return 0
	}
	container := n.names != nil || n.kids != nil
	if container {
		if c, ok := e.known[pair{s, n}]; ok {
			return c
		}
	}
	if e.steps++; e.steps > e.most {
		return e.most + 1
	}
	if s.Bool != nil {
		return 1
	}
	c := e.own(s, n)
	for _, sub := range inPlace(s) {
		if c += e.cost(sub, n); c > e.most {
			return e.most + 1
		}
	}
	for name, kid := range n.names {
		if c += e.property(s, name, kid); c > e.most {
			return e.most + 1
		}
	}
	for i, kid := range n.kids {
		if c += e.item(s, i, kid); c > e.most {
			return e.most + 1
		}
	}
	if container {
		e.known[pair{s, n}] = c
	}
	return c
}

// own returns what the keywords of a schema cost that look at the value alone.
func (e *estimate) own(s *jsonschema.Schema, n *node) int64 {
	c := int64(1 + len(n.names) + len(n.kids) + len(s.Required)/8)
	if s.Enum != nil {
		for _, v := range s.Enum.Values {
			c += compared(v, n.size)
		}
	}
	if s.Const != nil {
		c += compared(*s.Const, n.size)
	}
	if s.UniqueItems {
		// Items with one hash are compared with each other, and who writes them can
		// give all of them one hash.
		k := int64(len(n.kids))
		c += n.size + k*k/64
		if k <= 20 {
			c += k * n.size / 4
		}
	}
	if text, ok := n.value.(string); ok {
		c += e.text(s, text)
	}
	return c
}

// text returns what a text costs: its pattern, its format and its length.
func (e *estimate) text(s *jsonschema.Schema, text string) int64 {
	c := match(s.Pattern, len(text))
	if s.Format != nil {
		c += 1 + int64(len(text))/16
	}
	if s.MinLength != nil || s.MaxLength != nil {
		c += int64(len(text)) / 256
	}
	return c
}

// match returns what a match costs; 0 without a pattern.
func match(pattern jsonschema.Regexp, length int) int64 {
	p, ok := pattern.(sized)
	if !ok {
		return 0
	}
	return 1 + int64(length)*p.size/50
}

// compared returns what comparing a value of the schema with one of a size costs.
func compared(v any, size int64) int64 {
	switch v := v.(type) {
	case map[string]any:
		return 1 + min(int64(len(v))*4, size)
	case []any:
		return 1 + min(int64(len(v))*4, size)
	case string:
		return 1
	}
	return 2 // a number is compared as an exact fraction
}

func (e *estimate) property(s *jsonschema.Schema, name string, kid *node) int64 {
	c := e.cost(s.Properties[name], kid) + e.cost(s.UnevaluatedProperties, kid)
	for pattern, sub := range s.PatternProperties {
		if c += match(pattern, len(name)) + e.cost(sub, kid); c > e.most {
			return c
		}
	}
	if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		c += e.cost(sub, kid)
	}
	if s.PropertyNames != nil {
		c += e.cost(s.PropertyNames, &node{value: name, size: 1 + int64(len(name))/64})
	}
	return c
}

func (e *estimate) item(s *jsonschema.Schema, i int, kid *node) int64 {
	c := e.cost(s.Contains, kid) + e.cost(s.UnevaluatedItems, kid)
	if i < len(s.PrefixItems) {
		c += e.cost(s.PrefixItems[i], kid)
	} else {
		c += e.cost(s.Items2020, kid)
	}
	switch items := s.Items.(type) {
	case *jsonschema.Schema:
		c += e.cost(items, kid)
	case []*jsonschema.Schema:
		if i < len(items) {
			c += e.cost(items[i], kid)
		}
	}
	if sub, ok := s.AdditionalItems.(*jsonschema.Schema); ok {
		c += e.cost(sub, kid)
	}
	return c
}
