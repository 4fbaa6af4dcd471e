// Package parley_test checks the rules of the source: which package may import which,
// how long files and functions may be, what is not used here. It reads the source
// and needs neither the network nor a build.
package parley_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/parleybus/parley/"

// mayImport lists for each package which of ours it may import, and no more than
// it does. "dir/..." means the package and those under it. A package that is not
// here does not exist. Imports go one way, downwards: cmd -> daemon orchestrator
// worker -> jobs -> bus llm tool policy -> accumulator topology -> events.
var mayImport = map[string]string{
	".":                            "internal/media internal/bus internal/accumulator internal/topology internal/sealed internal/events internal/fault",
	"embedded":                     ". model tool internal/host internal/bus internal/daemon",
	"hook":                         ". internal/bus internal/events",
	"model":                        ". internal/bus internal/llm internal/topology internal/worker internal/events",
	"cmd/parley":                   ". internal/...",
	"cmd/orchestrator":             "internal/daemon internal/daemon/orchestrator",
	"cmd/llm-worker":               "internal/daemon internal/daemon/llmworker",
	"cmd/tool-worker":              "internal/daemon internal/daemon/toolworker",
	"internal/daemon":              "internal/bus internal/topology internal/visible internal/events internal/secret internal/fault",
	"internal/daemon/orchestrator": "internal/daemon internal/orchestrator internal/policy internal/tool internal/bus",
	"internal/daemon/llmworker":    "internal/daemon internal/worker internal/jobs/metrics internal/llm/catalog internal/bus",
	"internal/daemon/toolworker":   "internal/daemon internal/worker internal/jobs/metrics internal/mcp internal/mcp/oauth internal/tool internal/tool/manifest internal/bus",
	"internal/bench/meter":         "",
	"internal/bench/wire":          "internal/topology",
	"internal/bench/peers":         "internal/bench internal/bench/wire internal/topology", // a module of its own
	"internal/bench/wire/wiretest": "internal/bench/wire internal/topology internal/events",
	"internal/bench":               "internal/bench/meter internal/bench/wire internal/broker internal/daemon internal/daemon/orchestrator internal/daemon/llmworker internal/bus internal/llm internal/llm/catalog internal/llm/openai internal/accumulator internal/topology internal/events",
	"tool":                         "internal/tool internal/worker internal/bus internal/topology internal/events",
	"examples/weather":             "tool",
	"examples/conformance":         "", // tests only
	"internal/conformance":         "internal/refusal internal/credential internal/daemon internal/daemon/orchestrator internal/daemon/llmworker internal/daemon/toolworker internal/llm/catalog internal/bus internal/tool internal/topology internal/events",

	"internal/conformance/toolworker": "internal/conformance internal/bus internal/tool internal/topology internal/events",
	"internal/conformance/llmworker":  "internal/conformance internal/bus internal/topology internal/events",
	"internal/conformance/viewer":     "internal/conformance internal/bus internal/topology internal/events",
	"internal/conformance/app":        "internal/conformance internal/tool internal/topology internal/events",
	"internal/conformance/hook":       "internal/conformance internal/topology internal/events",
	"deploy/keda":                     "", // tests only
	"internal/host":                   ". internal/broker internal/bus internal/daemon internal/daemon/orchestrator internal/daemon/llmworker internal/daemon/toolworker internal/llm/catalog internal/policy",
	"internal/doctor":                 "internal/llm/catalog internal/llm/dialect internal/mcp internal/bus internal/tool internal/policy internal/topology internal/events",
	"internal/orchestrator":           "internal/ceilings internal/media internal/bus internal/offer internal/policy internal/identity internal/accumulator internal/topology internal/sealed internal/events internal/fault",
	"internal/jobs":                   "internal/bus internal/topology internal/events internal/fault",
	"internal/jobs/metrics":           "internal/jobs",
	"internal/worker":                 "internal/ceilings internal/media internal/jobs internal/bus internal/llm internal/llm/transcript internal/tool internal/topology internal/sealed internal/events internal/secret internal/fault",
	"internal/broker":                 "internal/filelock",
	"internal/release":                "",
	"internal/broker/brokertest":      "internal/credential internal/refusal internal/topology",
	"internal/credential":             "internal/identity internal/topology",
	"internal/terminal":               "internal/media internal/visible internal/events",
	"internal/visible":                "",
	"internal/sealed":                 "",
	"internal/bus":                    "internal/ceilings internal/identity internal/accumulator internal/offer internal/topology internal/events internal/secret internal/fault",
	"internal/offer":                  "internal/topology internal/events",
	"internal/llm":                    "internal/ceilings internal/llm/dialect internal/events internal/secret",
	"internal/llm/dialect":            "internal/events",
	"internal/llm/transcript":         "internal/llm internal/media internal/events",
	"internal/llm/anthropic":          "internal/llm internal/llm/dialect internal/llm/transcript internal/events",
	"internal/llm/gemini":             "internal/llm internal/llm/dialect internal/llm/transcript internal/events",
	"internal/llm/ollama":             "internal/llm internal/llm/dialect internal/llm/transcript internal/events internal/secret",
	"internal/llm/openai":             "internal/llm internal/llm/dialect internal/llm/transcript internal/events",
	"internal/llm/openairesponses":    "internal/llm internal/media internal/llm/dialect internal/llm/transcript internal/events",
	"internal/llm/scripted":           "internal/llm internal/yamlfile internal/events",
	"internal/llm/catalog":            "internal/llm/... internal/accumulator internal/events internal/secret",
	"internal/llm/recording":          "internal/llm internal/events",
	"internal/llm/conformance":        "internal/llm internal/llm/recording internal/events",
	"internal/llm/recording/table":    "internal/llm/recording internal/llm/catalog internal/accumulator internal/events",
	"internal/tool":                   "internal/ceilings internal/tool/arithmetic internal/events",
	"internal/tool/arithmetic":        "",
	"internal/tool/command":           "internal/tool internal/events internal/secret",
	"internal/tool/web":               "internal/tool internal/events",
	"internal/tool/tooltest":          "internal/tool internal/events",
	"internal/tool/manifest":          "internal/tool internal/tool/command internal/tool/web internal/events internal/secret",
	"internal/mcp":                    "internal/mcp/oauth internal/tool internal/events internal/secret",
	"internal/mcp/oauth":              "internal/filelock",
	"internal/filelock":               "",
	"internal/policy":                 "internal/ceilings internal/identity internal/yamlfile internal/events",
	"internal/accumulator":            "internal/events internal/fault",
	"internal/identity":               "internal/events",
	"internal/topology":               "internal/events",
	"internal/ceilings":               "",
	"internal/yamlfile":               "",
	"internal/refusal":                "",
	"internal/secret":                 "",
	"internal/fault":                  "",
	"internal/chaos":                  ".", // tests, and the viewer that they run
	"internal/chaos/viewer":           "internal/chaos",
	"internal/media":                  "internal/events",
	"internal/events":                 "",
	"schemas":                         "",
	"schemas/generate":                "internal/offer internal/topology internal/events",

	"internal/orchestrator/logtest": "internal/ceilings internal/orchestrator internal/policy internal/tool internal/accumulator internal/topology internal/events", // imported by tests only
}

