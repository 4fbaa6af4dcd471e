package chaos_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// scenario is a conversation: its message, and what its turn ends with when nothing
// fails.
type scenario struct {
	name, text string
	answer     string
	cancelled  bool
	deleted    bool
	twice      bool // a second message is sent while the first is answered
	hostile    bool // strangers write to it, see talk.hostile
	configured bool // two apps change its settings at once, and no turn runs
	compacted  bool // after two turns its history is compacted, and a third follows
	// provided is answered by the provider that fails as the seed decides, in so many
	// steps. Where the failures are more than Parley repeats, the message is sent again.
	provided bool
	steps    int
	// refusing is answered by a model that refuses the first request of each process of
	// an llm-worker: processes that are started again can use up what Parley repeats.
	refusing bool
}

// mayFail reports whether a turn may fail, by what the model does.
func (s scenario) mayFail() bool { return s.provided || s.refusing }

func scenarios() []scenario {
	return append([]scenario{
		{name: "words", text: "words", answer: words(60)},
		{name: "calls", text: "calls", answer: "Done: looked, put, charged."},
		{name: "approved", text: "approved", answer: "Done: charged."},
		{name: "deferred", text: "deferred", answer: "Done: looked."},
		{name: "refused", text: "refused by the provider", answer: "Better now.", refusing: true},
		{name: "cancelled", text: "words", cancelled: true},
		{name: "deleted", text: "calls " + strings.Repeat("large ", 200<<10), answer: "Done: looked, put, charged.", deleted: true},
		{name: "queued", text: "words", answer: words(60), twice: true},
		{name: "hostile", text: "hostile", answer: "Done: looked.", hostile: true},
		{name: "compacted", text: "brief", answer: words(30), compacted: true},
		{name: "configured", configured: true},
	}, providedScenarios()...)
}

func providedScenarios() []scenario {
	return []scenario{
		{name: "provided-words", text: "provided words", answer: words(40), provided: true, steps: 1},
		{name: "provided-calls", text: "provided calls", answer: "Done: looked, charged.", provided: true, steps: 2},
	}
}

func words(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("w%d", i))
	}
	return strings.Join(all, " ")
}

// write writes the files of the processes: the model's script, the policy, and tools
// that record each effect in a ledger of their own.
func write(t *testing.T, dir string) {
	t.Helper()
	tool := func(name, effect, result string) string {
		return fmt.Sprintf(`  - name: %[1]s
    description: Does %[1]s.
    effect: %[2]s
    input: {type: object, properties: {n: {type: integer}}, required: [n], additionalProperties: false}
    exec:
      command: [sh, -c, 'echo "%[1]s $PARLEY_CALL" >> %[4]s; sleep 0.3; printf %[3]s']
      stdin: json
`, name, effect, result, filepath.Join(dir, "ledger"))
	}
	for name, text := range map[string]string{
		"tools.yaml": "tools:\n" + tool("look", "pure", "looked") + tool("put", "idempotent", "put") + tool("charge", "once", "charged"),
		"rules.yaml": `policy:
  rules:
    - {tool: charge, when: args.n == 7, action: approve}
    - {tool: look, when: args.n == 8, action: defer, delay_ms: 1500}
    - {action: auto}
`,
		"script.yaml": `pace: 15
rules:
  - match: '^words'
    steps: [{text: ` + words(60) + `}]
  - match: '^brief'
    steps: [{text: ` + words(30) + `}]
  - match: calls
    steps:
      - text: I call three.
        calls: [{tool: look, arguments: {n: 1}}, {tool: put, arguments: {n: 1}}, {tool: charge, arguments: {n: 1}}]
      - text: 'Done: {{result 0}}, {{result 1}}, {{result 2}}.'
  - match: approved
    steps:
      - calls: [{tool: charge, arguments: {n: 7}}]
      - text: 'Done: {{result 0}}.'
  - match: deferred
    steps:
      - calls: [{tool: look, arguments: {n: 8}}]
      - text: 'Done: {{result 0}}.'
  - match: hostile
    steps:
      - calls: [{tool: look, arguments: {n: 2}}]
      - text: 'Done: {{result 0}}.'
  - match: refused by
    steps:
      - {error: {class: overloaded, message: too busy}, fail_first: 1, text: Better now.}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// ledger returns how often each call took effect, by tool and call.
func ledger(t *testing.T, dir string) map[string]int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "ledger"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	times := map[string]int{}
	for line := range strings.Lines(string(raw)) {
		times[strings.TrimSpace(line)]++
	}
	return times
}
