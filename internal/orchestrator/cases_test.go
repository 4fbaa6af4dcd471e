package orchestrator

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// alsoShown are tests of other packages that show a part of a case: what the
// adapters make of histories.
func alsoShown() map[int][]string {
	return map[int][]string{
		59: {"internal/llm/openai.TestCallsAndResultsArePaired", "internal/llm/anthropic.TestHistory"},
		60: {"internal/llm/openai.TestCallsAndResultsArePaired", "internal/llm/anthropic.TestHistory"},
		61: {"internal/llm/anthropic.TestAnyTranscriptGivesARequestThatTheAPIAllows", "internal/orchestrator.TestAnyConversation"},
		62: {"internal/llm/anthropic.TestAnyTranscriptGivesARequestThatTheAPIAllows", "internal/llm/openai.TestABadCallDoesNotSpoilTheTranscript"},
	}
}

// TestEveryCaseHasATest: the cases 24 to 43 and 56 to 63 that broke others each
// have a script case-NN-… or a test TestCaseNN… here, which says so.
func TestEveryCaseHasATest(t *testing.T) {
	named := map[int]int{}
	scripts, err := filepath.Glob("testdata/decide/case-*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range scripts {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(file), "case-%d-", &n); err != nil {
			t.Errorf("%s names no case: %v", file, err)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(raw), fmt.Sprintf("Case %d: ", n)) {
			t.Errorf("%s does not begin with what case %d is", file, n)
		}
		named[n]++
	}
	numbered := regexp.MustCompile(`^TestCase(\d+)[A-Z]`)
	for _, name := range testsOf(t, ".") {
		if numbered.MatchString(name) {
			var n int
			if _, err := fmt.Sscanf(name, "TestCase%d", &n); err != nil {
				t.Fatal(err)
			}
			named[n]++
		}
	}
	for n := 24; n <= 63; n++ {
		if (n <= 43 || n >= 56) && named[n] == 0 {
			t.Errorf("case %d has no test", n)
		}
	}
	for n, tests := range alsoShown() {
		for _, name := range tests {
			dir, test, _ := strings.Cut(name, ".")
			if !slices.Contains(testsOf(t, "../../"+dir), test) {
				t.Errorf("case %d is said to be shown by %s, which does not exist", n, name)
			}
		}
	}
}

// testsOf are the tests of a package.
func testsOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				all = append(all, fn.Name.Name)
			}
		}
	}
	return all
}
