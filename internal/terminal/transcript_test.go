package terminal

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func TestTranscripts(t *testing.T) {
	golden(t, "transcript", func(t *testing.T, a *archive) ([]string, map[string]string) {
		var entries []TranscriptEntry
		for row := range strings.Lines(a.sections["messages"]) {
			var e TranscriptEntry
			if err := json.Unmarshal([]byte(row), &e); err != nil {
				t.Fatal(err)
			}
			entries = append(entries, e)
		}
		shown := map[string]string{}
		show := func(name string, p Profile, f Format) {
			var out bytes.Buffer
			if err := Transcript(&out, p, f, "0197f3a2", entries); err != nil {
				t.Fatal(err)
			}
			shown[name] = out.String()
			if f == FormatText || p.Width > 0 {
				harmless(t, name, shown[name])
			}
		}
		show("terminal", profiles()["terminal"], FormatText)
		show("pipe", profiles()["pipe"], FormatText)
		show("markdown", profiles()["pipe"], FormatMarkdown)
		show("markdown in a terminal", profiles()["terminal"], FormatMarkdown)
		return []string{"terminal", "pipe", "markdown", "markdown in a terminal"}, shown
	})
}

func TestTables(t *testing.T) {
	golden(t, "table", func(t *testing.T, a *archive) ([]string, map[string]string) {
		var rows [][]string
		for row := range strings.Lines(a.sections["rows"]) {
			cells := strings.Split(strings.TrimSuffix(row, "\n"), "|")
			for i, c := range cells {
				cells[i] = strings.NewReplacer(`\e`, "\x1b", `\t`, "\t", `\n`, "\n").Replace(c)
			}
			rows = append(rows, cells)
		}
		shown := map[string]string{}
		for name, p := range map[string]Profile{
			"wide": {Width: 80, Color: true, Unicode: true}, "medium": {Width: 40, Unicode: true},
			"narrow": {Width: 20}, "pipe": {},
		} {
			var out bytes.Buffer
			if err := Table(&out, p, rows[0], rows[1:]); err != nil {
				t.Fatal(err)
			}
			shown[name] = out.String()
			harmless(t, name, shown[name])
			for line := range strings.Lines(shown[name]) {
				line = strings.NewReplacer("\n", "", string(bold), "", reset, "").Replace(line)
				if p.Width > 0 && cells(line) > p.Width {
					t.Errorf("%s: %q takes %d columns", name, line, cells(line))
				}
			}
		}
		return []string{"wide", "medium", "narrow", "pipe"}, shown
	})
}

func TestMarkdownKeepsTextsAsTheyAre(t *testing.T) {
	text := "a *b* `c`\n```go\nx := \"<-c\" // [2](3)\n"
	entries := []TranscriptEntry{
		{Message: events.Message{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: text}}}},
		{Message: events.Message{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Name: "n`n", Status: events.StatusOK, Text: text + "`````"}}}},
	}
	var out bytes.Buffer
	if err := Transcript(&out, Profile{}, FormatMarkdown, "", entries); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), text); n != 2 {
		t.Errorf("the text occurs %d times in %q", n, out.String())
	}
	if !strings.Contains(out.String(), "``````\n"+text+"`````\n``````\n") {
		t.Errorf("no fence is longer than the longest in the content: %q", out.String())
	}
}

func TestAnUnknownFormatIsRefused(t *testing.T) {
	err := Transcript(&bytes.Buffer{}, Profile{}, "pdf", "", nil)
	if err == nil || !strings.Contains(err.Error(), `"pdf"`) {
		t.Errorf("got %v", err)
	}
}

func TestCodeBlocksLeftOpen(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no block", "a `b` c", ""},
		{"a closed block", "```go\nx\n```\n", ""},
		{"an open block", "see\n````go\nx\n```\n", "````"},
		{"tildes", "~~~ a`b\n```\n", "~~~"},
		{"backticks in the info string make no block", "```a`b\n", ""},
		{"indented by four it is no fence", "    ```\n", ""},
		{"a closing fence has no info string", "```\n```go\n", "```"},
		{"a fence in the last line, without its end", "see\n```", "```"},
		{"a block in a list that is closed", "- a:\n  ```\n  x\n  ```\n", ""},
		{"a block that begins an item and is closed", "- ```go\n  x\n  ```\n", ""},
		{"a block in a list that is open ends with the list", "1. a\n   ```\n   x\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := openFence(c.text); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
