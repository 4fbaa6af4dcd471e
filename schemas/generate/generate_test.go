package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

const root = "../.."

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Errorf("%v: run go generate ./schemas", err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from the structs: run go generate ./schemas", name)
		}
	}
	schemas, err := filepath.Glob(filepath.Join(root, "schemas", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range schemas {
		if files["schemas/"+filepath.Base(path)] == nil {
			t.Errorf("%s is of no event: run go generate ./schemas", path)
		}
	}
}

func TestWriteMakesAllFilesAndRemovesSchemasOfEventsThatAreNoMore(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"internal/events", "internal/offer", "schemas/examples", "schemas/vectors", "docs"} {
		if err := os.CopyFS(filepath.Join(dir, sub), os.DirFS(filepath.Join(root, sub))); err != nil {
			t.Fatal(err)
		}
	}
	stale := filepath.Join(dir, "schemas", "Former.json")
	if err := os.WriteFile(stale, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", stale, err)
	}
	want, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s was not written as generated: %v", name, err)
		}
	}
}

func TestGenerateReportsWhatIsMissing(t *testing.T) {
	t.Run("an event without an example", func(t *testing.T) {
		dir := t.TempDir()
		for _, sub := range []string{"internal/events", "internal/offer"} {
			if err := os.CopyFS(filepath.Join(dir, sub), os.DirFS(filepath.Join(root, sub))); err != nil {
				t.Fatal(err)
			}
		}
		_, err := generate(dir)
		if err == nil || !strings.Contains(err.Error(), "Settings needs an example") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no source", func(t *testing.T) {
		_, err := generate(t.TempDir())
		if err == nil || !strings.Contains(err.Error(), "is -root the module's folder?") {
			t.Errorf("error %v", err)
		}
	})
}

func TestParseReadsWhatReflectionCannot(t *testing.T) {
	dir := t.TempDir()
	write := func(code string) {
		if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte("package events\n\n"+code), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`// Mood is how it feels, see [Part].
//
// A second paragraph.
type Mood string

// Part is a part.
type Part struct {
	// ReadMS is when it
	// was read.
	ReadMS int "json:\"read_ms,omitempty\""
	Text string "json:\"text\"" // what it says
	bare int
}

// Moods.
const (
	Good Mood = "good" // as it should be
	Bad  Mood = "bad"
	Name      = "untyped"
)
`)
	src, err := parse(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := src.text["Mood"], "Mood is how it feels, see Part.\n\nA second paragraph."; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if got := src.values["Mood"]; len(got) != 2 || got[0] != (value{"good", "as it should be"}) || got[1] != (value{"bad", ""}) {
		t.Errorf("values %q", got)
	}
	if got := src.fields["Part.read_ms"]; got != "read_ms is when it was read." {
		t.Errorf("comment %q", got)
	}
	if got := src.fields["Part.text"]; got != "what it says" {
		t.Errorf("comment %q", got)
	}
	write("// Mood is a mood.\ntype Mood string\n\n// Good is computed.\nconst Good Mood = \"go\" + \"od\"\n")
	if _, err := parse(dir); err == nil || !strings.Contains(err.Error(), "constant Good of type Mood is not a string literal") {
		t.Errorf("error %v", err)
	}
}

func TestEveryStringTypeWithConstantsIsAnEnum(t *testing.T) {
	src, err := parse(filepath.Join(root, "internal", "events"), filepath.Join(root, "internal", "offer"))
	if err != nil {
		t.Fatal(err)
	}
	defs, err := describe(src)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range src.values {
		s := defs.find(wireName(name))
		if s == nil {
			if name != "Channel" { // part of a subject, not of an event
				t.Errorf("%s has constants and is in no event", name)
			}
			continue
		}
		if len(s.Enum) != len(values) || s.Type != "string" {
			t.Errorf("%s: enum %v, want %v", name, s.Enum, values)
		}
	}
	if s := defs.find("Status"); s == nil || s.Enum[0] != string(events.StatusOK) {
		t.Errorf("Status is %v", s)
	}
}
