package orchestrator

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shownBy are the tests that show a case and are not a script case-NN-…: those here
// and, for what the adapters make of histories, those of other packages.
func shownBy() map[int][]string {
	return map[int][]string{
		26: {"internal/orchestrator.TestATurnEndsOnceHoweverItsAnswerEnds"},
		30: {"internal/orchestrator.TestEachHookRunsOncePerTurn"},
		31: {"internal/orchestrator.TestEditedArgumentsRunAndAreWhatTheModelReads"},
		36: {"internal/orchestrator.TestAPausedTurnContinuesInAnotherProcess"},
		38: {"internal/orchestrator.TestDeferredCallsRunAfterARestart"},
		56: {"internal/orchestrator.TestACancelInEveryStateEndsTheTurnOnce"},
		57: {"internal/orchestrator.TestTheHistoryIsValidAfterAProcessDiedDuringACall"},
		58: {"internal/orchestrator.TestResultsFollowTheirAssistantMessage"},
		59: {"internal/orchestrator.TestAProvidersIDThatIsRepeatedInALaterTurnKeepsItsOwnResult", "internal/llm/openai.TestCallsAndResultsArePaired", "internal/llm/anthropic.TestHistory"},
		60: {"internal/orchestrator.TestAProvidersIDTwiceInOneAnswerIsTwoCalls", "internal/llm/openai.TestCallsAndResultsArePaired", "internal/llm/anthropic.TestHistory"},
		61: {"internal/orchestrator.TestNothingComesBetweenCallsAndTheirResults", "internal/llm/anthropic.TestAnyTranscriptGivesARequestThatTheAPIAllows", "internal/orchestrator.TestAnyConversation"},
		62: {"internal/orchestrator.TestUnknownCallsAndEmptyMessagesLeaveNoTrace", "internal/llm/anthropic.TestAnyTranscriptGivesARequestThatTheAPIAllows", "internal/llm/openai.TestABadCallDoesNotSpoilTheTranscript"},
	}
}

// TestEveryCaseHasATest: each of the cases 24 to 43 and 56 to 63 has a script
// case-NN-… or a test in [shownBy].
func TestEveryCaseHasATest(t *testing.T) {
	shown := map[int]int{}
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
		shown[n]++
	}
	for n, tests := range shownBy() {
		for _, name := range tests {
			dir, test, _ := strings.Cut(name, ".")
			if !slices.Contains(testsOf(t, "../../"+dir), test) {
				t.Errorf("the test %s of case %d does not exist", name, n)
			}
			shown[n]++
		}
	}
	for n := 24; n <= 63; n++ {
		if (n <= 43 || n >= 56) && shown[n] == 0 {
			t.Errorf("case %d has no test", n)
		}
	}
}

// testsOf returns the names of the tests of a package.
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
