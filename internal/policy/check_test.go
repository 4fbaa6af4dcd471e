package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// says fails unless an error holds a text; "" means no error.
func says(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("error is %v, want %q", err, want)
	}
}

func TestPoliciesThatCannotBeUsed(t *testing.T) {
	ok := events.Rule{Action: events.ActionAuto}
	for _, c := range []struct {
		name   string
		policy *events.Policy
		want   string
	}{
		{"none", nil, ""},
		{"an empty one", &events.Policy{}, ""},
		{"every action", rules(ok, events.Rule{Action: "approve", DeadlineMS: 1}, events.Rule{Action: "deny"}, events.Rule{Action: "defer"},
			events.Rule{Action: "defer", DelayMS: 1}, events.Rule{Action: "defer", AtMS: 1}), ""},
		{"patterns and classes", rules(events.Rule{Action: "auto", Tool: `fs_[a-c]*\?`, Effect: "idempotent", When: "has(args.a)"}), ""},
		{"as many rules as are allowed", &events.Policy{Rules: slices.Repeat([]events.Rule{ok}, 200)}, ""},
		{"more rules than that", &events.Policy{Rules: slices.Repeat([]events.Rule{ok}, 201)}, "at most 200"},
		{"no action", rules(ok, ok, events.Rule{Tool: "a"}), "rule 3: it has no action"},
		{"an unknown action", rules(events.Rule{Action: "allow"}), `rule 1: action "allow" is unknown: give auto, approve, defer or deny`},
		{"an action in capitals", rules(events.Rule{Action: "Deny"}), `action "Deny" is unknown`},
		{"a broken pattern", rules(events.Rule{Action: "auto", Tool: "a[b"}), `tool "a[b" is not a pattern`},
		{"an unknown class", rules(events.Rule{Action: "auto", Effect: "none"}), `effect "none" is unknown`},
		{"a broken condition", rules(ok, events.Rule{Action: "auto", When: "args."}), "rule 2: the condition does not compile"},
		{"a delay and a time", rules(events.Rule{Action: "defer", DelayMS: 1, AtMS: 1}), "exclude each other"},
		{"a delay without a defer", rules(events.Rule{Action: "auto", DelayMS: 1}), "for action defer, not auto"},
		{"a time without a defer", rules(events.Rule{Action: "approve", AtMS: 1}), "for action defer, not approve"},
		{"a negative delay", rules(events.Rule{Action: "defer", DelayMS: -1}), "delay_ms is -1"},
		{"a delay for ever", rules(events.Rule{Action: "defer", DelayMS: math.MaxInt64}), "delay_ms is 9223372036854775807"},
		{"a negative time", rules(events.Rule{Action: "defer", AtMS: -1}), "at_ms is -1"},
		{"a time for ever", rules(events.Rule{Action: "defer", AtMS: math.MaxInt64}), "at_ms is 9223372036854775807"},
		{"a negative deadline", rules(events.Rule{Action: "approve", DeadlineMS: -5}), "deadline_ms is -5"},
		{"a negative deadline of the policy", &events.Policy{DeadlineMS: -1}, "deadline_ms is -1"},
		{"a negative reminder", &events.Policy{ReminderMS: -1}, "reminder_ms is -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var j Judge
			says(t, j.Check(c.policy), c.want)
		})
	}
}

func TestHooksThatCannotBeUsed(t *testing.T) {
	for _, c := range []struct {
		name  string
		hooks []events.Hook
		want  string
	}{
		{"none", nil, ""},
		{"one name at both times", []events.Hook{{Name: "a", When: "before"}, {Name: "a", When: "after", DeadlineMS: 1}}, ""},
		{"every sign", []events.Hook{{Name: "aZ_-09", When: "before", Optional: true}}, ""},
		{"one twice", []events.Hook{{Name: "a", When: "before"}, {Name: "a", When: "before", DeadlineMS: 5}}, `hook "a" is there twice for before`},
		{"no name", []events.Hook{{When: "before"}}, "hook 1: name"},
		{"a name with a dot", []events.Hook{{Name: "a.b", When: "before"}}, "letters, digits, _ or -"},
		{"a name with a star", []events.Hook{{Name: "*", When: "before"}}, "letters, digits, _ or -"},
		{"a name with a line", []events.Hook{{Name: "a\n", When: "before"}}, "letters, digits, _ or -"},
		{"a long name", []events.Hook{{Name: strings.Repeat("a", 65), When: "before"}}, "1 to 64"},
		{"too many", slices.Repeat([]events.Hook{{Name: "a", When: "before"}}, maxHooks+1), "21 hooks, at most 20"},
		{"no time", []events.Hook{{Name: "a"}}, "give before or after"},
		{"a negative deadline", []events.Hook{{Name: "a", When: "after", DeadlineMS: -1}}, "deadline_ms is -1"},
	} {
		t.Run(c.name, func(t *testing.T) { says(t, CheckHooks(c.hooks), c.want) })
	}
}

