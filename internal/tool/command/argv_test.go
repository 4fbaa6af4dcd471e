package command_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool/command"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

func TestArgumentsOfTheProgram(t *testing.T) {
	v := func(i command.Item) command.Item { i.Arg = "v"; return i }
	for _, c := range []struct {
		name  string
		items []command.Item
		args  string
		want  string
	}{
		{"a value is one item", []command.Item{v(command.Item{})}, `{"v":"a b"}`, `["a b"]`},
		{"shell metacharacters arrive literally", []command.Item{v(command.Item{})}, `{"v":"$(rm -rf /); '\"\"' | \u0060id\u0060 & > x * ~ ${HOME} \\ \n!"}`,
			`["$(rm -rf /); '\"\"' | ` + "`id`" + ` & > x * ~ ${HOME} \\ \n!"]`},
		{"a variable of the environment in a value stays text", []command.Item{v(command.Item{Prefix: "p="})}, `{"v":"${PATH}$PATH%PATH%"}`, `["p=${PATH}$PATH%PATH%"]`},
		{"an empty text is an item", []command.Item{v(command.Item{})}, `{"v":""}`, `[""]`},
		{"a missing value leaves the item out", []command.Item{text("a"), v(command.Item{Flag: "-f"}), text("b")}, `{}`, `["a" "b"]`},
		{"null is missing", []command.Item{v(command.Item{})}, `{"v":null}`, `[]`},
		{"a number stays as it was written", []command.Item{v(command.Item{})}, `{"v":1.50e2}`, `["1.50e2"]`},
		{"a large number loses nothing", []command.Item{v(command.Item{})}, `{"v":12345678901234567890123}`, `["12345678901234567890123"]`},
		{"a boolean is its word", []command.Item{v(command.Item{})}, `{"v":true}`, `["true"]`},
		{"of a true boolean only the flag is given", []command.Item{v(command.Item{Flag: "--all"})}, `{"v":true}`, `["--all"]`},
		{"of a false boolean nothing is given", []command.Item{v(command.Item{Flag: "--all"})}, `{"v":false}`, `[]`},
		{"an array is spread", []command.Item{v(command.Item{})}, `{"v":["a","b c",3]}`, `["a" "b c" "3"]`},
		{"an array repeats its flag", []command.Item{v(command.Item{Flag: "-e"})}, `{"v":["a","b"]}`, `["-e" "a" "-e" "b"]`},
		{"an array repeats its prefix", []command.Item{v(command.Item{Prefix: "--e="})}, `{"v":["a","-b"]}`, `["--e=a" "--e=-b"]`},
		{"an empty array gives nothing", []command.Item{v(command.Item{Flag: "-e"})}, `{"v":[]}`, `[]`},
		{"what is nested is JSON", []command.Item{v(command.Item{})}, `{"v":[{"a":"<"},[1, 2]]}`, `["{\"a\":\"<\"}" "[1,2]"]`},
		{"all arguments are one item of JSON", []command.Item{v(command.Item{}), {JSON: true}}, `{"v":"x", "w":[1]}`, `["x" "{\"v\":\"x\",\"w\":[1]}"]`},
		{"a repeated name is passed as it was checked", []command.Item{{JSON: true}}, `{"v":"evil","v":"good"}`, `["{\"v\":\"good\"}"]`},
		{"behind -- a value may begin with a dash", []command.Item{text("--"), v(command.Item{})}, `{"v":"-rf"}`, `["--" "-rf"]`},
		{"a value may begin with a dash where that is allowed", []command.Item{v(command.Item{Dash: true})}, `{"v":"-5"}`, `["-5"]`},
		{"bytes that are no UTF-8 are replaced", []command.Item{v(command.Item{})}, "{\"v\":\"a\xffb\"}", `["a` + "\uFFFD" + `b"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			it := made(t, events.ToolSpec{Schema: schema("v")}, command.Config{Command: self(t, "arguments", c.items...), Stdin: "json"})
			got, err := tooltest.Run(t, it, c.args)
			if err != nil || got != c.want+"\n" {
				t.Fatalf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
	for _, c := range []struct {
		name string
		item command.Item
		args string
		want string
	}{
		{"a value that begins with a dash is refused", command.Item{}, `{"v":"--upload-pack=evil"}`, `must not begin with "-"`},
		{"a negative number is refused", command.Item{}, `{"v":-9}`, `must not begin with "-"`},
		{"an element of an array that begins with a dash is refused", command.Item{}, `{"v":["a","-x"]}`, `"-x"`},
		{"a value behind a flag that begins with a dash is refused", command.Item{Flag: "-e"}, `{"v":"-x"}`, `"-x"`},
		{"a zero byte is refused", command.Item{}, `{"v":"a\u0000b"}`, "NUL byte"},
		{"what is too long for an argument is refused", command.Item{}, `{"v":"` + strings.Repeat("x", 5<<20) + `"}`, "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.item.Arg = "v"
			it := made(t, events.ToolSpec{Schema: schema("v")}, command.Config{Command: self(t, "arguments", c.item)})
			_, err := tooltest.Run(t, it, c.args)
			wantFailure(t, err, c.want)
		})
	}
}

func TestPathsStayBelowTheDirectory(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"work/sub", "secret"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out": "../secret", "in": "sub", "dangling": "../secret/new", "absolute": base} {
		if err := os.Symlink(to, filepath.Join(base, "work", link)); err != nil {
			t.Fatal(err)
		}
	}
	it, err := command.New(events.ToolSpec{Name: "it", Schema: schema("v")},
		quick(t, command.Config{Command: self(t, "arguments", command.Item{Arg: "v", Path: true}), Dir: "work"}), base)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, want string }{
		{"a file", "sub/a.txt", "./sub/a.txt"},
		{"a file that does not exist yet", "sub/x/y", "./sub/x/y"},
		{"the directory itself", ".", "./."},
		{"a detour that stays inside", "sub/../sub/a", "./sub/a"},
		{"a link that stays inside", "in/a", "./in/a"},
		{"a name like an option is no option", "-rf", "./-rf"},
		{"dots that are a name", "...", "./..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := tooltest.Run(t, it, `{"v":"`+c.path+`"}`); err != nil || got != `["`+c.want+"\"]\n" {
				t.Fatal(got, err)
			}
		})
	}
	for _, c := range []struct{ name, path string }{
		{"a path upwards is refused", "../secret/key"},
		{"a path upwards from below is refused", "sub/../../secret"},
		{"an absolute path is refused", "/etc/passwd"},
		{"an empty path is refused", ""},
		{"a link that leads out is refused", "out/key"},
		{"a link that leads to an absolute path is refused", "absolute/secret"},
		{"a link to what does not exist outside is refused", "dangling"},
		{"two dots alone are refused", ".."},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := tooltest.Run(t, it, `{"v":"`+c.path+`"}`)
			wantFailure(t, err, "below the tool's directory")
		})
	}
}
