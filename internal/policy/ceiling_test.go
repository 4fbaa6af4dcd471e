package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// costly returns n rules whose conditions are all different, each of about size
// bytes, and among the slowest to compile.
func costly(n, size int) *events.Policy {
	p := &events.Policy{}
	for i := range n {
		when := fmt.Sprintf("args.k%d==1", i) + strings.Repeat(`||args.a=="x"`, max(size/13-1, 0))
		p.Rules = append(p.Rules, events.Rule{Action: events.ActionAuto, When: when})
	}
	return p
}

// TestHostilePoliciesAreRefusedInTime: 200 conditions of 2,000 bytes took 9 s to
// compile.
func TestHostilePoliciesAreRefusedInTime(t *testing.T) {
	long := strings.Repeat("r", 2_000)
	for name, c := range map[string]struct {
		policy *events.Policy
		code   string
	}{
		"many rules":        {rules(make([]events.Rule, 10_000)...), ceilings.CodeRules},
		"long reasons":      {rules(slicesOf(200, events.Rule{Action: "auto", Reason: long})...), ceilings.CodeRuleBytes},
		"long patterns":     {rules(slicesOf(200, events.Rule{Action: "auto", Tool: long})...), ceilings.CodeRuleBytes},
		"long approvers":    {rules(slicesOf(200, events.Rule{Action: "approve", Need: events.Need{Approvers: []string{long}}})...), ceilings.CodeRuleBytes},
		"costly conditions": {costly(200, 600), ceilings.CodeConditionBytes},
		"reminders":         {&events.Policy{ReminderMS: 59_999}, ceilings.CodeReminderMS},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			err := new(Judge).Check(c.policy)
			if ceilings.CodeOf(err) != c.code {
				t.Errorf("it is refused with %v, want %s", err, c.code)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	began := time.Now()
	if err := new(Judge).Check(costly(50, 600)); err != nil {
		t.Errorf("below the ceilings: %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("what the ceilings allow took %s", took)
	} else {
		t.Logf("what the ceilings allow took %s", took)
	}
	if err := new(Judge).Check(&events.Policy{ReminderMS: 60_000}); err != nil {
		t.Error(err)
	}
}

func slicesOf(n int, r events.Rule) []events.Rule {
	var all []events.Rule
	for range n {
		all = append(all, r)
	}
	return all
}

func TestOnlyNewConditionsCount(t *testing.T) {
	a, b := rules(events.Rule{When: "args.a"}), rules(events.Rule{When: "args.a"}, events.Rule{When: "args.bc"}, events.Rule{When: "args.bc"})
	for _, c := range []struct {
		p, before *events.Policy
		want      int64
	}{{nil, nil, 0}, {a, nil, 6}, {a, a, 0}, {b, a, 7}, {a, b, 0}, {nil, a, 0}} {
		if got := NewConditions(c.p, c.before); got != c.want {
			t.Errorf("%d, want %d", got, c.want)
		}
	}
}

// FuzzRules: a policy that is accepted can be judged with, within the ceilings.
func FuzzRules(f *testing.F) {
	f.Add("fs_*", `args.a > 1`, "deny", 3, int64(60_000))
	f.Add("", strings.Repeat("args.all(x,", 20)+"x"+strings.Repeat(")", 20), "auto", 200, int64(1))
	f.Add("[", `args.s.matches("(a{100}){9}")`, "defer", 1_000, int64(-1))
	f.Fuzz(func(t *testing.T, tool, when, action string, n int, reminder int64) {
		p := &events.Policy{ReminderMS: reminder}
		for i := range min(max(n, 0), 300) {
			p.Rules = append(p.Rules, events.Rule{Tool: tool, When: strings.ReplaceAll(when, "a", fmt.Sprintf("a%d", i%3)), Action: events.Action(action)})
		}
		var j Judge
		began := time.Now()
		err := j.Check(p)
		ruling := j.Judge(p, nil, Call{Tool: "fs_rm", Arguments: `{"a":1}`})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if most := ceilings.Defaults(); err == nil && (int64(len(p.Rules)) > most.Rules || reminder > 0 && reminder < most.ReminderMS) {
			t.Errorf("%d rules and a reminder each %d ms are accepted", len(p.Rules), reminder)
		}
		if ruling.Action == "" {
			t.Errorf("the ruling is %+v", ruling)
		}
	})
}
