package chaos_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/fault"
)

// finder is a test that runs one seed and fails when its checks find something.
type finder struct {
	pkg, test, seed string // seed is the variable that takes the seed
	first           uint64
}

// finders are the checkers of make chaos.
func finders() map[string]finder {
	return map[string]finder{
		"chaos":  {pkg: "internal/chaos", test: "TestSeeds", seed: "PARLEY_FIRST_SEED"},
		"lanes":  {pkg: "internal/bus", test: "TestLanesAreLinearizable", seed: "PARLEY_SEED", first: 1},
		"attach": {pkg: ".", test: "TestAttachFuzz", seed: "PARLEY_SEED", first: 1},
	}
}

// foundBy returns the checker that is to find a bug: the cheapest that can.
func foundBy(b fault.Bug) string {
	switch b {
	case fault.SkipExpected:
		return "lanes"
	case fault.ReadShort:
		return "attach"
	}
	return "chaos"
}

// plantedWithin is the number of seeds within which a bug is to be found.
const plantedWithin = 20

// bugs returns the bugs that PARLEY_BUGS names, "all" for all; without it two that the
// first seed finds, for runs in under a minute.
func bugs(t *testing.T) []fault.Bug {
	t.Helper()
	names := os.Getenv("PARLEY_BUGS")
	switch names {
	case "":
		return []fault.Bug{fault.SkipExpected, fault.ReorderResults}
	case "all":
		return fault.Bugs()
	}
	var some []fault.Bug
	for name := range strings.SplitSeq(names, ",") {
		if !slices.Contains(fault.Bugs(), fault.Bug(name)) {
			t.Fatalf("PARLEY_BUGS: there is no bug %q; there are %v", name, fault.Bugs())
		}
		some = append(some, fault.Bug(name))
	}
	return some
}

// TestPlantedBugsAreFound builds the binaries and the checkers with planted bugs, and
// runs seeds with each bug until its checker reports a violation.
func TestPlantedBugsAreFound(t *testing.T) {
	all := bugs(t)
	bin := build(t, "planted")
	tests := t.TempDir()
	for _, name := range used(all) {
		args := []string{"test", "-c", "-tags", "planted", "-o", filepath.Join(tests, name), "./" + finders()[name].pkg}
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	var mu sync.Mutex
	rows := map[fault.Bug]string{}
	var g errgroup.Group // not parallel subtests: the table is printed after them
	g.SetLimit(3)
	for _, b := range all {
		g.Go(func() error {
			row, err := search(t, b, filepath.Join(tests, foundBy(b)), bin)
			mu.Lock()
			defer mu.Unlock()
			rows[b] = row
			if err != nil {
				t.Errorf("%s: %v", b, err)
			}
			return nil
		})
	}
	_ = g.Wait() // errors are reported above
	table := "| planted bug | checker | seed | checks that found it |\n| --- | --- | --- | --- |"
	for _, b := range all {
		table += "\n" + rows[b]
	}
	t.Log("\n" + table)
}

// used returns the names of the checkers that find these bugs.
func used(all []fault.Bug) []string {
	names := map[string]bool{}
	for _, b := range all {
		names[foundBy(b)] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// said matches what a test reports: a violation, or any
// other error.
var said = regexp.MustCompile(`(?m)^\s+\w+_test\.go:\d+: (.+)$`)

// search runs seeds with a bug until one fails, and returns the row of the table.
func search(t *testing.T, b fault.Bug, test, bin string) (string, error) {
	name := foundBy(b)
	f := finders()[name]
	for seed := f.first; seed < f.first+plantedWithin; seed++ {
		cmd := exec.CommandContext(t.Context(), test, "-test.v", "-test.run", "^"+f.test+"$", "-test.timeout", "10m")
		cmd.Dir = filepath.Join("../..", f.pkg)
		cmd.Env = append(os.Environ(), "PARLEY_PLANTED="+string(b), "PARLEY_BIN="+bin, "PARLEY_SEEDS=1", fmt.Sprintf("%s=%d", f.seed, seed))
		out, err := cmd.CombinedOutput()
		if err == nil {
			continue
		}
		what, ok := violation(string(out))
		if !ok {
			return "", fmt.Errorf("%s failed with seed %d, and not by a violation: %w\n%s", f.test, seed, err, out)
		}
		return fmt.Sprintf("| %s | %s | %d | %s |", b, name, seed, what), nil
	}
	return fmt.Sprintf("| %s | %s | none | |", b, name), fmt.Errorf("not found by %s in %d seeds", f.test, plantedWithin)
}

// violation returns which checks of a test that failed found something.
func violation(out string) (string, bool) {
	var checks []string
	for _, m := range said.FindAllStringSubmatch(out, -1) {
		text, chaos := strings.CutPrefix(m[1], "violation of ")
		check := ""
		switch {
		case chaos:
			check, _, _ = strings.Cut(text, ":")
		case strings.Contains(text, "is Illegal"):
			check = "linearizability"
		case strings.Contains(text, "a complete read"):
			check = "reads"
		case strings.HasPrefix(text, "viewer "):
			check = "viewers"
		}
		if check != "" && !slices.Contains(checks, check) {
			checks = append(checks, check)
		}
	}
	return strings.Join(checks, ", "), len(checks) > 0
}
