package events

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

func TestNewAllocatesOneEvent(t *testing.T) {
	for _, e := range Prototypes() {
		if n := testing.AllocsPerRun(100, func() { New(e.Type()) }); n > 1 {
			t.Errorf("New(%q) allocates %v times", e.Type(), n)
		}
	}
}

// What New knows and Prototypes does not would be decoded, but have no schema
// and no documentation.
func TestNewKnowsThePrototypesAndNoOthers(t *testing.T) {
	want := map[string]bool{}
	for _, e := range Prototypes() {
		want[e.Type()] = true
	}
	file, err := parser.ParseFile(token.NewFileSet(), "events.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	cases := func(n ast.Node) bool {
		if c, ok := n.(*ast.CaseClause); ok {
			for _, e := range c.List {
				name, err := strconv.Unquote(e.(*ast.BasicLit).Value)
				if found++; err != nil || !want[name] {
					t.Errorf("New knows %s, which is not among the prototypes", name)
				}
			}
		}
		return true
	}
	for _, name := range []string{"New", "newDecided"} {
		ast.Inspect(file.Scope.Lookup(name).Decl.(ast.Node), cases)
	}
	if found != len(want) {
		t.Errorf("New knows %d names, the prototypes are %d", found, len(want))
	}
}

func TestAFrameHoldsALimitedNumberOfLines(t *testing.T) {
	most := strings.Repeat(later+"\n\n", MaxLines) // blank lines do not count
	if lines, err := DecodeFrame([]byte(most)); err != nil || len(lines) != MaxLines {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	lines, err := DecodeFrame([]byte(most + hi + "\n" + strings.Repeat("{", 1<<20)))
	if !errors.Is(err, ErrTooManyLines) || len(lines) != MaxLines {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	all := make([]Event, MaxLines+1)
	for i := range all {
		all[i] = chunk()
	}
	if _, err := AppendFrame(nil, all...); !errors.Is(err, ErrTooManyLines) {
		t.Errorf("appended: %v", err)
	}
	if _, err := AppendFrame(nil, all[1:]...); err != nil {
		t.Error(err)
	}
}
