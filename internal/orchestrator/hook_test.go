package orchestrator

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
)

// hook answers a hook's call; the answer is cleared once it is decided.
func (s *scene) hook(all ...*events.HookAnswered) []events.Event {
	s.t.Helper()
	for _, a := range all {
		if a.Turn == "" {
			a.Turn = s.state.Turn
		}
	}
	s.env.HookAnswers = all
	es := s.decide()
	s.env.HookAnswers = nil
	return es
}

func before(name string) events.Hook { return events.Hook{Name: name, When: events.HookBefore} }

func contextOf(name, text string) *events.HookAnswered {
	return &events.HookAnswered{When: events.HookBefore, Hook: name, Context: text}
}

// hookScene is a turn whose hooks before it have been called.
func hookScene(t *testing.T, hooks ...events.Hook) *scene {
	s := newScene(t)
	s.env.Hooks = hooks
	es := s.say("begin")
	if len(only[*events.GenerationRequested](es)) > 0 || s.state.Phase != events.PhasePreparing {
		t.Fatalf("the model was called before the hooks answered: %s", written(es))
	}
	return s
}

func TestHooksBeforeATurn(t *testing.T) {
	t.Run("the model is called when all have answered, with their contexts in their order", func(t *testing.T) {
		s := hookScene(t, before("a"), before("b"), before("c"))
		if es := s.hook(contextOf("c", "third"), contextOf("a", "first")); s.state.Phase != events.PhasePreparing {
			t.Fatalf("one has not answered: %s", written(es))
		}
		s.restart()
		es := s.hook(contextOf("b", ""))
		if len(only[*events.GenerationRequested](es)) != 1 {
			t.Fatalf("the model is not called: %s", written(es))
		}
		if diff := cmp.Diff([]string{"first", "third"}, s.state.Transcript.Context(s.state.Turn)); diff != "" {
			t.Errorf("contexts (-want +got)\n%s", diff)
		}
	})
	t.Run("a repeated answer, or one that nobody waits for, changes nothing", func(t *testing.T) {
		s := hookScene(t, before("a"), before("b"))
		s.hook(contextOf("a", "first"))
		was := looks(s.state)
		for _, a := range []*events.HookAnswered{contextOf("a", "again"), contextOf("z", "mine"), {When: events.HookAfter, Hook: "b"}, {Turn: "another", When: events.HookBefore, Hook: "b"}} {
			if es := s.hook(a); len(es) > 0 {
				t.Errorf("%+v led to %s", a, written(es))
			}
		}
		if now := looks(s.state); now != was {
			t.Errorf("it changed\n%s\nto\n%s", was, now)
		}
	})
	t.Run("one that refuses ends the turn, with its reason", func(t *testing.T) {
		s := hookScene(t, before("a"), before("b"))
		s.hook(&events.HookAnswered{When: events.HookBefore, Hook: "a", Refuse: "over quota"})
		if e := s.endsAs(t, events.OutcomeFailed, "refused_by_hook"); e.Error == nil || e.Error.Message != "the hook a refused the turn: over quota" {
			t.Errorf("it ended with %+v", e.Error)
		}
		if es := s.hook(contextOf("b", "late")); len(es) > 0 {
			t.Errorf("the other answered late: %s", written(es))
		}
	})
	t.Run("one without an answer ends the turn", func(t *testing.T) {
		s := hookScene(t, before("a"))
		s.hook(&events.HookAnswered{When: events.HookBefore, Hook: "a", Error: "nobody listens"})
		s.endsAs(t, events.OutcomeFailed, "hook_failed")
	})
	t.Run("an optional one without an answer does not", func(t *testing.T) {
		h := before("a")
		h.Optional = true
		s := hookScene(t, h)
		es := s.hook(&events.HookAnswered{When: events.HookBefore, Hook: "a", Error: "nobody listens"})
		if len(only[*events.GenerationRequested](es)) != 1 {
			t.Fatalf("the model is not called: %s", written(es))
		}
	})
}

