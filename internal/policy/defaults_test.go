package policy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

const whole = `# what stands where Settings say nothing
policy:
  deadline_ms: 86400000
  reminder_ms: 3600000
  rules:
    - tool: fs_*
      when: args.path.startsWith("/etc/")
      action: deny
      reason: the system's files are not ours
    - {effect: idempotent, action: auto}
    - tool: mail_send
      action: defer
      delay_ms: 60000
limits:
  steps: 30
  tokens: 200000
  cost_usd: 2.5
  time_ms: 600000
  calls: {web_*: 20}
  repeats: 4
  on_limit: ask
prices:
  openai/gpt-5: {input: 1.25, output: 10, cache_read: 0.125}
  "anthropic/claude-*": {input: 3, output: 15, cache_read: 0.3, cache_write: 3.75}
hooks:
  - {name: guard, when: before, deadline_ms: 2000}
  - {name: audit, when: after, optional: true}
pools:
  fast:
    - {model: groq/llama, weight: 3}
    - {model: ollama/qwen3, window: 32768}
`

// load writes a file and loads it.
func load(t *testing.T, text string) (Defaults, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "defaults.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Load(file)
	if err != nil && !strings.Contains(err.Error(), file) {
		t.Errorf("the error does not name the file: %v", err)
	}
	return d, err
}

func TestAWholeFileIsRead(t *testing.T) {
	got, err := load(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults{
		Policy: &events.Policy{DeadlineMS: 86400000, ReminderMS: 3600000, Rules: []events.Rule{
			{Tool: "fs_*", When: `args.path.startsWith("/etc/")`, Action: "deny", Reason: "the system's files are not ours"},
			{Effect: "idempotent", Action: "auto"},
			{Tool: "mail_send", Action: "defer", DelayMS: 60000},
		}},
		Limits:   events.Limits{Steps: 30, Tokens: 200000, CostUSD: 2.5, TimeMS: 600000, Calls: map[string]int{"web_*": 20}, Repeats: 4, OnLimit: "ask"},
		Prices:   Prices{"openai/gpt-5": {Input: 1.25, Output: 10, CacheRead: 0.125}, "anthropic/claude-*": {Input: 3, Output: 15, CacheRead: 0.3, CacheWrite: 3.75}},
		Hooks:    []events.Hook{{Name: "guard", When: "before", DeadlineMS: 2000}, {Name: "audit", When: "after", Optional: true}},
		Pools:    Pools{"fast": {{Model: "groq/llama", Weight: 3}, {Model: "ollama/qwen3", Window: 32768}}},
		Ceilings: ceilings.Defaults(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAFileThatSaysNothingIsNoMistake(t *testing.T) {
	for _, text := range []string{"", "\n", "# all of it is commented out\n", "policy:\n", "{}\n", "---\n"} {
		got, err := load(t, text)
		if diff := cmp.Diff(Defaults{Ceilings: ceilings.Defaults()}, got); err != nil || diff != "" {
			t.Errorf("%q: %v %s", text, err, diff)
		}
	}
}

func TestAMistakeInAFileIsToldWithItsLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"broken YAML", "policy:\n  rules: [\n", "line 2"},
		{"an unknown key", "limits:\n  steps: 3\npolicies: {}\n", `line 3: unknown field "policies"`},
		{"an unknown key of a rule", "policy:\n  rules:\n    - action: auto\n      tools: a\n", `line 4: unknown field "tools"`},
		{"a name as Go writes it", "policy:\n  DeadlineMS: 3\n", "line 2: unknown field"},
		{"a text for a number", "limits:\n  steps: many\n", "line 2"},
		{"a key twice", "limits: {}\nlimits: {}\n", "line 2"},
		{"an unknown action", "policy:\n  rules:\n    - action: auto\n    - tool: a\n      action: never\n", `line 5: policy: rule 2: action "never" is unknown`},
		{"a broken condition", "policy:\n  rules:\n    - action: deny\n      when: args.a >\n", "line 4: policy: rule 1: the condition does not compile"},
		{"no action", "policy:\n  rules:\n    - tool: a\n", "line 3: policy: rule 1: it has no action"},
		{"an unknown end", "limits:\n  on_limit: stop\n", `limits: on_limit is "stop"`},
		{"a cost that is no number", "limits:\n  cost_usd: .nan\n", "cost_usd is NaN"},
		{"a negative price", "prices:\n  a/b: {input: -1, output: 1}\n", `price of "a/b" is -1`},
		{"a hook without a time", "hooks:\n  - {name: a, when: before}\n  - name: b\n", `line 3: hook "b": when is ""`},
		{"a pool without models", "pools:\n  fast: []\n", `line 2: pool "fast": it has 0 models: list 1 to 20`},
		{"a pool with a name that is none", "pools:\n  \"fa st\": [{model: a/b}]\n", `pool "fa st": a name has`},
		{"a model of a pool without its provider", "pools:\n  fast:\n    - {model: a/b}\n    - {model: gpt-5}\n", `line 4: pool "fast": model "gpt-5": give provider/model`},
		{"a model twice in a pool", "pools:\n  fast:\n    - {model: a/b}\n    - {model: a/b}\n", `line 4: pool "fast": model a/b is listed twice`},
		{"a negative weight", "pools:\n  fast:\n    - {model: a/b, weight: -1}\n", `line 3: pool "fast": model a/b: weight -1 is not between`},
		{"a window that is too small", "pools:\n  fast:\n    - {model: a/b, window: 8}\n", `line 3: pool "fast": model a/b: a window of 8 tokens`},
		{"an unknown key of a model", "pools:\n  fast:\n    - {model: a/b, wieght: 3}\n", `line 3: unknown field "wieght"`},
		{"two documents", "limits: {}\n---\nlimits: {}\n", "several YAML documents"},
		{"a tag", "limits: !!map {}\n", "line 1: the tag !!map"},
		{"many aliases", "hooks: &h []\nlimits: {calls: {" + strings.Repeat("a: *h, ", 201) + "}}\n", "aliases"},
		{"a list for all", "- a\n", "line 1"},
		{"a large file", "# " + strings.Repeat("x", maxFile), "more than 65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := load(t, c.text)
			says(t, err, c.want)
			if diff := cmp.Diff(Defaults{}, got); diff != "" {
				t.Errorf("something came with the error: %s", diff)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %v", err)
			}
		})
	}
}

func TestAFileThatIsNotThereIsNamed(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
}
