package orchestrator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// TestSettingsOfOneDecisionShareTheCostOfCompiling: many Settings with conditions
// that are all new arrive before a Cancel. A decision compiles a bounded number of
// them, and the Cancel is answered in the same decision.
func TestSettingsOfOneDecisionShareTheCostOfCompiling(t *testing.T) {
	s := newScene(t)
	s.say("go")
	var inputs []events.Event
	for i := range 20 {
		p := &events.Policy{}
		for j := range 40 {
			p.Rules = append(p.Rules, events.Rule{Action: events.ActionAuto, When: fmt.Sprintf("args.k%d==%d", j, i) + strings.Repeat(`||args.a=="x"`, 55)})
		}
		inputs = append(inputs, &events.Settings{ID: s.id(), Policy: p})
	}
	inputs = append(inputs, &events.Cancel{ID: s.id()})
	counts := map[string]int{}
	for _, a := range only[*events.InputAnswered](s.in(inputs...)) {
		counts[string(a.Answer)+" "+a.Code]++
	}
	if counts["invalid "+ceilings.CodeConditionBytes] != 18 || counts["accepted "] != 3 {
		t.Errorf("answers: %v", counts)
	}
}

// TestAnEarlyReminderOfStoredSettingsIsLate: Settings that were accepted before the
// ceiling existed remind at its interval.
func TestAnEarlyReminderOfStoredSettingsIsLate(t *testing.T) {
	s := newScene(t)
	s.env.Ceilings.ReminderMS, s.env.Judge.Ceilings.ReminderMS = 1, 1
	s.in(&events.Settings{ID: s.id(), Policy: &events.Policy{ReminderMS: 1}})
	s.env.Ceilings.ReminderMS = 0
	s.say("go")
	es := s.model("", s.part("g", "{}"))
	if p := only[*events.Paused](es); len(p) != 1 || p[0].RemindMS-p[0].AtMS != 60_000 {
		t.Errorf("%+v", p)
	}
}
