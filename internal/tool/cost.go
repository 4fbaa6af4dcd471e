package tool

import (
	"errors"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/parleybus/parley/internal/ceilings"
)

const (
	// maxNesting bounds objects and arrays in each other, of a schema and of
	// arguments, and the references from one subschema to the next for one value:
	// the schema library takes quadratic time in it.
	maxNesting = 100
	// maxPattern bounds one regular expression of a schema, and maxPatterns all of
	// them, in instructions of their programs: the time of a match is this times
	// the length of the text.
	maxPattern  = 2_000
	maxPatterns = 20_000
)

// patterns compiles the regular expressions of one schema within a bound.
type patterns struct {
	left int
	over error // the ceiling that one of them exceeded
}

// sized is a regular expression and the size of its program.
type sized struct {
	*regexp.Regexp
	size int64
}

func (p *patterns) compile(text string) (jsonschema.Regexp, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	size := instructions(tree)
	if p.left -= int(min(size, maxPatterns+1)); size > maxPattern || p.left < 0 {
		p.over = ceilings.Errorf(ceilings.CodeSchemaParts, "the pattern %.60q has %d instructions: one may have %d and all of a schema %d", text, size, maxPattern, maxPatterns)
		return nil, p.over
	}
	r, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	return sized{r, size}, nil
}

// instructions estimates the size of a pattern's program without building it.
func instructions(re *syntax.Regexp) int64 {
	n := int64(1)
	switch re.Op {
	case syntax.OpLiteral:
		n = int64(len(re.Rune))
	case syntax.OpCharClass:
		n = 1 + int64(len(re.Rune))/8
	}
	for _, sub := range re.Sub {
		n = min(n+instructions(sub), 1<<40)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*int64(max(re.Max, re.Min, 1)), 1<<40)
	}
	return n
}

// nested counts the objects of a decoded document and reports whether it is nested
// deeper than [maxNesting].
func nested(doc any, depth int) (objects int64, deep bool) {
	if depth > maxNesting {
		return 0, true
	}
	switch doc := doc.(type) {
	case map[string]any:
		objects = 1
		for _, e := range doc {
			n, d := nested(e, depth+1)
			objects, deep = objects+n, deep || d
		}
	case []any:
		for _, e := range doc {
			n, d := nested(e, depth+1)
			objects, deep = objects+n, deep || d
		}
	}
	return objects, deep
}

// expansion counts the subschemas that apply to one value: a few nested references
// are billions, and the schema library visits each.
type expansion struct {
	most int64
	size map[*jsonschema.Schema]int64 // -1 while it is being counted
	next []*jsonschema.Schema         // of values inside, to be counted by themselves
}

// checkExpansion returns why a compiled schema cannot be used; nil when it can.
func checkExpansion(root *jsonschema.Schema, most int64) error {
	x := expansion{most: most, size: map[*jsonschema.Schema]int64{}, next: []*jsonschema.Schema{root}}
	for len(x.next) > 0 {
		s := x.next[len(x.next)-1]
		x.next = x.next[:len(x.next)-1]
		if _, done := x.size[s]; done {
			continue
		}
		if _, err := x.count(s, 0); err != nil {
			return err
		}
	}
	return nil
}

func (x *expansion) count(s *jsonschema.Schema, depth int) (int64, error) {
	switch n, known := x.size[s]; {
	case known && n < 0:
		return 0, ceilings.Errorf(ceilings.CodeSchemaParts, "a subschema refers to itself for the same value (%s): let it refer to itself for a property or an item", location(s))
	case known:
		return n, nil
	case depth > maxNesting:
		return 0, ceilings.Errorf(ceilings.CodeSchemaParts, "more than %d references follow each other (%s)", maxNesting, location(s))
	case s.DynamicRef != nil || s.RecursiveRef != nil:
		return 0, ceilings.Errorf(ceilings.CodeSchemaParts, "it has a $dynamicRef or $recursiveRef, whose cost has no bound: write $ref")
	}
	x.size[s] = -1
	n := int64(1)
	for _, sub := range inPlace(s) {
		more, err := x.count(sub, depth+1)
		if err != nil {
			return 0, err
		}
		if n += more; n > x.most {
			return 0, ceilings.Errorf(ceilings.CodeSchemaParts, "more than %d subschemas apply to one value when references are expanded (%s): simplify it, or raise schema_parts", x.most, location(s))
		}
	}
	x.size[s] = n
	x.next = append(x.next, inside(s)...)
	return n, nil
}

// location is where a subschema is in the schema.
func location(s *jsonschema.Schema) string {
	_, at, _ := strings.Cut(s.Location, "#")
	return "#" + at
}

// inPlace returns the subschemas that apply to the value itself.
func inPlace(s *jsonschema.Schema) []*jsonschema.Schema {
	all := slices.Concat(s.AllOf, s.AnyOf, s.OneOf, []*jsonschema.Schema{s.Ref, s.Not, s.If, s.Then, s.Else})
	all = slices.AppendSeq(all, maps.Values(s.DependentSchemas))
	for _, d := range s.Dependencies {
		if sub, ok := d.(*jsonschema.Schema); ok {
			all = append(all, sub)
		}
	}
	return slices.DeleteFunc(all, func(s *jsonschema.Schema) bool { return s == nil })
}

// inside returns the subschemas that apply to values inside the value.
func inside(s *jsonschema.Schema) []*jsonschema.Schema {
	all := slices.Concat(s.PrefixItems, []*jsonschema.Schema{s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems, s.ContentSchema})
	all = slices.AppendSeq(all, maps.Values(s.Properties))
	all = slices.AppendSeq(all, maps.Values(s.PatternProperties))
	for _, some := range []any{s.AdditionalProperties, s.Items, s.AdditionalItems} {
		switch some := some.(type) {
		case *jsonschema.Schema:
			all = append(all, some)
		case []*jsonschema.Schema:
			all = append(all, some...)
		}
	}
	return slices.DeleteFunc(all, func(s *jsonschema.Schema) bool { return s == nil })
}

// boundedRegex validates the format regex of a value within the bound of a pattern:
// the library would compile what the model wrote, however large.
func boundedRegex(v any) error {
	text, ok := v.(string)
	if !ok {
		return nil
	}
	p := patterns{left: maxPattern}
	if _, err := p.compile(text); err != nil {
		return errors.New("it is not a pattern, or too large a one")
	}
	return nil
}

// checkDocument returns why the document of a schema is not compiled.
func checkDocument(doc any, most ceilings.Ceilings) error {
	if _, ok := doc.(map[string]any); !ok {
		return errors.New("it is not a JSON object")
	}
	switch objects, deep := nested(doc, 0); {
	case deep:
		return ceilings.Errorf(ceilings.CodeSchemaParts, "it is nested deeper than %d", maxNesting)
	case objects > most.SchemaParts:
		return ceilings.Errorf(ceilings.CodeSchemaParts, "it has %d objects, at most %d are allowed: simplify it, or raise schema_parts", objects, most.SchemaParts)
	}
	return nil
}

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
