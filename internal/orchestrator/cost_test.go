package orchestrator

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

func TestCallsPastTheBudgetOfThePolicyAreAskedAbout(t *testing.T) {
	s := newScene(t)
	s.in(&events.Settings{ID: s.id(), Limits: events.Limits{Parallel: 100}, Policy: &events.Policy{Rules: []events.Rule{
		{When: `!args.l.all(a, args.l.all(b, a + b > 0))`, Action: events.ActionDeny}, {Action: events.ActionAuto},
	}}})
	s.say("go")
	arguments := `{"l":[` + strings.Repeat("1,", 59) + `1]}`
	var calls []events.Part
	for range 50 {
		calls = append(calls, s.part("g", arguments))
	}
	es := s.model("", calls...)
	ran, paused := only[*events.ToolCallRequested](es), only[*events.Paused](es)
	if len(ran) == 0 || len(paused) != 1 || len(ran)+len(paused[0].Awaiting) != 50 {
		t.Fatalf("%d run, paused %d times", len(ran), len(paused))
	}
	for _, a := range paused[0].Awaiting {
		if a.For != events.WaitApproval || a.Rule != policy.KeyOverBudget || a.Reason != policy.ReasonOverBudget {
			t.Fatalf("%+v", a)
		}
	}
	call := paused[0].Awaiting[0].Call
	if a := only[*events.InputAnswered](s.in(s.ruling(events.RulingAlways, call))); a[0].Answer != events.AnswerNotAllowed {
		t.Errorf("approved for good: %+v", a[0])
	}
	if es := s.in(s.ruling(events.RulingApprove, call)); len(only[*events.ToolCallRequested](es)) != 1 {
		t.Errorf("approved: %v", es)
	}
}
