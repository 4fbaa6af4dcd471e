package parley_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/model"
)

// outside builds a program of testdata/outside as a module of its own, as a stranger
// would, and returns the path of the binary.
func outside(t *testing.T, name string) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file, text := range map[string][]byte{
		"main.go": read(t, filepath.Join("testdata", "outside", name+".go")),
		"go.mod":  []byte("module example.org/outside\n\ngo 1.26\n\nrequire github.com/parleybus/parley v0.0.0\n\nreplace github.com/parleybus/parley => " + root + "\n"),
		"go.sum":  read(t, "go.sum"),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return binary
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// codeLines counts the lines of a program that are neither empty nor comments nor
// imports.
func codeLines(t *testing.T, name string) int {
	t.Helper()
	text := string(read(t, filepath.Join("testdata", "outside", name+".go")))
	_, body, _ := strings.Cut(text, "\n)\n")
	lines := 0
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			lines++
		}
	}
	return lines
}

func TestAProgramOutsideTheModuleStreamsApprovesAndServesATool(t *testing.T) {
	if lines := strings.Count(string(read(t, "testdata/outside/worker.go")), "\n"); lines >= 40 {
		t.Errorf("the program has %d lines, and under 40 were promised", lines)
	}
	binary := outside(t, "worker")
	p, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Port: -1, NoBuiltins: true, Models: []model.Served{{
		Provider: model.Func("agent", func(_ context.Context, r model.Request, w *model.Writer) error {
			if last := r.Messages[len(r.Messages)-1].Parts[0]; last.Kind == "result" {
				w.Text("It is done: " + last.Text)
			} else {
				w.Call("book", json.RawMessage(`{"City":"Oslo"}`))
			}
			return nil
		}), Model: "agent-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.CommandContext(t.Context(), binary, "agent/agent-1")
	cmd.Env = append(os.Environ(), "NATS_URL="+p.Server())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "It is done: booked Oslo") {
		t.Fatalf("the program printed %q, %v", out, err)
	}
}

func TestEverythingIsEmbeddedInAFewLines(t *testing.T) {
	if lines := codeLines(t, "all"); lines >= 15 {
		t.Errorf("the program has %d lines, and under 15 were promised", lines)
	}
	cmd := exec.CommandContext(t.Context(), outside(t, "all"))
	cmd.Env = append(os.Environ(), "OPENAI_API_KEY=", "ANTHROPIC_API_KEY=", "GEMINI_API_KEY=", "GOOGLE_API_KEY=", "OLLAMA_HOST=127.0.0.1:1", "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "397.8") {
		t.Fatalf("the program printed %q, %v", out, err)
	}
}

func TestTheClientIsSmall(t *testing.T) {
	info, err := os.Stat(outside(t, "client"))
	if err != nil {
		t.Fatal(err)
	}
	const most = 12 << 20
	t.Logf("%.1f MB", float64(info.Size())/1e6)
	if info.Size() > most {
		t.Errorf("a program with the client alone has %d bytes stripped, and at most %d were promised", info.Size(), most)
	}
}
