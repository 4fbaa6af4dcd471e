package schemas_test

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parleybus/parley/internal/orchestrator/logtest"
	"github.com/parleybus/parley/internal/topology"
)

// TestVectorsOfRecordedLogs: each recorded log of a real deployment folds to what
// the vector of its name says, now and in every later version. A log's file is never
// changed; new ones are added.
func TestVectorsOfRecordedLogs(t *testing.T) {
	if *update {
		writeLogs(t)
	}
	files, err := os.ReadDir("vectors/logs")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 16 {
		t.Errorf("%d recorded logs, there were 16", len(files))
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(f.Name(), ".json"), func(t *testing.T) {
			t.Parallel()
			for _, v := range readVectors[foldVector](t, "logs/"+f.Name()) {
				same(t, view(t, v.fold()), v.View)
			}
		})
	}
}

// writeLogs writes the vectors of recorded logs that have none.
func writeLogs(t *testing.T) {
	t.Helper()
	files, err := logtest.Files("../internal/orchestrator/logtest/testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		l, err := logtest.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat("vectors/logs/" + l.Name + ".json"); err == nil {
			continue
		}
		if l.Name == "large" {
			continue // megabytes of one text, for the object store
		}
		v := foldVector{Name: l.Name, Says: "A recorded conversation."}
		for _, m := range l.Messages {
			a, err := topology.Parse(m.Subject)
			if err != nil {
				t.Fatal(err)
			}
			frame, err := m.Frame() // also of what is claimed
			if err != nil {
				t.Fatal(err)
			}
			one := logged{Sequence: m.Sequence, Channel: a.Channel, Call: a.Call, ID: strings.TrimPrefix(m.ID, a.Conversation+"/"), Data: string(frame)}
			if !utf8.Valid(frame) {
				one.Data, one.Base64 = "", frame
			}
			v.Log = append(v.Log, one)
		}
		v.View = view(t, v.fold())
		writeVectors(t, "logs/"+l.Name+".json", []foldVector{v})
	}
}
