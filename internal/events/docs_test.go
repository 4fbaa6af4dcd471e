package events

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestWhatTheDocsShowCanBeRead takes every event that the documents show as JSON:
// it must be one of this version, with fields that it has.
func TestWhatTheDocsShowCanBeRead(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	fence := regexp.MustCompile("(?s)```json\n(.*?)```")
	shown := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range fence.FindAllSubmatch(text, -1) {
			for dec := json.NewDecoder(bytes.NewReader(block[1])); dec.More(); {
				var raw json.RawMessage
				if err := dec.Decode(&raw); err != nil {
					t.Errorf("%s shows what is no JSON: %v\n%s", file, err, block[1])
					break
				}
				var head struct{ Type string }
				if json.Unmarshal(raw, &head) != nil || head.Type == "" {
					continue // a piece of an event
				}
				shown++
				e := New(head.Type)
				if e == nil {
					t.Errorf("%s shows a %s, which is no event", file, head.Type)
					continue
				}
				fields := map[string]json.RawMessage{}
				if err := json.Unmarshal(raw, &fields); err != nil {
					t.Fatal(err)
				}
				delete(fields, "type")
				rest, err := json.Marshal(fields)
				if err != nil {
					t.Fatal(err)
				}
				strict := json.NewDecoder(bytes.NewReader(rest))
				strict.DisallowUnknownFields()
				if err := strict.Decode(e); err != nil && head.Type != "Decision" { // its events are typed themselves
					t.Errorf("%s shows a %s: %v", file, head.Type, err)
				}
			}
		}
	}
	if shown < 10 {
		t.Errorf("only %d events are shown: does the test look in the right place?", shown)
	}
}
