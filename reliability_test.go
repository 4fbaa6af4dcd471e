package parley_test

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const reliability = "docs/reliability.md"

// named matches a test that a page names: `TestX`, `TestX/subtest`.
var named = "`((?:Test|Fuzz|Benchmark)[A-Z0-9]\\w*)((?:/[^`/]+)*)`"

// tests are the packages of each test function of the module.
func tests(files []*file) map[string][]string {
	all := map[string][]string{}
	for _, f := range files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				all[fn.Name.Name] = append(all[fn.Name.Name], f.dir)
			}
		}
	}
	return all
}

// words are the text literals in the tests of a package, and the names of the
// files that its tests read: what subtests are named by, with _ for each space.
func words(t *testing.T, files []*file, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, f := range files {
		if f.dir != dir || !f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok {
				if s, err := strconv.Unquote(l.Value); err == nil {
					all[strings.ReplaceAll(s, " ", "_")] = true
				}
			}
			return true
		})
	}
	archives, err := filepath.Glob(path.Join(dir, "testdata", "*", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range archives {
		all[strings.TrimSuffix(path.Base(name), ".txtar")] = true
	}
	return all
}

func TestEveryTestThatThePagesNameExists(t *testing.T) {
	files := source(t)
	all := tests(files)
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	records, err := filepath.Glob("docs/adr/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(append(pages, records...), "README.md", "CHANGELOG.md", "CONTRIBUTING.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(named).FindAllStringSubmatch(string(text), -1) {
			dirs := all[m[1]]
			if len(dirs) == 0 {
				t.Errorf("%s names %s, which is no test", page, m[1])
				continue
			}
			for sub := range strings.SplitSeq(strings.TrimPrefix(m[2], "/"), "/") {
				found := sub == ""
				for _, dir := range dirs {
					found = found || words(t, files, dir)[sub]
				}
				if !found {
					t.Errorf("%s names %s%s, and nothing in %v is named %s", page, m[1], m[2], dirs, sub)
				}
			}
		}
	}
}

// Each line of a table in docs/reliability.md names what holds it in its last
// column, or says there why nothing does.
func TestEveryLineOfReliabilityNamesItsTest(t *testing.T) {
	text, err := os.ReadFile(reliability)
	if err != nil {
		t.Fatal(err)
	}
	test := regexp.MustCompile(named)
	lines, header := 0, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		cells := strings.Split(strings.Trim(line, "|"), "|")
		last := strings.TrimSpace(cells[len(cells)-1])
		switch {
		case !strings.HasPrefix(line, "|"):
			header = ""
		case header == "":
			if header = last; header != "test" {
				t.Errorf("the last column of a table is %q, want \"test\"", header)
			}
		case strings.HasPrefix(last, "---"):
		case !test.MatchString(last) && !strings.HasPrefix(last, "none: "):
			t.Errorf("no test in: %s", line)
		default:
			lines++
		}
	}
	if lines < 40 {
		t.Errorf("%d lines with a test", lines)
	}
}
