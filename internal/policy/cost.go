package policy

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxPattern bounds a regular expression in instructions of its program: the
// time of a match is this times the length of the text.
const maxPattern = 500

// restrict refuses operations that CEL allows and whose cost CEL does not
// bound: CEL counts after an operation, so no single operation may be
// disproportionately expensive. It returns the size of each regular expression.
func restrict(root ast.Expr) (patterns map[string]int, err error) {
	patterns = map[string]int{}
	ast.PreOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if err != nil {
			return
		}
		switch e.Kind() {
		case ast.CallKind:
			err = restrictCall(e.AsCall(), patterns)
		case ast.ListKind:
			err = restrictList(e.AsList())
		case ast.MapKind:
			for _, entry := range e.AsMap().Entries() {
				if m := entry.AsMapEntry(); !constant(m.Key()) || !constant(m.Value()) {
					err = errors.New("the condition builds a map: maps are written with constants only")
				}
			}
		case ast.StructKind:
			err = fmt.Errorf("the condition builds a message %s: write plain values", e.AsStruct().TypeName())
		}
	}))
	return patterns, err
}

func restrictCall(call ast.CallExpr, patterns map[string]int) error {
	switch name := call.FunctionName(); {
	case name == "replace" || name == "join":
		return fmt.Errorf("the condition calls %s, which can build very long texts: test the parts by themselves", name)
	case name == "indexOf" || name == "lastIndexOf":
		return fmt.Errorf("the condition calls %s, which takes very long on long texts: use contains or matches", name)
	case strings.HasPrefix(name, "get") && len(call.Args()) > 0:
		return fmt.Errorf("the condition calls %s with a time zone: times are in UTC", name)
	case name == overloads.Matches:
		args := call.Args()
		if len(args) == 0 || !constant(args[len(args)-1]) {
			return errors.New("the condition matches against a pattern from the arguments: write the pattern as a constant")
		}
		text, ok := args[len(args)-1].AsLiteral().(types.String)
		if !ok {
			return errors.New("the condition matches against something that is not a text: write the pattern as a constant")
		}
		size, err := patternSize(string(text))
		if err != nil {
			return err
		}
		patterns[string(text)] = size
	}
	return nil
}

func patternSize(text string) (int, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0, fmt.Errorf("the pattern %.60q of the condition: %w", text, err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return 0, fmt.Errorf("the pattern %.60q of the condition: %w", text, err)
	}
	if len(program.Inst) > maxPattern {
		return 0, fmt.Errorf("the pattern %.60q of the condition is too large: it has %d instructions, at most %d are allowed", text, len(program.Inst), maxPattern)
	}
	return len(program.Inst), nil
}

// restrictList keeps lists from growing with each step of nested macros: two
// times the same variable, thirty times over, is a billion elements. One
// variable is what the macro filter writes.
func restrictList(list ast.ListExpr) error {
	elements := list.Elements()
	if len(elements) == 1 && elements[0].Kind() == ast.IdentKind {
		return nil
	}
	for _, e := range elements {
		if !constant(e) {
			return errors.New("the condition builds a list: lists are written with constants only")
		}
	}
	return nil
}

// constant reports whether an expression is a constant.
func constant(e ast.Expr) bool {
	switch e.Kind() {
	case ast.LiteralKind:
		return true
	case ast.ListKind:
		for _, e := range e.AsList().Elements() {
			if !constant(e) {
				return false
			}
		}
		return true
	case ast.MapKind:
		return true // checked separately
	}
	return false
}

// tariff returns the cost of calls in an evaluation. CEL's own costs ignore the
// size of lists, and often of texts. One unit is about 100 ns at most.
type tariff struct {
	patterns map[string]int // size of each regular expression
}

// CallCost implements [interpreter.ActualCostEstimator].
func (t tariff) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	cost := 1 + length(result)/100
	for _, a := range args {
		cost += length(a) / 100
	}
	switch function {
	case operators.Equals, operators.NotEquals, operators.In, operators.OldIn:
		for _, a := range args {
			cost += elements(a) / 4
		}
	case operators.Add, "split":
		cost += elements(result) / 4
	case overloads.Matches:
		if text, ok := args[len(args)-1].(types.String); ok {
			cost += length(args[0]) * uint64(t.patterns[string(text)]) / 50
		}
	}
	return &cost
}

// length of a text in bytes.
func length(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	}
	return 0
}

// elements counts the elements of a list or map recursively, up to the bound of
// an evaluation; a text counts a 25th of its length.
func elements(v ref.Val) uint64 {
	n := uint64(0)
	var count func(v ref.Val)
	count = func(v ref.Val) {
		var keyed traits.Mapper
		switch v := v.(type) {
		case traits.Mapper:
			keyed = v
		case traits.Lister:
		default:
			n += length(v) / 25
			return
		}
		for it := v.(traits.Iterable).Iterator(); it.HasNext() == types.True && n <= 4*maxCost; {
			element := it.Next()
			n++
			if keyed != nil {
				n += length(element) / 25
				element = keyed.Get(element)
			}
			count(element)
		}
	}
	count(v)
	return n
}