// onlyImportedBy lists what few may import: packages of ours and the libraries
// that everything else is to be shielded from, by prefix.
var onlyImportedBy = map[string]string{
	"cel.dev/":                              "internal/policy",
	"github.com/nats-io/":                   "internal/bus internal/jobs internal/topology internal/identity internal/broker/... internal/bench/... internal/host internal/conformance/... . tool embedded", // bench measures NATS beside us, the public packages pass options on
	"github.com/CycloneDX/":                 "internal/release",
	"github.com/charmbracelet/":             "internal/terminal",
	"github.com/yuin/goldmark":              "internal/terminal",
	"golang.org/x/crypto":                   "internal/sealed",
	"github.com/ThreeDotsLabs/watermill":    "internal/jobs/...",
	"github.com/openai/openai-go":           "internal/llm/...",
	"github.com/ollama/ollama":              "internal/llm/...",
	"github.com/modelcontextprotocol/":      "internal/mcp/...",
	"golang.org/x/oauth2":                   "internal/mcp/...",
	module + "internal/broker":              "internal/bench internal/host",
	module + "internal/bench":               "cmd/parley internal/bench/...",
	module + "internal/terminal":            "cmd/...",
	module + "internal/daemon":              "cmd/... internal/daemon/... internal/bench internal/host internal/conformance embedded",
	module + "internal/llm/recording":       "internal/llm/recording/... internal/llm/conformance",
	module + "internal/llm/anthropic":       "internal/llm/...",
	module + "internal/llm/gemini":          "internal/llm/...",
	module + "internal/llm/ollama":          "internal/llm/...",
	module + "internal/llm/openairesponses": "internal/llm/...",
}

// tables are the package-level variables that are neither errors, embedded files
// nor compile-time checks, and why: constants that Go cannot write as such.
var tables = map[string]string{
	"internal/daemon.Version": "set by the linker, which cannot set a constant",
	"cmd/parley.roleNames":    "list of roles",
	"internal/fault.planned":  "what the environment says, read once; only in builds for tests",
}

