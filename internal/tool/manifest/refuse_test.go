package manifest_test

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/manifest"
)

func TestWhatIsRefusedIsNamedByLine(t *testing.T) {
	// it is a tool with more lines; the first of them is line 4.
	it := func(more string) string {
		return "tools:\n- name: it\n  description: does\n" + more
	}
	const exec = "  exec: {command: [echo]}\n"
	for _, c := range []struct{ name, text, want string }{
		{"an unknown list", "tools: []\ntoolz: []\n", `2: unknown field "toolz"`},
		{"a list that is none", "tools: {a: 1}\n", "1: tools must be a list"},
		{"an entry that is none", "tools:\n- shout\n", "2: an entry must be a map"},
		{"an unknown field of a tool", it("  efect: pure\n" + exec), `4: unknown field "efect"`},
		{"an unknown field of a command", it("  exec:\n    command: [echo]\n    shell: true\n"), `6: unknown field "shell"`},
		{"an unknown field of an item", it("  input: {type: object, properties: {v: {}}}\n  exec:\n    command:\n    - echo\n    - {arg: v, quote: true}\n"), `8: unknown field "quote"`},
		{"an item that is no text", it("  exec:\n    command:\n    - echo\n    - 1.50\n"), "7: tool \"it\": it is not a text: write it in quotes"},
		{"an item that is null", it("  exec:\n    command:\n    - echo\n    - ~\n"), "7: a value is missing"},
		{"a header without a value", it("  http:\n    url: https://a.example\n    headers:\n      X-Key:\n"), "7: a value is missing"},
		{"an argument that does not exist", it("  exec:\n    command:\n    - echo\n    - {arg: w}\n"), `7: tool "it": the input has no property "w"`},
		{"an unknown effect", it("  effect: none\n" + exec), `4: tool "it": effect "none": give pure`},
		{"a timeout without a unit", it("  timeout: 30\n" + exec), `4: tool "it": timeout is "30"`},
		{"a timeout below 0", it("  timeout: -3s\n" + exec), `4: tool "it": timeout is "-3s"`},
		{"a concurrency below 0", it("  concurrency: -1\n" + exec), `4: tool "it": concurrency is -1`},
		{"a result without a bound", it("  result_bytes: 999999999999\n" + exec), `4: tool "it": result_bytes is 999999999999`},
		{"a number that is a word", it("  concurrency: many\n" + exec), `4: cannot unmarshal`},
		{"neither command nor endpoint", it(""), `2: tool "it": give one of exec and http`},
		{"both command and endpoint", it("  exec: {command: [echo]}\n  http: {url: https://a.example}\n"), `2: tool "it": give one of exec and http`},
		{"a tool without a description", "tools:\n- name: it\n" + exec, `2: tool "it": it has no description`},
		{"a name with a path in it", "tools:\n- description: does\n  name: ../it\n" + exec, `3: tool "../it": the name must be`},
		{"a tool without a name", "tools:\n- description: does\n" + exec, `2: tool "": the name must be`},
		{"a repeated name", it(exec) + "- name: it\n  description: d\n" + exec, `5: tool "it": the name is already used in line 2`},
		{"a program that does not exist", it("  exec:\n    command: [no-such-program]\n"), `5: tool "it": the program cannot be run`},
		{"a directory that leads out", it("  exec:\n    dir: ../../..\n    command: [echo]\n"), `5: tool "it": dir leads out`},
		{"a schema that is a list", it("  input: []\n" + exec), `4: tool "it": input must be a JSON Schema`},
		{"a schema that is no object's", it("  input: {type: string}\n" + exec), `4: tool "it": input must have type: object`},
		{"a schema that is wrong", it("  input: {type: object, properties: {v: {type: txt}}}\n" + exec), `4: tool "it": input: tool "it": the tool's schema cannot be used`},
		{"a schema with a pattern that is wrong", it("  input: {type: object, patternProperties: {'(': {}}}\n" + exec), `4: tool "it": input:`},
		{"a schema with a number that is none", it("  input: {type: object, maxProperties: .inf}\n" + exec), `4: tool "it": input holds what JSON cannot`},
		{"a schema from a file", it("  input: {type: object, properties: {v: {$ref: 'file:///etc/passwd'}}}\n" + exec), `put the definition under $defs`},
		{"a schema from an address", it("  input: {type: object, $ref: 'http://169.254.169.254/x'}\n" + exec), `put the definition under $defs`},
		{"a schema that points nowhere", it("  input: {type: object, $ref: '#/$defs/none'}\n" + exec), `4: tool "it": input:`},
		{"an output schema that is wrong", it("  output: {type: 7}\n" + exec), `4: tool "it": output:`},
		{"an alias", it("  input: &a {type: object}\n  output: *a\n" + exec), "anchors, aliases, merges and tags are not read"},
		{"an alias that holds itself", it("  input: &a {type: object, properties: {a: *a}}\n" + exec), "anchors, aliases"},
		{"a tag", it("  input: !!map {type: object}\n" + exec), "4: !!map: anchors"},
		{"a repeated key", "tools: []\ntools: []\n", "2: mapping key"},
		{"two documents", "tools: []\n---\ntools: []\n", "the file must be one YAML document"},
		{"what is no YAML", "tools: [\n", "1: "},
		{"bytes that are no text", "\x00\xff\xfe", ""},
		{"a file that is empty", "", "the file must be"},
		{"a variable that is not set", it("  http:\n    url: https://a.example\n    headers:\n      A: ${MANIFEST_TEST_UNSET}\n"), `7: tool "it": the environment has no ${MANIFEST_TEST_UNSET}`},
		{"a variable without an end", it("  http:\n    url: https://a.example\n    headers:\n      A: ${HOME\n"), `7: tool "it": the environment has no ${HOME`},
		{"a variable with a line break", it("  http:\n    url: https://a.example\n    headers:\n      A: x ${MANIFEST_TEST_BROKEN}\n"), `7: tool "it": the value holds a line break`},
		{"a link-local address", it("  http:\n    url: http://169.254.169.254/latest\n"), `5: tool "it": the host resolves to 169.254.169.254`},
		{"a server with neither command nor url", "mcp:\n- name: a\n", `2: mcp server "a": give one of command and url`},
		{"a server with both", "mcp:\n- {name: a, command: [x], url: 'https://a.example'}\n", `2: mcp server "a": give one`},
		{"a server at a file", "mcp:\n- name: a\n  url: file:///x\n", `3: mcp server "a": the url must be`},
		{"a header of a server with a line break", "mcp:\n- name: a\n  url: https://a.example\n  headers: {A: '${MANIFEST_TEST_BROKEN}'}\n", `4: mcp server "a": the header "A" holds a line break`},
		{"a timeout of a server that is none", "mcp:\n- name: a\n  command: [x]\n  timeout: soon\n", `4: mcp server "a": timeout is "soon"`},
		{"a start timeout of a server without a unit", "mcp:\n- name: a\n  command: [x]\n  start_timeout: '30'\n", `4: mcp server "a": start_timeout is "30"`},
		{"a login of a command", "mcp:\n- name: a\n  command: [x]\n  oauth: {client_id: c}\n", `4: mcp server "a": oauth is for a url`},
		{"a client's secret in the file", "mcp:\n- name: a\n  url: https://a.example\n  oauth:\n    client_id: c\n    client_secret: s\n", `6: unknown field "client_secret"`},
		{"a client's secret that is not set", "mcp:\n- name: a\n  url: https://a.example\n  oauth:\n    client_id: c\n    client_secret_env: MANIFEST_TEST_NOTHING\n", `6: mcp server "a": the environment has no MANIFEST_TEST_NOTHING`},
		{"a client's secret in a file that is not there", "mcp:\n- name: a\n  url: https://a.example\n  oauth:\n    client_id: c\n    client_secret_file: nothing\n", `6: mcp server "a": the client's secret cannot be read`},
		{"two secrets of a client", "mcp:\n- name: a\n  url: https://a.example\n  oauth: {client_id: c, client_secret_env: A, client_secret_file: b}\n", `4: mcp server "a": give one of client_secret_env`},
		{"a secret without a client", "mcp:\n- name: a\n  url: https://a.example\n  oauth: {client_secret_env: A}\n", `4: mcp server "a": a client's secret needs its client_id`},
		{"a prefix that is none", "mcp:\n- name: a\n  command: [x]\n  prefix: 'a b'\n", `4: mcp server "a": the prefix must be`},
		{"an environment of a server that is wrong", "mcp:\n- name: a\n  command: [x]\n  env: {pass: ['A=B']}\n", `4: mcp server "a": pass:`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("MANIFEST_TEST_BROKEN", "hush\r\nX: y")
			got := problems(t, c.text)
			if len(got) != 1 || !strings.Contains(got[0], c.want) || strings.Contains(got[0], "hush") {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	got := problems(t, `tools:
- name: a
  description: d
  effect: none
  timeout: x
  exec:
    stdin: xml
    command: [no-such-program]
- name: b
  descripton: d
- name: c
  description: d
  http:
    url: ftp://a.example
    method: BREW
mcp:
- name: s
servers: []
`)
	for i, line := range []string{"4:", "5:", "7:", "8:", "10:", "14:", "15:", "17:", "18:"} {
		if i >= len(got) || !strings.HasPrefix(got[i], line) {
			t.Fatalf("problem %d is not in line %s\n%s", i, line, strings.Join(got, "\n"))
		}
	}
}

func TestRecursiveSchemas(t *testing.T) {
	file := func(input string) string {
		return "tools:\n- name: it\n  description: d\n  input: " + input + "\n  exec: {command: [echo], stdin: json}\n"
	}
	m, err := load(t, file("{type: object, properties: {left: {$ref: '#'}, right: {$ref: '#'}}, additionalProperties: false}"))
	if err != nil {
		t.Fatal(err)
	}
	tree := m.Tools()[0].Spec()
	var check tool.Validator
	nested := func(n int) string { return strings.Repeat(`{"left":`, n) + "{}" + strings.Repeat("}", n) }
	if err := check.Validate(tree, nested(90)); err != nil {
		t.Errorf("a tree: %.300v", err)
	}
	if err := check.Validate(tree, nested(5000)); err == nil || !strings.Contains(err.Error(), "nested deeper than 100") {
		t.Errorf("a deep tree: %.300v", err)
	}
	if err := check.Validate(tree, `{"left":{"right":{"up":1}}}`); err == nil || !strings.Contains(err.Error(), "arguments.left.right") {
		t.Errorf("a wrong tree: %v", err)
	}
	for _, input := range []string{"{type: object, $ref: '#'}", "{type: object, $ref: '#/$defs/a', $defs: {a: {$ref: '#/$defs/b'}, b: {$ref: '#/$defs/a'}}}"} {
		if got := problems(t, file(input)); len(got) != 1 || !strings.Contains(got[0], "refers to itself") {
			t.Errorf("%s: a circle without an end is taken: %q", input, got)
		}
	}
}

func TestHugeFilesAreRefused(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a file that is too long", strings.Repeat("# x\n", manifest.MaxFile/4+1), "more than 262144 bytes"},
		{"more tools than are read", "tools:\n" + strings.Repeat("- a\n", 501), "has 501 entries"},
		{"brackets without an end", "tools:\n" + strings.Repeat("[", 200_000), "nested more than 100 deep"},
		{"braces over many lines", "tools:\n" + strings.Repeat("{a:\n", 50_000), "nested more than 100 deep"},
		{"lists without an end", "tools:\n" + strings.Repeat("- ", 100_000), "nested more than 100 deep"},
		{"a line that is too long", "tools: [" + strings.Repeat("[],", 10_000) + "]", "1: the line has more than 16384 bytes"},
		{"keys without an end", "tools:\n" + strings.Repeat("? ", 100_000), "nested more than 100 deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := problems(t, c.text); len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Fatalf("%.300q", got)
			}
		})
	}
	t.Run("a schema that is deep is fine as long as it can be read", func(t *testing.T) {
		deep := strings.Repeat("{type: object, properties: {a: ", 40) + "{}" + strings.Repeat("}}", 40)
		m, err := load(t, "tools:\n- name: it\n  description: d\n  input: "+deep+"\n  exec: {command: [echo], stdin: json}\n")
		if err != nil || len(m.Tools()) != 1 {
			t.Fatal(err)
		}
	})
}
