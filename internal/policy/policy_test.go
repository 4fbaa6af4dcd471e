package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
)

// rules makes a policy of rules.
func rules(all ...events.Rule) *events.Policy { return &events.Policy{Rules: all} }

func TestWhoDecidesAboutACall(t *testing.T) {
	auto := events.Rule{Action: events.ActionAuto}
	ask := events.Rule{Action: events.ActionApprove, Reason: "look"}
	later := events.Rule{Action: events.ActionDefer, DelayMS: 3000}
	never := events.Rule{Action: events.ActionDeny, Reason: "no"}
	on := func(r events.Rule, tool string) events.Rule { r.Tool = tool; return r }
	when := func(r events.Rule, text string) events.Rule { r.When = text; return r }
	of := func(r events.Rule, e events.Effect) events.Rule { r.Effect = e; return r }
	grant := func(tool string, r events.Rule) []events.Grant {
		key := ""
		if r.Action != "" {
			key = r.Key()
		}
		return []events.Grant{{ID: "g1", Tool: tool, Rule: key}}
	}
	rm := Call{Tool: "fs_rm", Effect: events.EffectOnce, Arguments: `{"path":"/tmp/a","force":true}`}
	ls := Call{Tool: "fs_ls", Effect: events.EffectPure, Arguments: `{}`}

	for _, c := range []struct {
		name   string
		policy *events.Policy
		grants []events.Grant
		call   Call
		action events.Action
		rule   events.Rule // that decided; zero for the default
		grant  string
	}{
		{"without a policy a pure tool runs", nil, nil, ls, "auto", events.Rule{}, ""},
		{"without a policy any other tool asks", nil, nil, rm, "approve", events.Rule{}, ""},
		{"an idempotent tool asks", nil, nil, Call{Tool: "put", Effect: events.EffectIdempotent}, "approve", events.Rule{}, ""},
		{"a tool that does not say its class asks", nil, nil, Call{Tool: "put"}, "approve", events.Rule{}, ""},
		{"a class that does not exist asks", nil, nil, Call{Tool: "put", Effect: "Pure"}, "approve", events.Rule{}, ""},
		{"a policy without rules is the default", rules(), nil, rm, "approve", events.Rule{}, ""},
		{"a policy none of whose rules match is the default", rules(on(auto, "mail")), nil, rm, "approve", events.Rule{}, ""},

		{"a rule that says nothing matches everything", rules(auto), nil, rm, "auto", auto, ""},
		{"a rule can ask about a pure tool", rules(ask), nil, ls, "approve", ask, ""},
		{"the first rule that matches decides", rules(later, auto, ask), nil, rm, "defer", later, ""},
		{"a rule for another tool is passed over", rules(on(auto, "fs_ls"), ask), nil, rm, "approve", ask, ""},
		{"a pattern covers tools", rules(on(auto, "fs_*")), nil, rm, "auto", on(auto, "fs_*"), ""},
		{"a pattern covers the whole name", rules(on(auto, "fs")), nil, rm, "approve", events.Rule{}, ""},
		{"a name is compared with its case", rules(on(auto, "FS_RM")), nil, rm, "approve", events.Rule{}, ""},
		{"a rule for a class is for that class", rules(of(auto, "idempotent"), of(later, "once")), nil, rm, "defer", of(later, "once"), ""},
		{"a tool that does not say its class is once", rules(of(later, "once")), nil, Call{Tool: "x"}, "defer", of(later, "once"), ""},
		{"a condition that holds matches", rules(when(auto, "args.force")), nil, rm, "auto", when(auto, "args.force"), ""},
		{"a condition that does not hold does not", rules(when(auto, "!args.force"), ask), nil, rm, "approve", ask, ""},
		{"tool, class and condition must all match", rules(of(on(when(auto, "args.force"), "fs_*"), "pure"), later), nil, rm, "defer", later, ""},

		{"a deny stands above the rules before it", rules(auto, ask, later, never), nil, rm, "deny", never, ""},
		{"the first of several denies is told", rules(auto, on(never, "fs_*"), never), nil, rm, "deny", on(never, "fs_*"), ""},
		{"a deny that does not match denies nothing", rules(on(never, "mail"), auto), nil, rm, "auto", auto, ""},
		{"a deny stands above the default of a pure tool", rules(never), nil, ls, "deny", never, ""},

		{"a grant for the default lets it run", nil, grant("fs_rm", events.Rule{}), rm, "auto", events.Rule{}, "g1"},
		{"a grant for the rule that asks lets it run", rules(ask), grant("fs_rm", ask), rm, "auto", ask, "g1"},
		{"a grant is for one tool", rules(ask), grant("fs_mv", ask), rm, "approve", ask, ""},
		{"a tool's name in a grant is no pattern", rules(ask), grant("fs_*", ask), rm, "approve", ask, ""},
		{"a grant for the default is not for a rule", rules(ask), grant("fs_rm", events.Rule{}), rm, "approve", ask, ""},
		{"a grant for a rule is not for the default", nil, grant("fs_rm", ask), rm, "approve", events.Rule{}, ""},
		{"a grant for a later rule is not for the first", rules(when(ask, "args.force"), ask), grant("fs_rm", ask), rm, "approve", when(ask, "args.force"), ""},
		{"a grant ends when its rule is changed", rules(events.Rule{Action: "approve", Reason: "look twice"}), grant("fs_rm", ask), rm, "approve", events.Rule{Action: "approve", Reason: "look twice"}, ""},
		{"a grant does not lift a deny", rules(ask, never), grant("fs_rm", ask), rm, "deny", never, ""},
		{"a grant for a deny does not either", rules(never), grant("fs_rm", never), rm, "deny", never, ""},
		{"a grant does not hurry what is deferred", rules(later), grant("fs_rm", later), rm, "defer", later, ""},
		{"a call that runs anyway needs no grant", rules(auto), grant("fs_rm", auto), rm, "auto", auto, ""},
		{"a pure tool needs none either", nil, grant("fs_ls", events.Rule{}), ls, "auto", events.Rule{}, ""},
		{"a grant without an id counts nothing", nil, []events.Grant{{Tool: "fs_rm"}}, rm, "approve", events.Rule{}, ""},
		{"the first grant that fits is named", nil, []events.Grant{{ID: "a", Tool: "x"}, {ID: "b", Tool: "fs_rm"}, {ID: "c", Tool: "fs_rm"}}, rm, "auto", events.Rule{}, "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := Ruling{Action: c.action, Rule: c.rule, Default: c.rule.Action == "", Granted: c.grant}
			if !want.Default {
				want.Key = c.rule.Key()
			}
			if diff := cmp.Diff(want, new(Judge).Judge(c.policy, c.grants, c.call)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWhatCannotBeToldNeverRuns holds every way in which a rule can be beyond
// evaluation against every action.
func TestWhatCannotBeToldNeverRuns(t *testing.T) {
	large := `{"a":"` + strings.Repeat("x", maxArguments) + `"}`
	for _, c := range []struct {
		name string
		rule events.Rule
		args string
	}{
		{"a field is missing", events.Rule{When: "args.amount > 100"}, `{}`},
		{"a field on the way is missing", events.Rule{When: "has(args.a.b)"}, `{}`},
		{"a field is of another type", events.Rule{When: "args.amount > 100"}, `{"amount":"200"}`},
		{"a field is null", events.Rule{When: "args.amount > 100"}, `{"amount":null}`},
		{"the result is no bool", events.Rule{When: "args.amount"}, `{"amount":1}`},
		{"a number is divided by zero", events.Rule{When: "1 / args.n == 1"}, `{"n":0}`},
		{"a number overflows", events.Rule{When: "args.n + 1 > 0"}, `{"n":9223372036854775807}`},
		{"an index is out of range", events.Rule{When: "args.l[3] == 1"}, `{"l":[1]}`},
		{"an integer meets a fraction", events.Rule{When: "args.n * 1.5 > 1"}, `{"n":2}`},
		{"the condition does not compile", events.Rule{When: "args.amount >"}, `{}`},
		{"the condition names nothing that is there", events.Rule{When: "user == 'me'"}, `{}`},
		{"the condition is too long", events.Rule{When: "true || " + strings.Repeat(" ", maxCondition)}, `{}`},
		{"the condition costs too much", events.Rule{When: "args.l.all(a, args.l.all(b, args.l.all(c, a + b + c >= 0)))"}, `{"l":[` + strings.Repeat("1,", 200) + `1]}`},
		{"the arguments are no JSON", events.Rule{When: "true"}, `{"a":`},
		{"the arguments are half", events.Rule{When: "true"}, `{"a":1} {`},
		{"the arguments are no object", events.Rule{When: "true"}, `[1]`},
		{"the arguments are too large", events.Rule{When: "true"}, large},
		{"the arguments are too deep", events.Rule{When: "true"}, `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`},
		{"the arguments hold a number out of range", events.Rule{When: "true"}, `{"a":1e999}`},
		{"the arguments say a name twice", events.Rule{When: "args.n < 10"}, `{"n":1000,"n":1}`},
		{"the arguments say a name in two cases", events.Rule{When: "args.n < 10"}, `{"n":1,"N":1000}`},
		{"the arguments say a name with a sign that folds", events.Rule{When: "args.kind == 'a'"}, `{"kind":"a","\u212Aind":"b"}`},
		{"the pattern of the tool is broken", events.Rule{Tool: "a["}, `{}`},
		{"the class does not exist", events.Rule{Effect: "Once"}, `{}`},
	} {
		for action, want := range map[events.Action]events.Action{
			events.ActionDeny: events.ActionDeny, events.ActionApprove: events.ActionApprove, events.ActionDefer: events.ActionDefer,
			events.ActionAuto: events.ActionDeny, // passed over: the rule behind it decides
			"allow":           events.ActionApprove, "": events.ActionApprove,
		} {
			t.Run(c.name+" and the action is "+string(action), func(t *testing.T) {
				var j Judge
				c.rule.Action = action
				behind := events.Rule{Action: events.ActionDeny, Reason: "behind"}
				p := rules(c.rule, behind)
				if action != events.ActionAuto {
					p.Rules[1].Action = events.ActionAuto
				}
				got := j.Judge(p, nil, Call{Tool: "a", Arguments: c.args})
				if got.Action != want {
					t.Errorf("ruled %+v, want %s", got, want)
				}
			})
		}
	}
}

func TestARuleThatCertainlyDoesNotMatchIsPassedOverWhateverElseIsWrong(t *testing.T) {
	var j Judge
	for _, r := range []events.Rule{
		{Action: "deny", Tool: "other", When: "args.missing"},
		{Action: "deny", Tool: "[", Effect: "pure"},
		{Action: "deny", Effect: "nonsense", When: "false"},
		{Action: "deny", When: "args.missing && false"},
		{Action: "deny", When: "has(args.missing) && args.missing > 3"},
	} {
		if got := j.Judge(rules(r), nil, Call{Tool: "a"}); got.Action != events.ActionApprove || !got.Default {
			t.Errorf("%+v decided: %+v", r, got)
		}
	}
}