// large lists the packages of more than mostFiles files, tests aside, and why.
var large = map[string]string{
	".":                     "the whole client under one import path, one file for a type or a question",
	"cmd/parley":            "one file for a command or two, and what they print",
	"internal/accumulator":  "one file for what the fold keeps: inputs, answers, calls, lanes, settings, the transcript and what requests have of it",
	"internal/bus":          "one connection with one receiver for lanes, jobs, timers, presence and objects; each is to get a handle of its own",
	"internal/events":       "the whole vocabulary is one package: a file for the events of a channel, and the codec",
	"internal/mcp":          "client, server and transports of one protocol, three files of them for processes by platform",
	"internal/orchestrator": "one file for a rule of Decide, which share its state, and the owner of a shard around it",
	"internal/topology":     "a table a file: what is on the wire, and who may do what with it",
	"internal/terminal":     "one file for a kind of block; table.go, markdown.go, text.go and fill.go are to go to a library",
}

// mostFiles is how many files a package has at most, tests aside.
const mostFiles = 12

// Bounds in lines.
const (
	longestFile     = 500
	longestFunction = 80
	longestMain     = 20
	medianFrom      = 60
	medianTo        = 160
)

// file is one source file of the module.
type file struct {
	path, dir string
	test      bool
	lines     int
	text      []byte
	ast       *ast.File
	fset      *token.FileSet
}

func (f *file) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.path, f.fset.Position(n.Pos()).Line)
}

// imports lists what the file imports: ours without the module's path.
func (f *file) imports(t *testing.T) []string {
	var all []string
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatalf("%s: %v", f.at(spec), err)
		}
		all = append(all, p)
	}
	return all
}

