package conformance_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/conformance/app"
	"github.com/parleybus/parley/internal/conformance/hook"
	"github.com/parleybus/parley/internal/conformance/llmworker"
	"github.com/parleybus/parley/internal/conformance/toolworker"
	"github.com/parleybus/parley/internal/conformance/viewer"
)

// holds checks rules with a program. Most of a rule's time is waiting, so that more of
// them run at once than there are processors.
func holds(t *testing.T, p conformance.Program, rules []conformance.Rule) {
	t.Helper()
	conformance.Run(t.Context(), p, rules, conformance.Options{AtOnce: 4}, func(r conformance.Result) {
		t.Run(strconv.Itoa(r.Number)+": "+r.Says, func(t *testing.T) {
			for _, problem := range r.Problems {
				t.Error(problem)
			}
			if r.Output != "" {
				t.Log(r.Output)
			}
		})
	})
}

func TestWorkersFollowTheChecklist(t *testing.T) {
	t.Parallel()
	for _, l := range languages(t) {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			holds(t, l.Program, toolworker.Rules(l.Tool))
		})
	}
}

// programs returns a Go program of this process and the example in JavaScript, where it
// can run.
func programs(t *testing.T, role string) map[string]conformance.Program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]conformance.Program{"Go": {Command: []string{self}, Env: []string{asProgram + "=" + role}}}
	command, err := script(t, role+".mjs")
	switch {
	case err == nil:
		all["JavaScript"] = conformance.Program{Command: command}
	case os.Getenv("PARLEY_EXAMPLES") != "":
		t.Errorf("the %s in JavaScript cannot be run: %v: run npm install in examples/javascript, or set PARLEY_NODE_MODULES", role, err)
	default:
		t.Logf("the %s in JavaScript cannot be run here: %v", role, err)
	}
	return all
}

// kits returns the rules of each role, for the program in a language.
func kits() map[string]func(language string) []conformance.Rule {
	models := map[string]llmworker.Model{"Go": {Route: "told", Model: "told/one"}, "JavaScript": parrot()}
	return map[string]func(string) []conformance.Rule{
		"llm-worker": func(language string) []conformance.Rule { return llmworker.Rules(models[language]) },
		"app":        func(string) []conformance.Rule { return app.Rules() },
		"hook":       func(string) []conformance.Rule { return hook.Rules() },
		"viewer":     func(string) []conformance.Rule { return viewer.Rules() },
	}
}

func TestProgramsFollowTheChecklists(t *testing.T) {
	t.Parallel()
	for role, rules := range kits() {
		for name, p := range programs(t, role) {
			t.Run(role+" in "+name, func(t *testing.T) {
				t.Parallel()
				holds(t, p, rules(name))
			})
		}
	}
}

// checklist returns the numbers of the list in a document, behind a heading if one is
// named.
func checklist(t *testing.T, path, heading string) []int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if heading != "" {
		at := regexp.MustCompile(`(?m)^` + heading + `$`).FindIndex(text)
		if at == nil {
			t.Fatalf("%s has no section %s", path, heading)
		}
		text = text[at[1]:]
	}
	var numbers []int
	for _, m := range regexp.MustCompile(`(?m)^(\d+)\. `).FindAllSubmatch(text, -1) {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

func TestEveryRuleOfTheChecklistsIsTested(t *testing.T) {
	for _, c := range []struct {
		path, heading string
		rules         []conformance.Rule
	}{
		{"../../docs/tool-workers.md", "## Checklist", toolworker.Rules(toolworker.Tool{})},
		{"../../docs/checklists/llm-worker.md", "", llmworker.Rules(llmworker.Model{})},
		{"../../docs/checklists/viewer.md", "", viewer.Rules()},
		{"../../docs/checklists/app.md", "", app.Rules()},
		{"../../docs/checklists/hook.md", "", hook.Rules()},
	} {
		var tested []int
		for _, r := range c.rules {
			tested = append(tested, r.Number)
		}
		if got, want := slices.Compact(tested), checklist(t, c.path, c.heading); !slices.Equal(got, want) {
			t.Errorf("%s: rules %v are tested, the checklist has %v", c.path, got, want)
		}
	}
}
