package terminal

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/visible"
)

// profiles are the outputs on which every stream is shown. The sections of a
// golden file have their names.
func profiles() map[string]Profile {
	return map[string]Profile{
		"terminal": {Color: true, Width: 60, Interactive: true, Unicode: true},
		"narrow":   {Width: 20, Interactive: true, Unicode: true},
		"pipe":     {},
	}
}

// archive is a txtar file (golang.org/x/tools/txtar describes the format): a
// comment and named sections, in order.
type archive struct {
	comment  string
	names    []string
	sections map[string]string
}

func readArchive(t *testing.T, path string) *archive {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{sections: map[string]string{}}
	name := ""
	for line := range strings.Lines(string(data)) {
		head := strings.TrimSuffix(line, "\n")
		if inner, ok := strings.CutPrefix(head, "-- "); ok && strings.HasSuffix(inner, " --") {
			name = strings.TrimSuffix(inner, " --")
			a.names = append(a.names, name)
			continue
		}
		if name == "" {
			a.comment += line
		} else {
			a.sections[name] += line
		}
	}
	return a
}

func (a *archive) write(t *testing.T, path string) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(a.comment)
	for _, name := range a.names {
		fmt.Fprintf(&b, "-- %s --\n%s", name, a.sections[name])
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// option reports whether the comment has a line "options:" with the word.
func (a *archive) option(word string) bool {
	_, rest, _ := strings.Cut(a.comment, "options:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Contains(" "+line+" ", " "+word+" ")
}

// legible writes escapes so that a golden file can be read and diffed; a last
// line without a newline is marked.
func legible(s string) string {
	s = strings.NewReplacer("\x1b", "␛", "\r", "␍").Replace(s)
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "⌁\n"
	}
	return s
}

// harmless fails if the output holds characters that a person does not see, other
// than newlines, tabs and the renderer's own colours.
func harmless(t *testing.T, name, shown string) {
	t.Helper()
	for _, own := range []style{bold, dim, red, green, yellow, reset} {
		shown = strings.ReplaceAll(shown, string(own), "")
	}
	if again := visible.String(shown); again != shown {
		t.Errorf("%s: hidden characters reached the output: %q", name, shown)
	}
}

func (a *archive) check(t *testing.T, name, got string, update bool) {
	t.Helper()
	if update {
		a.names = append(a.names, name)
		a.sections[name] = got
		return
	}
	if want := a.sections[name]; got != want {
		t.Errorf("%s differs (run the test with -update and look at the diff)\n--- got\n%s--- want\n%s", name, got, want)
	}
}

// golden calls show for every file of a folder; show returns named sections.
func golden(t *testing.T, folder string, show func(t *testing.T, a *archive) (names []string, shown map[string]string)) {
	t.Helper()
	update := flag.Lookup("update").Value.String() == "true"
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata/%s: %v", folder, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a := readArchive(t, file)
			names, shown := show(t, a)
			if update {
				a.names = a.names[:1] // the others are derived from the first
			} else if len(a.names) != 1+len(names) {
				t.Errorf("sections %q: there must be the input and %q", a.names, names)
			}
			for _, name := range names {
				a.check(t, name, legible(shown[name]), update)
			}
			if update {
				a.write(t, file)
			}
		})
	}
}

// entries reads a section "events": per line the milliseconds since the start
// and the event as stored in the log.
func (a *archive) entries(t *testing.T) []Entry {
	t.Helper()
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	var out []Entry
	for row := range strings.Lines(a.sections["events"]) {
		ms, raw, _ := strings.Cut(strings.TrimSpace(row), " ")
		after, err := strconv.Atoi(ms)
		if err != nil {
			t.Fatalf("line %q does not begin with milliseconds", row)
		}
		line, err := events.DecodeLine([]byte(raw))
		if err != nil {
			t.Fatalf("line %q: %v", row, err)
		}
		out = append(out, Entry{Time: start.Add(time.Duration(after) * time.Millisecond), Line: line})
	}
	return out
}

func TestStreams(t *testing.T) {
	golden(t, "stream", func(t *testing.T, a *archive) ([]string, map[string]string) {
		o := Options{
			Reasoning: a.option("reasoning"), Verbose: a.option("verbose"),
			ShowUser: a.option("user"), TextOnly: a.option("text"),
		}
		shown := map[string]string{}
		for name, p := range profiles() {
			var out bytes.Buffer
			r := New(&out, p, o)
			for _, e := range a.entries(t) {
				if err := r.Show(e); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			harmless(t, name, out.String())
			shown[name] = out.String() + r.Summary().Line("0197f3a2-7c1e-7000-8000-000000000001", p)
		}
		return []string{"terminal", "narrow", "pipe"}, shown
	})
}
