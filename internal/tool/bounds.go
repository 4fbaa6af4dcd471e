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