func TestLimitsThatCannotBeUsed(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits events.Limits
		want   string
	}{
		{"none", events.Limits{}, ""},
		{"all", events.Limits{Steps: 1, Tokens: 1, CostUSD: 0.5, TimeMS: 1, Calls: map[string]int{"fs_*": 0}, Repeats: 1, OnLimit: "ask"}, ""},
		{"negative ones count as none", events.Limits{Steps: -1, Tokens: -1, CostUSD: -1, TimeMS: -1, Repeats: -1, OnLimit: "end"}, ""},
		{"an unknown end", events.Limits{OnLimit: "stop"}, `on_limit is "stop": give end or ask`},
		{"a broken pattern", events.Limits{Calls: map[string]int{"[": 1}}, `calls "[" is not a pattern`},
		{"an empty name", events.Limits{Calls: map[string]int{"": 1}}, "empty name"},
		{"a negative number of calls", events.Limits{Calls: map[string]int{"a": -1}}, `calls of "a" is -1`},
		{"a cost that is no number", events.Limits{CostUSD: math.NaN()}, "cost_usd is NaN"},
		{"too many tools", events.Limits{Calls: manyTools(maxPatterns + 1)}, "calls has 101 tools, at most 100"},
		{"a cost for ever", events.Limits{CostUSD: math.Inf(1)}, "cost_usd is +Inf"},
	} {
		t.Run(c.name, func(t *testing.T) { says(t, CheckLimits(c.limits), c.want) })
	}
}

func TestWaysToArrive(t *testing.T) {
	for _, c := range []struct {
		arrival          events.Arrival
		running, waiting bool
	}{
		{"", true, true}, {"queue", true, true}, {"interrupt", true, true}, {"refuse", true, true},
		{"supersede", false, true}, {"Queue", false, false}, {"drop", false, false},
	} {
		if err := CheckArrival(c.arrival, ""); (err == nil) != c.running {
			t.Errorf("while a turn runs %q: %v", c.arrival, err)
		}
		if err := CheckArrival("", c.arrival); (err == nil) != c.waiting {
			t.Errorf("while a turn waits %q: %v", c.arrival, err)
		}
	}
}

func manyTools(n int) map[string]int {
	all := map[string]int{}
	for i := range n {
		all[fmt.Sprintf("tool-%d", i)] = 1
	}
	return all
}

func TestParametersThatNoModelTakes(t *testing.T) {
	for effort, want := range map[string]string{"": "", "none": "", "high": "", "max": "", "maximal": `reasoning_effort is "maximal": give none`, "HIGH": `is "HIGH"`} {
		t.Run(effort, func(t *testing.T) { says(t, CheckParameters(events.Parameters{ReasoningEffort: effort}), want) })
	}
}

func TestToolsThatCannotBeUsed(t *testing.T) {
	for _, c := range []struct {
		name  string
		tools []string
		want  string
	}{
		{"none", nil, ""},
		{"as many as are allowed", slices.Repeat([]string{"fs_*"}, maxTools), ""},
		{"more than that", slices.Repeat([]string{"fs_*"}, maxTools+1), "tools has 1001 names, at most 1000"},
		{"a bracket that is not closed", []string{"["}, `tools: name "[" is not a pattern: a [ must be closed`},
		{"no name", []string{"fs_*", ""}, "tools: name has an empty name"},
		{"a long name", []string{strings.Repeat("a", maxName+1)}, "a name of 257 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) { says(t, CheckTools(c.tools), c.want) })
	}
}
