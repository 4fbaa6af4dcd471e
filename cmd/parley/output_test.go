package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/visible"
)

// TestNothingIsPrintedPastTheEscaper reads the source: only output.go uses the
// standard output and the standard error, and no one else can name them.
func TestNothingIsPrintedPastTheEscaper(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	// What writes unescaped, and who may use it: JSON has a writer of its own, and
	// bytes are for a file or a client.
	raw := map[string][]string{
		"print": {}, "println": {},
		"protocolOutput": {"mcp.go", "show_result.go"},
		"jsonOutput":     {"approvals_follow.go", "ask.go", "conformance.go", "decode.go", "list.go", "tail.go"},
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if id, ok := call.Fun.(*ast.Ident); ok && raw[id.Name] != nil && !slices.Contains(raw[id.Name], name) {
					t.Errorf("%s: %s prints past the escaper", fset.Position(n.Pos()), id.Name)
				}
			}
			use, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, _ := use.X.(*ast.Ident)
			if pkg == nil {
				return true
			}
			direct := map[string][]string{"os": {"Stdout", "Stderr", "NewFile"}, "fmt": {"Print", "Printf", "Println"}, "syscall": {"Stdout", "Stderr", "Write"}}
			if slices.Contains(direct[pkg.Name], use.Sel.Name) {
				if found++; name != "output.go" {
					t.Errorf("%s: %s.%s prints past the escaper: use stdout, stderr or jsonOutput", fset.Position(n.Pos()), pkg.Name, use.Sel.Name)
				}
			}
			return true
		})
	}
	if found == 0 {
		t.Error("nothing prints: the test looks for the wrong names")
	}
}

// TestTheViewOfTopPassesTheEscaper holds the list of Parley's own sequences: what
// top and the styles write is not escaped.
func TestTheViewOfTopPassesTheEscaper(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	own := enterView + viewHome + "\x1b[1ma\x1b[0m" + lineDone + "b" + clearLine + viewDone + leaveView
	w := guarded(nil).(*visible.Writer)
	w.W = &out
	if _, err := w.Write([]byte(own + "\x1b[2J")); err != nil {
		t.Fatal(err)
	}
	if want := own + "^[[2J"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// TestLogsHoldNoHiddenCharacters: a log names what others chose.
func TestLogsHoldNoHiddenCharacters(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		a := app{logTo: &visible.Writer{W: &out}}
		a.cfg.LogFormat = format
		log, err := a.logger()
		if err != nil {
			t.Fatal(err)
		}
		log.Info("a\u202eb", "tool", "c\u009b2J\u200b\nd")
		if shown := out.String(); visible.String(shown) != shown || strings.Count(shown, "\n") != 1 {
			t.Errorf("%s: %q", format, shown)
		}
		var line struct{ Msg, Tool string }
		if err := json.Unmarshal(out.Bytes(), &line); format == "json" && (err != nil || line.Msg != "a\u202eb") {
			t.Errorf("the line means %q: %v", line, err)
		}
	}
}
