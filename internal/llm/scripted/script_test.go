package scripted_test

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/llm/scripted"
)

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"nothing", "", "rules"},
		{"a comment alone", "# nothing\n", "rules"},
		{"two documents", "rules: []\n---\nrules: []\n", "several YAML documents"},
		{"no rules", "pace: 3\n", "no rules"},
		{"broken YAML, with its line", "pace: 1\nrules:\n  - steps: [{text: x}\n", "line 3"},
		{"an unknown field, with its line", "rules:\n  - steps:\n      - text: x\n        colour: red\n", "line 4: unknown field \"colour\""},
		{"a wrong type, with its line", "pace: 1\nchunk: many\nrules: []\n", "line 2"},
		{"a rule without steps, with its line", "rules:\n  - {contains: a, steps: [{}]}\n  - name: bare\n", "line 3: rule \"bare\": it has no steps"},
		{"a rule that hides those behind it", "rules:\n  - steps: [{}]\n  - {contains: a, steps: [{}]}\n", "line 2: rule \"1\" has no condition"},
		{"a pattern that does not compile", "rules:\n  - match: '(a'\n    steps: [{}]\n", "line 2: rule \"1\": match: error parsing regexp"},
		{"a template that does not parse", "rules:\n  - steps:\n      - delay: 1\n        text: '{{if}}'\n", "line 4: rule \"1\": step 1: text: "},
		{"a template with an unknown function", "rules:\n  - steps:\n      - text: '{{danger}}'\n", "function \"danger\" not defined"},
		{"a capture that no pattern has", "rules:\n  - match: '(?P<city>x)'\n    steps: [{text: '{{.Match.town}}'}]\n", "(?P<town>…)"},
		{"a template in arguments that does not parse", "rules:\n  - steps:\n      - calls:\n          - {tool: a}\n          - {tool: b, arguments: {x: ['{{']}}\n", "line 5: rule \"1\": step 1: call 2: arguments"},
		{"a call without a tool", "rules:\n  - steps:\n      - calls: [{arguments: {}}]\n", "names no tool"},
		{"arguments and raw", "rules:\n  - steps:\n      - calls: [{tool: a, raw: x, arguments: {}}]\n", "exclude"},
		{"arguments that are no object", "rules:\n  - steps:\n      - calls: [{tool: a, arguments: [1]}]\n", "line 3"},
		{"a number that JSON does not have", "rules:\n  - steps:\n      - calls: [{tool: a, arguments: {x: .nan}}]\n", "no such number"},
		{"two ends", "rules:\n  - steps: [{cut: true, stall: true}]\n", "exclude each other"},
		{"an unknown finish", "rules:\n  - steps: [{finish: done}]\n", "finish \"done\" is unknown"},
		{"an unknown error class", "rules:\n  - steps: [{error: {class: bad}}]\n", "class \"bad\" is unknown"},
		{"fail_first without an error", "rules:\n  - steps: [{fail_first: 1}]\n", "wants a number above 0 and an error"},
		{"a negative delay", "rules:\n  - steps: [{delay: -1}]\n", "delay is -1"},
		{"a pace beyond a minute", "pace: 60001\nrules:\n  - steps: [{}]\n", "line 1: pace is 60001"},
		{"a negative chunk of a step", "rules:\n  - steps: [{chunk: -1}]\n", "chunk is -1"},
		{"a chunk without bound", "chunk: 99999999999\nrules:\n  - steps: [{}]\n", "chunk is"},
		{"a negative after", "rules:\n  - steps: [{after: -1}]\n", "negative"},
		{"usage that is there and not", "rules:\n  - steps: [{no_usage: true, usage: {input: 1}}]\n", "exclude"},
		{"more steps than there may be", "rules:\n  - steps: [{repeat: 9000}, {repeat: 9000}]\n", "more than 10000 steps"},
		{"more aliases than there may be", "rules:\n  - contains: [&a x" + strings.Repeat(", *a", 300) + "]\n    steps: [{}]\n", "300 aliases"},
		{"lists in lists without end", "rules: " + strings.Repeat("[", 1<<14), "line 1"},
		{"a tag, with its line", "rules:\n  - match: !x\n    steps: [{}]\n", "line 2: the tag !x"},
		{"a script that is too large", strings.Repeat("#", 64<<10+1), "at most"},
		{"bytes that are no text", "rules: \xff\xfe\n", "script of the provider"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := scripted.New("p", []byte(c.script))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), `script of the provider "p": `) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzNew(f *testing.F) {
	f.Add(scripted.Demo())
	f.Add([]byte(basics))
	f.Add([]byte(endings))
	f.Add([]byte("rules: &a [*a]"))
	f.Add([]byte("rules:\n  - <<: {name: x}\n    steps: [{repeat: 3}]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := scripted.New("fuzz", raw)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v, %v", p, err)
		}
	})
}
