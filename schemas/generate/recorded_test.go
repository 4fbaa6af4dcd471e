package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// TestTheBundleTakesRecordedLogs holds the schemas against what real deployments
// wrote: a field that is required must have been there. What people sent that Parley
// refused may be refused here too, and so may the log of malformed events.
func TestTheBundleTakesRecordedLogs(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(root, "internal/orchestrator/logtest/testdata/*.ndjson"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recorded logs: %v", err)
	}
	s := newBundled(t).of(t, "")
	seen := map[string]bool{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		in := bufio.NewScanner(f)
		in.Buffer(nil, 64<<20)
		for in.Scan() {
			var m struct{ Subject, Payload string }
			if json.Unmarshal(in.Bytes(), &m) != nil {
				continue
			}
			for row := range strings.Lines(m.Payload) {
				l, err := events.DecodeLine([]byte(row))
				if err != nil {
					continue
				}
				seen[l.Event.Type()] = true
				if err := validate(t, s, l.Raw); err != nil && !strings.HasSuffix(m.Subject, ".in") && filepath.Base(path) != "malformed.ndjson" {
					t.Errorf("%s %s: %.300s\n%v", filepath.Base(path), m.Subject, row, err)
				}
			}
		}
		if err := in.Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"Decision", "GenerationStarted", "GenerationEnded", "ToolStarted", "ToolResult", "Claim", "Settings"} {
		if !seen[name] {
			t.Errorf("the logs have no %s", name)
		}
	}
}
