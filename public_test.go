package parley_test

import (
	"go/ast"
	"go/doc"
	"go/token"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// public are the packages that other modules import.
var public = []string{".", "embedded", "hook", "model", "tool"}

func TestEveryPublicNameIsDocumented(t *testing.T) {
	files := map[string][]*ast.File{}
	fset := token.NewFileSet()
	for _, f := range source(t) {
		if slices.Contains(public, f.dir) && !f.test {
			files[f.dir] = append(files[f.dir], f.ast)
			fset = f.fset
		}
	}
	for _, dir := range public {
		p, err := doc.NewFromFiles(fset, files[dir], module+dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range slices.Concat(p.Consts, p.Vars) {
			documented(t, dir, v.Names[0], v.Doc)
		}
		functions(t, dir, "", p.Funcs)
		for _, typ := range p.Types {
			documented(t, dir, typ.Name, typ.Doc)
			for _, v := range slices.Concat(typ.Consts, typ.Vars) {
				documented(t, dir, v.Names[0], v.Doc)
			}
			functions(t, dir, "", typ.Funcs)
			functions(t, dir, typ.Name+".", typ.Methods)
		}
	}
}

func functions(t *testing.T, dir, of string, all []*doc.Func) {
	for _, f := range all {
		documented(t, dir, of+f.Name, f.Doc)
	}
}

func documented(t *testing.T, dir, name, text string) {
	if strings.TrimSpace(text) == "" {
		t.Errorf("%s: %s has no doc comment", dir, name)
	}
}

// inside are the events that only workers and the bus see.
var inside = []string{"Claim", "GenerationJob", "ToolJob", "HookCall"}

func TestEveryEventIsPublic(t *testing.T) {
	aliased := map[string]bool{}
	for _, f := range source(t) {
		if f.dir != "." || f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && s.Assign.IsValid() {
				if x, ok := s.Type.(*ast.SelectorExpr); ok {
					aliased[x.Sel.Name] = true
				}
			}
			return true
		})
	}
	for _, e := range events.Prototypes() {
		name := reflect.TypeOf(e).Elem().Name()
		if !aliased[name] && !slices.Contains(inside, name) {
			t.Errorf("%s is an event and has no alias in the root package", name)
		}
	}
}
