package fault_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestReleasedBinariesHaveNoMoments: a process that an operator runs does not kill
// itself because of its environment. With the tag the same text is found, so the test
// would notice one.
func TestReleasedBinariesHaveNoMoments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tags string
		want bool
	}{{"", false}, {"faultpoints", true}} {
		dir := t.TempDir()
		args := []string{"build", "-trimpath", "-tags", c.tags, "-o", dir + string(filepath.Separator), "../../cmd/..."}
		if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, name := range []string{"parley", "orchestrator", "llm-worker", "tool-worker"} {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Contains(raw, []byte("PARLEY_FAULT")); got != c.want {
				t.Errorf("%s with the tags %q has PARLEY_FAULT: %v, want %v", name, c.tags, got, c.want)
			}
		}
	}
}
