// Package recording compares what the adapters decode with what independent
// parsers found in recordings of real providers.
//
// The recordings are not part of the repository. They are in
// shared/provider-recordings next to it, one body NAME.sse or NAME.ndjson and
// one NAME.expected.json each. A clean clone has none, and then nothing is
// compared; with PARLEY_RECORDINGS set their absence is a failure.
package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/llm"
)

// Run decodes every recording of a folder (openai-chat, openai-compat,
// openai-responses, anthropic, ollama), one subtest each, and compares the
// decoded answer with the expected file.
func Run(t *testing.T, dir string, decode llm.Decoder) {
	t.Helper()
	for _, r := range Find(t, dir) {
		t.Run(r.Name, func(t *testing.T) {
			for _, difference := range r.Differences(Collect(decode(bytes.NewReader(r.Body)))) {
				t.Error(difference)
			}
		})
	}
}

// Recording is one body of a provider's answer.
type Recording struct {
	Name string // NAME of NAME.sse
	Body []byte

	expected expected
	exact    bool // the provider sends arguments as text: they must be equal byte for byte
}

// Find returns the recordings of a folder; none if there are no recordings next
// to the project.
func Find(t testing.TB, dir string) []Recording {
	t.Helper()
	root, err := Root()
	if err != nil {
		if os.Getenv("PARLEY_RECORDINGS") != "" {
			t.Fatalf("PARLEY_RECORDINGS is set, but %v", err)
		}
		return nil
	}
	found, err := Load(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Load reads the recordings of a folder below root.
func Load(root, dir string) ([]Recording, error) {
	files, err := filepath.Glob(filepath.Join(root, dir, "*.expected.json"))
	if err != nil {
		return nil, fmt.Errorf("look for recordings in %s: %w", filepath.Join(root, dir), err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no recordings", filepath.Join(root, dir))
	}
	var found []Recording
	for _, file := range files {
		base := strings.TrimSuffix(file, ".expected.json")
		r := Recording{Name: filepath.Base(base), exact: strings.HasPrefix(dir, "openai-c")}
		raw, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(raw, &r.expected)
		}
		if err != nil {
			return nil, fmt.Errorf("read what %s expects: %w", r.Name, err)
		}
		if r.Body, err = os.ReadFile(base + ".sse"); os.IsNotExist(err) {
			r.Body, err = os.ReadFile(base + ".ndjson")
		}
		if err != nil {
			return nil, fmt.Errorf("read the recording %s: %w", r.Name, err)
		}
		found = append(found, r)
	}
	return found, nil
}

// Root is the directory of the recordings: shared/provider-recordings in the
// working directory or one above it.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		root := filepath.Join(dir, "shared", "provider-recordings")
		if info, err := os.Stat(root); err == nil && info.IsDir() {
			return root, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no directory above holds shared/provider-recordings")
		}
		dir = up
	}
}
