package terminal

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/parleybus/parley/internal/orchestrator/logtest"
)

// TestRecordedLogsLookTheSame renders recorded logs and compares the output with
// testdata/logs: for a terminal in full, for other outputs by digest.
func TestRecordedLogsLookTheSame(t *testing.T) {
	files, err := logtest.Files(filepath.Join("..", "orchestrator", "logtest", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		l, err := logtest.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(l.Name, func(t *testing.T) {
			got := logtest.Elide(legible(drawn(t, l, profiles()["terminal"], Options{ShowUser: true})))
			for _, name := range []string{"terminal", "narrow", "pipe"} {
				for _, o := range []Options{{}, {TextOnly: true}, {Reasoning: true, Verbose: true, ShowUser: true}} {
					shown := drawn(t, l, profiles()[name], o)
					harmless(t, name, shown)
					got += fmt.Sprintf("%s %+v %x\n", name, o, sha256.Sum256([]byte(shown)))
				}
			}
			golden := filepath.Join("testdata", "logs", l.Name+".golden")
			if flag.Lookup("update").Value.String() == "true" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the log looks different\n--- got\n%s--- want\n%s", got, want)
			}
		})
	}
}

// drawn returns the rendered log.
func drawn(t *testing.T, l *logtest.Log, p Profile, o Options) string {
	t.Helper()
	var out bytes.Buffer
	r := New(&out, p, o)
	for i := range l.Messages {
		m, err := l.Messages[i].Folded()
		if err != nil {
			t.Fatal(err)
		}
		for j, line := range m.Lines {
			e := Entry{Cursor: fmt.Sprintf("%d-%d", m.Sequence, j), Channel: m.Channel, Time: l.Messages[i].Time, Line: line}
			if err := r.Show(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String() + r.Summary().Line(l.Conversation, p)
}
