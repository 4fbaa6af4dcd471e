package orchestrator

import (
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// stricter makes a tool once.
func (s *scene) stricter(name string) {
	spec := s.env.Tools[name]
	spec.Effect = events.EffectOnce
	s.env.Tools[name] = spec
}

func requested(all []events.Event) (r *events.ToolCallRequested) {
	for _, e := range all {
		if e, is := e.(*events.ToolCallRequested); is {
			r = e
		}
	}
	return r
}

func TestADeferredCallWhoseToolBecameStricterIsJudgedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		rule events.Rule
		runs bool
	}{
		"by a rule for its name":        {events.Rule{Tool: "later", Action: events.ActionDefer, DelayMS: 10_000}, true},
		"by a rule for the milder tool": {events.Rule{Effect: events.EffectPure, Action: events.ActionDefer, DelayMS: 10_000}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.people()
			s.env.Policy.Rules = []events.Rule{c.rule}
			s.say("go on")
			call := s.part("later", `{"x":1}`)
			s.model("", call)
			s.stricter("later")
			r := requested(s.wait())
			state := s.callState(call.Call)
			switch {
			case c.runs && (r == nil || r.Effect != events.EffectOnce):
				t.Errorf("it was not requested as once: %+v", r)
			case !c.runs && (r != nil || state.Waits != events.WaitApproval || state.Effect != events.EffectOnce):
				t.Errorf("it was requested (%+v) or does not wait for a person: %+v", r, state)
			}
		})
	}
}

func TestAnApprovedCallRunsWithTheEffectThatItsToolHasNow(t *testing.T) {
	s := newScene(t)
	call := s.callTool("ask")
	s.stricter("ask")
	if r := requested(s.in(s.ruling(events.RulingApprove, call))); r == nil || r.Effect != events.EffectOnce {
		t.Errorf("%+v", r)
	}
}

func TestAnApprovalIsJudgedByTheEffectThatItsToolHasNow(t *testing.T) {
	s := newScene(t)
	call := s.callTool("ask")
	s.env.Policy.Rules = append(s.env.Policy.Rules, events.Rule{Effect: events.EffectOnce, Action: events.ActionDeny, Reason: "nothing that runs once"})
	s.stricter("ask")
	if r := requested(s.in(s.ruling(events.RulingApprove, call))); r != nil {
		t.Errorf("a call of a tool that is denied by now was requested: %+v", r)
	}
}

// The announcement says that f is pure, and its worker refuses that.
func TestAfterAWorkerHasRefusedACallTheToolIsOnce(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	first, second := s.part("f", `{"x":1}`), s.part("f", `{"x":3}`)
	s.say("go")
	if r := requested(s.model("", first)); r == nil || r.Effect != events.EffectPure {
		t.Fatalf("%+v", r)
	}
	s.result(first.Call, events.StatusWeakEffect, "not run")
	s.model("", second)
	if c := s.callState(second.Call); c == nil || c.Waits != events.WaitApproval || c.Effect != events.EffectOnce {
		t.Errorf("%+v", c)
	}
}