func TestWhatComesWhileHooksAreCalled(t *testing.T) {
	t.Run("a turn is cancelled while they are called", func(t *testing.T) {
		s := hookScene(t, before("a"))
		s.in(&events.Cancel{ID: s.id()})
		s.endsAs(t, events.OutcomeCancelled, "cancelled")
		if es := s.hook(contextOf("a", "late")); len(es) > 0 || len(s.state.Hooks) > 0 {
			t.Errorf("it answered late: %s", written(es))
		}
	})
	t.Run("a turn runs out of time while they are called", func(t *testing.T) {
		s := hookScene(t, before("a"))
		s.env.Limits.TimeMS = 1000
		s.now = s.now.Add(1_000_000_000)
		s.decide()
		s.endsAs(t, events.OutcomeLimit, "max_time")
	})
	t.Run("an interrupt while they are called joins the turn", func(t *testing.T) {
		s := hookScene(t, before("a"))
		s.in(&events.UserMessage{ID: s.id(), Text: "and this", Arrival: events.ArrivalInterrupt})
		es := s.hook(contextOf("a", ""))
		if len(only[*events.GenerationRequested](es)) != 1 || len(s.state.Transcript.Messages()[0].Parts) != 2 {
			t.Errorf("it did not join: %s", looks(s.state))
		}
	})
	t.Run("those of Settings are called besides the deployment's, each name once", func(t *testing.T) {
		s := newScene(t)
		s.env.Hooks = []events.Hook{before("a")}
		s.in(&events.Settings{ID: s.id(), Hooks: []events.Hook{before("b"), before("a")}})
		r := only[*events.HooksRequested](s.say("begin"))
		if len(r) != 1 || !slices.Equal(r[0].Hooks, []events.Hook{before("a"), before("b")}) {
			t.Errorf("called are %+v", r)
		}
	})
}

// TestEachHookRunsOncePerTurn: the hook before runs once per turn, also
// when the turn waits for people twice; the hook after runs exactly once. Each
// wait is decided in another process.
func TestEachHookRunsOncePerTurn(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.env.Hooks = []events.Hook{before("a"), {Name: "z", When: events.HookAfter}}
	s.say("begin")
	s.restart()
	s.hook(contextOf("a", "mind this"))
	for range 2 {
		call := s.part("g", "{}")
		s.model("", call)
		s.restart()
		s.in(s.ruling(events.RulingApprove, call.Call))
		s.restart()
		s.result(call.Call, events.StatusOK, "done")
	}
	turn := s.state.Turn
	s.model("done")
	s.restart()
	s.say("next") // does not wait for the hook after the previous turn
	s.hook(&events.HookAnswered{Turn: turn, When: events.HookAfter, Hook: "z"})
	s.restart()
	if es := s.hook(&events.HookAnswered{Turn: turn, When: events.HookAfter, Hook: "z"}); len(es) > 0 {
		t.Errorf("it answered twice: %s", written(es))
	}
	calls := map[string]int{}
	for _, r := range only[*events.HooksRequested](s.everything()) {
		calls[string(r.When)+" "+r.Turn]++
	}
	if diff := cmp.Diff(map[string]int{"before " + turn: 1, "after " + turn: 1, "before " + s.state.Turn: 1}, calls); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
}

func TestTheHookAfterATurnIsCalledHoweverItEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(s *scene)
	}{
		{"completed", func(s *scene) { s.model("done") }},
		{"cancelled before the model was called", func(s *scene) { s.in(&events.Cancel{ID: s.id()}) }},
		{"refused by the hook before", func(s *scene) {
			s.hook(&events.HookAnswered{When: events.HookBefore, Hook: "a", Refuse: "no"})
		}},
		{"out of time", func(s *scene) {
			s.now = s.now.Add(3_600_000_000_000)
			s.decide()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := hookScene(t, before("a"), events.Hook{Name: "z", When: events.HookAfter})
			turn := s.state.Turn
			if c.name == "completed" {
				s.hook(contextOf("a", ""))
			}
			c.end(s)
			if len(s.state.Hooks) != 1 || s.state.Hooks[0].Turn != turn || s.state.Hooks[0].When != events.HookAfter {
				t.Fatalf("called are %+v", s.state.Hooks)
			}
			if !s.state.Busy() {
				t.Error("a hook is called, and the conversation is not busy: a new owner would not call it")
			}
			s.restart()
		})
	}
}
