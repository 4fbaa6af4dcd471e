package parley_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// questions are those that the table at the end of docs/architecture.md answers,
// each by words of its row.
func questions() []string {
	return []string{"one result per call", "subject made", "cancel answered", "provider's retry", "worker died", "cursor made",
		"digest computed", "limit decided", "hole", "provider added", "command added", "event added"}
}

// TestTheFilesToOpenHoldWhatTheyAreNamedFor: the last section of
// docs/architecture.md is the table of what a reader looks for, and true.
func TestTheFilesToOpenHoldWhatTheyAreNamedFor(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	last := string(text[strings.LastIndex(string(text), "\n## ")+1:])
	if !strings.HasPrefix(last, "## Where to look\n") {
		t.Fatalf("docs/architecture.md must end with the section Where to look, not with %.40q", last)
	}
	row := regexp.MustCompile("(?m)^\\| (.+) \\| `(.+)` \\| `(.+)` \\|$")
	rows := row.FindAllStringSubmatch(last, -1)
	if table := strings.Count(last, "\n|") - 2; len(rows) != table {
		t.Errorf("%d of %d rows are a question, a file and a function", len(rows), table)
	}
	for _, q := range questions() {
		found := false
		for _, r := range rows {
			found = found || strings.Contains(r[1], q)
		}
		if !found {
			t.Errorf("no row of docs/architecture.md answers: %s", q)
		}
	}
	for _, r := range rows {
		declared, err := declares(r[2])
		if err != nil {
			t.Errorf("docs/architecture.md: %s: %v", r[1], err)
		} else if !declared[r[3]] {
			t.Errorf("docs/architecture.md: %s: %s does not declare %s", r[1], r[2], r[3])
		}
	}
}

// declares returns the functions of a file, methods as Type.Method.
func declares(path string) (map[string]bool, error) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := fn.Name.Name
		if fn.Recv != nil {
			of := fn.Recv.List[0].Type
			if star, is := of.(*ast.StarExpr); is {
				of = star.X
			}
			if ident, is := of.(*ast.Ident); is {
				name = ident.Name + "." + name
			}
		}
		all[name] = true
	}
	return all, nil
}
