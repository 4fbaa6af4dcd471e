package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func FuzzJudge(f *testing.F) {
	for _, s := range []struct{ tool, effect, when, action, args string }{
		{"fs_*", "once", `args.path.startsWith("/etc")`, "deny", `{"path":"/etc/passwd"}`},
		{"", "", `args.n % 2 == 0 && args.l.exists(x, x > 1)`, "auto", `{"n":4,"l":[1,2]}`},
		{"[", "pure", `has(args.a.b)`, "defer", `{"a":{"b":1},"A":2}`},
		{"a", "x", `args.s.matches("(a*)*b")`, "approve", `{"s":"aaaa"}`},
		{"*", "", `args.l.filter(x, x != null).size() > math.greatest(1, args.n)`, "", `{"l":[null,1e999],"n":-0.0}`},
		{"?", "idempotent", `args == args && [1,2] + args.l == []`, "allow", `null`},
		{"fs_rm", "", `((((`, "deny", `[`},
	} {
		f.Add(s.tool, s.effect, s.when, s.action, s.args)
	}
	var j Judge
	f.Fuzz(func(t *testing.T, tool, effect, when, action, args string) {
		rule := events.Rule{Tool: tool, Effect: events.Effect(effect), When: when, Action: events.Action(action)}
		deny := rule
		deny.Action = events.ActionDeny
		call := Call{Tool: "fs_rm", Effect: events.EffectIdempotent, Arguments: args}
		grants := []events.Grant{{ID: "g", Tool: "fs_rm", Rule: rule.Key()}, {ID: "d", Tool: "fs_rm", Rule: deny.Key()}, {ID: "n", Tool: "fs_rm"}}
		auto := events.Rule{Action: events.ActionAuto}

		denied := j.Judge(rules(deny), nil, call).Action == events.ActionDeny
		for _, p := range []*events.Policy{rules(deny, auto), rules(auto, deny), rules(auto, rule, deny)} {
			if got := j.Judge(p, grants, call); denied != (got.Action == events.ActionDeny) && rule.Action != events.ActionDeny {
				t.Fatalf("a deny that matches: %v, and the ruling is %+v", denied, got)
			}
		}
		got := j.Judge(rules(rule), nil, call)
		switch got.Action {
		case events.ActionAuto, events.ActionApprove, events.ActionDefer, events.ActionDeny:
		default:
			t.Fatalf("the ruling is %+v", got)
		}
		if got.Action == events.ActionAuto && !denied {
			t.Fatalf("the same rule lets run and does not deny: %+v", got)
		}
		if again := j.Judge(rules(rule), nil, call); !reflect.DeepEqual(again, got) {
			t.Fatalf("%+v, and then %+v", got, again)
		}
		if json.Valid([]byte(args)) && j.Check(rules(rule)) == nil && got.Default == (got.Key != "") {
			t.Fatalf("a default with a key, or a rule without: %+v", got)
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(whole))
	for _, text := range []string{"", "{", "policy: !!null", "policy: &a {rules: [*a]}", "hooks: [{name: a, when: before}]", "limits: {on_limit: ask, calls: {'[': 1}}",
		"prices: {a/b: {input: .inf}}", "a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]", "policy:\n  rules:\n  - when: |\n      args.a\n    action: deny\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := parse(raw)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("the error has several lines: %v", err)
			}
			return
		}
		var j Judge
		for _, err := range []error{j.Check(d.Policy), CheckLimits(d.Limits), d.Prices.Check(), CheckHooks(d.Hooks)} {
			if err != nil {
				t.Fatalf("what was loaded cannot be used: %v", err)
			}
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	for _, size := range []int{1, 20} {
		var all []events.Rule
		for i := range size {
			all = append(all, events.Rule{Tool: "fs_*", When: fmt.Sprintf(`args.path.startsWith("/srv/%d/") || args.size > 1000`, i), Action: events.ActionAuto})
		}
		p := &events.Policy{Rules: all}
		call := Call{Tool: "fs_write", Arguments: `{"path":"/home/ann/notes.txt","size":12,"text":"hello"}`}
		for name, tool := range map[string]string{"conditions": "fs_write", "names": "mail_send"} {
			call.Tool = tool
			b.Run(fmt.Sprintf("%d rules by %s", size, name), func(b *testing.B) {
				var j Judge
				b.ReportAllocs()
				for b.Loop() {
					if got := j.Judge(p, nil, call); !got.Default {
						b.Fatalf("%+v", got)
					}
				}
			})
		}
	}
}
