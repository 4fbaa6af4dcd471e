package fault_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/parleybus/parley/internal/fault"
)

// TestReleasedBinariesHaveNoMoments: a process that an operator runs does not kill
// itself because of its environment, and has none of the planted bugs. With the tags
// the same texts are found, so the test would notice one.
func TestReleasedBinariesHaveNoMoments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tags string
		want bool
	}{{"", false}, {"faultpoints,planted", true}} {
		dir := t.TempDir()
		args := []string{"build", "-tags", c.tags, "-o", dir + string(filepath.Separator), "../../cmd/..."}
		if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, name := range []string{"parley", "orchestrator", "llm-worker", "tool-worker"} {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			texts := append(bugsOf(name), "PARLEY_FAULT", "PARLEY_PLANTED")
			for _, moment := range fault.Names() {
				if moment != fault.Draining && (!c.want || name == "parley") { // a role has its own; the word has other uses
					texts = append(texts, string(moment))
				}
			}
			for _, text := range texts {
				if got := bytes.Contains(raw, []byte(text)); got != c.want {
					t.Errorf("%s with the tags %q has %s: %v, want %v", name, c.tags, text, got, c.want)
				}
			}
		}
	}
}

// bugsOf returns the planted bugs of which a binary has the code: the one with
// everything has all.
func bugsOf(binary string) []string {
	var all []string
	for _, b := range fault.Bugs() {
		if binary == "parley" {
			all = append(all, string(b))
		}
	}
	return all
}
