package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAServerIsAddedAndTheRestStaysAsItIsWritten(t *testing.T) {
	local := NewServer{Name: "files", Command: []string{"npx", "-y", "a b", `"quoted" \\ <x>`}, Prefix: "f_", Pass: []string{"HOME"}, Set: map[string]string{"A": "${HOME}"}}
	remote := NewServer{Name: "web", URL: "https://mcp.example.com/mcp", Headers: map[string]string{"Authorization": "Bearer ${HOME}"}}
	const tool = "# mine\ntools:\n  - name: t # here\n    description: d\n    exec: {command: ['true']}\n"
	for what, old := range map[string]string{
		"no file":             "",
		"no list":             tool,
		"no line break":       strings.TrimSpace(tool),
		"an empty list":       "mcp: []\n" + tool,
		"a list without text": "mcp: # none yet\n" + tool,
		"a list":              tool + "mcp:\n  # first\n  - name: old\n    url: https://a.example\n",
		"a list at the edge":  "mcp:\n- name: old\n  url: https://a.example\n" + tool,
		"windows":             strings.ReplaceAll(tool+"mcp:\n  - name: old\n    url: https://a.example\n", "\n", "\r\n"),
	} {
		path := filepath.Join(t.TempDir(), "deep", "tools.yaml")
		if old != "" {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(old), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []NewServer{local, remote} {
			if err := Add(path, s, os.LookupEnv); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		m, err := Load(path, os.LookupEnv)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		byName := map[string]MCP{}
		for _, s := range m.MCP {
			byName[s.Name] = s
		}
		got := byName["files"]
		if strings.Join(got.Command, "|") != strings.Join(local.Command, "|") || got.Prefix != "f_" || byName["web"].URL != remote.URL ||
			byName["web"].Headers["Authorization"] != "Bearer "+os.Getenv("HOME") {
			t.Errorf("%s: read %+v", what, m.MCP)
		}
		if strings.Contains(old, "old") && byName["old"].URL != "https://a.example" || strings.Contains(old, "exec") && len(m.Tools()) != 1 {
			t.Errorf("%s: what was there is lost: %+v", what, m)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(old) {
			if line = strings.TrimSpace(line); line != "mcp: []" && !strings.Contains(string(text), line) {
				t.Errorf("%s: the line %q is gone:\n%s", what, line, text)
			}
		}
		want := os.FileMode(0o600)
		if old != "" {
			want = 0o640
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v", what, info.Mode(), err)
		}
	}
}

func TestAServerThatCannotBeAddedChangesNothing(t *testing.T) {
	for what, c := range map[string]struct {
		old    string
		server NewServer
		says   string
	}{
		"a name twice":        {"mcp:\n  - {name: a, url: 'https://a.example'}\n", NewServer{Name: "a", URL: "https://b.example"}, "already used"},
		"no name":             {"", NewServer{Name: "a b", URL: "https://b.example"}, "the name must be"},
		"no URL":              {"", NewServer{Name: "a", URL: "ftp://b.example"}, "http"},
		"a list on one line":  {"mcp: [{name: b, url: 'https://a.example'}]\n", NewServer{Name: "a", URL: "https://b.example"}, "by hand"},
		"a file with a fault": {"tools: 7\n", NewServer{Name: "a", URL: "https://b.example"}, "must be a list"},
	} {
		path := filepath.Join(t.TempDir(), "tools.yaml")
		if c.old != "" {
			if err := os.WriteFile(path, []byte(c.old), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := Add(path, c.server, os.LookupEnv); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
		if now, err := os.ReadFile(path); err == nil && string(now) != c.old || err != nil && c.old != "" {
			t.Errorf("%s: the file is %q, %v", what, now, err)
		}
		if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind %v, %v", what, left, err)
		}
	}
}
