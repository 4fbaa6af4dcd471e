package parley_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"testing"
)

// subjectsElsewhere lists what may hold a text like a subject, a stream's name or
// a header outside of internal/topology, by package and text, and why.
var subjectsElsewhere = map[string]string{}

func TestSubjectsAreMadeInTopology(t *testing.T) {
	subject := regexp.MustCompile(`^(conv|live|history|jobs|dead|timer|due|hooks)\.([a-z0-9_{*>%]|$)|\$(JS|KV|O)\.|^(KV|OBJ|CONV)_|^(Nats|Parley)-|^(llm|tool|toollow)_$`)
	seen := map[string]bool{}
	for _, f := range source(t) {
		if f.test || f.dir == "internal/topology" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil || !subject.MatchString(text) {
				return true
			}
			key := f.dir + " " + text
			if seen[key] = true; subjectsElsewhere[key] == "" {
				t.Errorf("%s: %q: make it in internal/topology, or list it in subjects_test.go with a reason", f.at(lit), text)
			}
			return true
		})
	}
	for key := range subjectsElsewhere {
		if !seen[key] {
			t.Errorf("%s is listed and not in the tree", key)
		}
	}
}
