package manifest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/manifest"
)

const whole = `tools:
  - name: shout
    description: |
      Says it
      aloud.
    input:
      type: object
      properties:
        text: {type: string}
        tree: {$ref: "#/$defs/node"}
      $defs:
        node: {type: object, properties: {next: {$ref: "#/$defs/node"}}}
      required: [text]
    output: {type: [object, array, string], maximum: 1.5}
    effect: idempotent
    timeout: 1m30s
    concurrency: 3
    result_bytes: 1000
    exec:
      command: [echo, "5", {arg: text}, {json: true, flag: -j}]
      env:
        pass: [PATH]
        set: {WHO: "${MANIFEST_TEST} $${HOME} $x"}
mcp:
  - {name: a, command: [run, "-y"], prefix: a_, env: {pass: [MANIFEST_TEST], set: {B: "${MANIFEST_TEST}!"}}}
  - {name: b, url: "https://mcp.example/x", headers: {Authorization: "Bearer ${MANIFEST_TEST}"}}
`

func TestAFileIsRead(t *testing.T) {
	t.Setenv("MANIFEST_TEST", "me")
	m, err := load(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := tool.New(m.Tools()...)
	if err != nil {
		t.Fatal(err)
	}
	spec := registry.Specs()[0]
	if !json.Valid(spec.Schema) || string(spec.Output) != `{"maximum":1.5,"type":["object","array","string"]}` {
		t.Errorf("%s %s", spec.Schema, spec.Output)
	}
	spec.Schema, spec.Output = nil, nil
	want := events.ToolSpec{Name: "shout", Description: "Says it\naloud.\n", Effect: events.EffectIdempotent, TimeoutMS: 90_000, Concurrency: 3, ResultBytes: 1000}
	if !reflect.DeepEqual(spec, want) {
		t.Errorf("got %+v", spec)
	}
	a, b := m.MCP[0], m.MCP[1]
	if !filepath.IsAbs(a.Dir) || a.Prefix != "a_" || strings.Join(a.Command, " ") != "run -y" || strings.Join(a.Env, " ") != "B=me! MANIFEST_TEST=me" {
		t.Errorf("%+v", a)
	}
	if b.URL != "https://mcp.example/x" || b.Headers["Authorization"] != "Bearer me" || b.Command != nil {
		t.Errorf("%+v", b)
	}
}

func TestToolsOfAFileRun(t *testing.T) {
	t.Setenv("MANIFEST_TEST", "me")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := w.Write([]byte(r.URL.String() + " " + r.Header.Get("X-Who"))); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	m, err := load(t, `
tools:
- name: say
  description: says
  input: {type: object, properties: {v: {type: string}}}
  exec:
    command: [sh, -c, 'echo "$1 $WHO"', --, {arg: v}]
    env: {set: {WHO: "${MANIFEST_TEST}"}}
- name: ask
  description: asks
  input: {type: object, properties: {v: {type: string}}, required: [v]}
  http:
    url: `+s.URL+`/a/{v}
    query: {k: "${MANIFEST_TEST}", l: {arg: v}}
    headers: {X-Who: "${MANIFEST_TEST}"}
    allow: [`+strings.TrimPrefix(s.URL, "http://")+`]
`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"$(id) ${MANIFEST_TEST} me\n", "/a/%24%28id%29%20%24%7BMANIFEST_TEST%7D?k=me&l=%24%28id%29%20%24%7BMANIFEST_TEST%7D me"} {
		got, err := m.Tools()[i].Run(t.Context(), tool.Input{Arguments: json.RawMessage(`{"v":"$(id) ${MANIFEST_TEST}"}`)})
		if err != nil || got.Content != want {
			t.Errorf("got %q, %v; want %q", got.Content, err, want)
		}
	}
}

func TestAFileMayHoldNothing(t *testing.T) {
	for _, text := range []string{"tools: []\n", "mcp:\ntools:\n", "tools: []\nmcp: []\n"} {
		m, err := load(t, text)
		if err != nil || len(m.Tools())+len(m.MCP) != 0 {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := manifest.Load(filepath.Join(t.TempDir(), "none.yaml"), os.LookupEnv); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Error(err)
	}
}

// TestWhatTheDocumentationShowsWorks loads each file that docs/tools.md shows.
func TestWhatTheDocumentationShowsWorks(t *testing.T) {
	t.Setenv("API_TOKEN", "x")
	t.Setenv("TICKETS_SECRET", "of-the-client")
	t.Setenv("PATH", programs(t, "python3", "grep", "npx"))
	raw, err := os.ReadFile("../../../docs/tools.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) < 4 {
		t.Fatalf("only %d files are shown", len(blocks))
	}
	for _, b := range blocks {
		m, err := load(t, b[1])
		if err != nil {
			t.Errorf("%v:\n%s", err, b[1])
			continue
		}
		if _, err := tool.New(m.Tools()...); err != nil || len(m.Tools())+len(m.MCP) == 0 {
			t.Errorf("%v:\n%s", err, b[1])
		}
	}
}

// programs makes a directory with programs of these names.
func programs(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A file of an editor on Windows begins with a byte order mark and ends its lines with
// CR LF.
func TestAFileOfWindowsIsRead(t *testing.T) {
	m, err := load(t, "\ufefftools:\r\n  - name: hello\r\n    description: Says hello.\r\n    exec: {command: [echo, hi]}\r\n")
	if err != nil || m == nil {
		t.Errorf("read %v, %v", m, err)
	}
}

func TestAClientsSecretIsReadAndHidden(t *testing.T) {
	t.Setenv("MANIFEST_TEST_CLIENT", " from-a-variable\n")
	path := filepath.Join(t.TempDir(), "client")
	if err := os.WriteFile(path, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := load(t, `
mcp:
- name: a
  url: https://a.example/mcp
  oauth: {client_id: one, client_secret_env: MANIFEST_TEST_CLIENT, scopes: [read, write]}
- name: b
  url: https://b.example/mcp
  oauth: {client_id: two, client_secret_file: `+path+`}
- name: c
  url: https://c.example/mcp
  oauth: {client_id: three}
`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []manifest.MCP{
		{ClientID: "one", ClientSecret: "from-a-variable", Scopes: []string{"read", "write"}},
		{ClientID: "two", ClientSecret: "from-a-file"},
		{ClientID: "three"},
	} {
		got := m.MCP[i]
		if got.ClientID != want.ClientID || got.ClientSecret != want.ClientSecret || !slices.Equal(got.Scopes, want.Scopes) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if want.ClientSecret != "" && !slices.Contains(m.Secrets, want.ClientSecret) {
			t.Errorf("%s is not among the secrets", want.ClientID)
		}
	}
}