// source reads every Go file of the module.
func source(t *testing.T) []*file {
	t.Helper()
	var all []*file
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		base := path.Base(name)
		if d.IsDir() && name != "." && (base == "testdata" || base[0] == '.' || base[0] == '_') {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, &file{path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			lines: strings.Count(string(text), "\n"), text: text, ast: tree, fset: fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// matches reports whether a package is among those of a list.
func matches(list, pkg string) bool {
	for _, one := range strings.Fields(list) {
		under, tree := strings.CutSuffix(one, "/...")
		if pkg == one || tree && (pkg == under || strings.HasPrefix(pkg, under+"/")) {
			return true
		}
	}
	return false
}

func TestImportsGoOneWay(t *testing.T) {
	for _, f := range source(t) {
		allowed, listed := mayImport[f.dir]
		if !listed {
			t.Errorf("%s: package %s is not in the table: add it to house_test.go", f.path, f.dir)
			continue
		}
		for _, p := range f.imports(t) {
			ours, isOurs := ourPackage(p)
			switch {
			case isOurs && f.test:
				if strings.HasPrefix(ours, "cmd/") {
					t.Errorf("%s imports %s: a test does not import a command", f.path, ours)
				}
			case isOurs && !matches(allowed, ours):
				t.Errorf("%s imports %s; %s may import: %s", f.path, ours, f.dir, allowed)
			}
			if f.test {
				continue
			}
			for prefix, by := range onlyImportedBy {
				if under(p, prefix) && !matches(by, f.dir) {
					t.Errorf("%s imports %s, which only %s may", f.path, p, by)
				}
			}
		}
	}
}

func TestTheImportTablesAllowOnlyWhatIsUsed(t *testing.T) {
	files := source(t)
	uses := func(pkgs, imported string) bool {
		return slices.ContainsFunc(files, func(f *file) bool {
			return !f.test && matches(pkgs, f.dir) && slices.ContainsFunc(f.imports(t), func(p string) bool {
				ours, isOurs := ourPackage(p)
				return isOurs && matches(imported, ours) || under(p, imported)
			})
		})
	}
	for pkg, allowed := range mayImport {
		if !slices.ContainsFunc(files, func(f *file) bool { return f.dir == pkg }) {
			t.Errorf("package %s is in the table and not in the tree", pkg)
		}
		for _, one := range strings.Fields(allowed) {
			if !uses(pkg, one) {
				t.Errorf("%s may import %s and does not: take it off the table", pkg, one)
			}
		}
	}
	for prefix, by := range onlyImportedBy {
		for _, one := range strings.Fields(by) {
			if !uses(one, prefix) {
				t.Errorf("%s may import %s and does not: take it off the table", one, prefix)
			}
		}
	}
}

// ourPackage is the folder of an imported package of this module.
func ourPackage(p string) (dir string, ours bool) {
	if p+"/" == module {
		return ".", true
	}
	return strings.CutPrefix(p, module)
}

// under reports whether an import has the prefix of a table: that of libraries,
// or one of our packages and those below it.
func under(p, prefix string) bool {
	return strings.HasPrefix(p, prefix) && (p == prefix || !strings.HasPrefix(p, module) || p[len(prefix)] == '/')
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	var lengths []int
	for _, f := range source(t) {
		if f.lines > longestFile {
			t.Errorf("%s has %d lines, more than %d", f.path, f.lines, longestFile)
		}
		if strings.HasPrefix(f.dir, "cmd/") && path.Base(f.path) == "main.go" && f.lines > longestMain {
			t.Errorf("%s has %d lines: a main only wires, in at most %d", f.path, f.lines, longestMain)
		}
		if !f.test {
			lengths = append(lengths, f.lines)
		}
		if strings.HasPrefix(f.dir+"/", "internal/llm/") || f.path == "internal/events/decode.go" {
			continue // what a wire says is read in one place
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1; n > longestFunction {
				t.Errorf("%s: %s has %d lines, more than %d", f.at(fn), fn.Name.Name, n, longestFunction)
			}
		}
	}
	slices.Sort(lengths)
	if median := lengths[len(lengths)/2]; median < medianFrom || median > medianTo {
		t.Errorf("half of the files are longer than %d lines; the middle should be between %d and %d", median, medianFrom, medianTo)
	}
}

func TestPackagesHaveFewFiles(t *testing.T) {
	files := map[string]int{}
	for _, f := range source(t) {
		if !f.test {
			files[f.dir]++
		}
	}
	for pkg, n := range files {
		if n > mostFiles && large[pkg] == "" {
			t.Errorf("package %s has %d files, more than %d: split it, or say in house_test.go why not", pkg, n, mostFiles)
		}
	}
	for pkg := range large {
		if files[pkg] <= mostFiles {
			t.Errorf("package %s has %d files and needs no entry in the table", pkg, files[pkg])
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	documented, named := map[string]bool{}, map[string]string{}
	for _, f := range source(t) {
		if !f.test || f.dir == "." {
			named[f.dir] = f.ast.Name.Name
			documented[f.dir] = documented[f.dir] || f.ast.Doc != nil
		}
	}
	for dir, name := range named {
		if !documented[dir] {
			t.Errorf("package %s has no comment that says what it does and promises", dir)
		}
		for _, n := range []string{name, path.Base(dir)} {
			switch n {
			case "util", "utils", "common", "helper", "helpers", "models", "types", "pkg", "base", "misc", "shared", "lib":
				t.Errorf("package %s is called %s, which says nothing", dir, n)
			}
		}
	}
}

// unfinished finds marks of work left over. It is put together so that it does
// not find itself.
func unfinished() *regexp.Regexp {
	return regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b|not imple` + `mented`)
}

func TestNothingIsLeftUnfinished(t *testing.T) {
	marks := unfinished()
	for _, f := range source(t) {
		for i, line := range strings.Split(string(f.text), "\n") {
			if m := marks.FindString(line); m != "" {
				t.Errorf("%s:%d: %q", f.path, i+1, m)
			}
		}
	}
}

func TestWhatIsNotDoneHere(t *testing.T) {
	for _, f := range source(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch fn := call.Fun.(type) {
			case *ast.Ident:
				if fn.Name == "panic" && !f.test {
					t.Errorf("%s: panic: return an error", f.at(call))
				}
			case *ast.SelectorExpr:
				of, _ := fn.X.(*ast.Ident)
				if why := refused(of, fn.Sel.Name, f.test); why != "" {
					t.Errorf("%s: %s", f.at(call), why)
				}
			}
			return true
		})
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init: wire it in main", f.at(fn))
			}
		}
	}
}

// refused returns why of.name(…) is not called here, if so.
func refused(of *ast.Ident, name string, test bool) string {
	if of == nil {
		return ""
	}
	switch {
	case of.Name == "log" && strings.HasPrefix(name, "Fatal"):
		return "log.Fatal: return the error to main"
	case of.Name == "time" && name == "Sleep" && test:
		return "time.Sleep in a test: wait on a signal"
	case test && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, name):
		return "a test that is skipped: it passes where it did not run"
	}
	return ""
}

func TestThereIsNoGlobalState(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range source(t) {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for _, name := range v.Names {
					key := f.dir + "." + name.Name
					seen[key] = true
					switch listed := tables[key] != ""; {
					case listed && constant(g, v, name.Name):
						t.Errorf("%s: variable %s needs no entry in the table", f.at(name), name.Name)
					case !listed && !constant(g, v, name.Name):
						t.Errorf("%s: variable %s: give it to those who need it, or list it in house_test.go with a reason", f.at(name), name.Name)
					}
				}
			}
		}
	}
	for key := range tables {
		if !seen[key] {
			t.Errorf("table %s is listed and not in the tree", key)
		}
	}
}

// constant reports whether a variable is an error value, an embedded file or a
// check at compile time.
func constant(g *ast.GenDecl, v *ast.ValueSpec, name string) bool {
	for _, doc := range []*ast.CommentGroup{g.Doc, v.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	return name == "_" || strings.HasPrefix(name, "Err") || strings.HasPrefix(name, "err")
}
