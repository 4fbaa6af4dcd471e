package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/tool/manifest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// load writes a file and loads it.
func load(t testing.TB, text string) (*manifest.Manifest, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tools.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return manifest.Load(file, os.LookupEnv)
}

// problems loads a file that must be refused and returns its problems, without the
// directory.
func problems(t *testing.T, text string) []string {
	t.Helper()
	m, err := load(t, text)
	if err == nil {
		t.Fatalf("was taken: %+v", m)
	}
	var all []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		dir, rest, found := strings.Cut(line, "tools.yaml:")
		if !found {
			t.Fatalf("the file is not named: %s (%s)", line, dir)
		}
		all = append(all, strings.TrimSpace(rest))
	}
	return all
}
