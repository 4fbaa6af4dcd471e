package conformance_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestExamplesHaveUnderEightyLines(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob("../javascript/*.mjs")
	if err != nil || len(all) < 5 {
		t.Fatalf("%d examples in JavaScript: %v", len(all), err)
	}
	for _, path := range append(all, "../python/worker.py") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n >= 80 {
			t.Errorf("%s has %d lines", path, n)
		}
	}
}

// The Python worker is compiled even if its client is not installed, to find
// syntax errors everywhere.
func TestPythonWorkerCompiles(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("PARLEY_EXAMPLES") != "" {
			t.Errorf("the Python worker cannot be compiled: %v", err)
		}
		return
	}
	source := `import sys; compile(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1], "exec")`
	if out, err := exec.CommandContext(t.Context(), python, "-c", source, "../python/worker.py").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
