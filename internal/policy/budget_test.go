package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// costlyCall is a call on which the condition costlyWhen costs much and is false.
func costlyCall() Call {
	return Call{Tool: "a", Arguments: `{"l":[` + strings.Repeat("1,", 59) + `1]}`}
}

const costlyWhen = `!args.l.all(a, args.l.all(b, a + b > 0))`

func TestAllCallsOfADecisionShareABudget(t *testing.T) {
	when := func(a events.Action) events.Rule { return events.Rule{Action: a, When: costlyWhen} }
	auto := events.Rule{Action: events.ActionAuto}
	for name, c := range map[string]struct {
		policy      *events.Policy
		call        Call
		first, last events.Action
	}{
		"a deny that was not evaluated asks":         {rules(when("deny"), auto), costlyCall(), events.ActionAuto, events.ActionApprove},
		"so does an auto":                            {rules(when("auto"), auto), costlyCall(), events.ActionAuto, events.ActionApprove},
		"so does a defer":                            {rules(when("defer"), auto), costlyCall(), events.ActionAuto, events.ActionApprove},
		"so does a deny behind a rule that defers":   {rules(events.Rule{Action: "defer"}, when("deny")), costlyCall(), events.ActionDefer, events.ActionApprove},
		"a deny without a condition still denies":    {rules(when("approve"), events.Rule{Action: "deny", Tool: "a"}), costlyCall(), events.ActionDeny, events.ActionDeny},
		"a call that no condition is for still runs": {rules(events.Rule{Action: "deny", Tool: "b", When: costlyWhen}, auto), Call{Tool: "a"}, events.ActionAuto, events.ActionAuto},
	} {
		t.Run(name, func(t *testing.T) {
			var j Judge
			b := NewBudget()
			if got := j.JudgeWithin(b, c.policy, nil, c.call); got.Action != c.first {
				t.Errorf("the first call: %+v", got)
			}
			b.left = 0 // calls before the last have used it up
			grants := []events.Grant{{ID: "g", Tool: "a"}, {ID: "h", Tool: "a", Rule: KeyOverBudget}}
			got := j.JudgeWithin(b, c.policy, grants, c.call)
			if got.Action != c.last || (got.Key == KeyOverBudget) != (c.last == events.ActionApprove) {
				t.Errorf("the last call: %+v", got)
			}
		})
	}
}

// 200 calls cost little more than 50: both use up the budget.
func TestCostlyConditionsDoNotCostByTheCall(t *testing.T) {
	var j Judge
	p := rules(events.Rule{Action: events.ActionDeny, When: costlyWhen})
	judge := func(calls int) time.Duration {
		begun, b := time.Now(), NewBudget()
		for range calls {
			j.JudgeWithin(b, p, nil, costlyCall())
		}
		if took := time.Since(begun); b.left > -maxCost {
			return took
		}
		t.Fatalf("the budget was overdrawn by %d", -b.left)
		return 0
	}
	judge(1) // compiles
	few, many := judge(50), judge(200)
	if many > 3*few {
		t.Errorf("50 calls took %s, 200 took %s", few, many)
	}
}
