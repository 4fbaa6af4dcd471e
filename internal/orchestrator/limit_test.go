package orchestrator

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// limitCase is a limit and a conversation that reaches it.
type limitCase struct {
	limit  string
	limits events.Limits
	// first is the first answer of the model, round what comes again and again.
	first, round func(s *scene)
	// rounds is how many more there are until the limit is reached again.
	rounds int
}

func limitCases() []limitCase {
	round := func(s *scene) {
		call := s.part("f", `{"x":1}`)
		s.model("", call)
		if s.state.Phase == events.PhaseCalling {
			s.result(call.Call, events.StatusOK, s.id()+" is new, and so is "+call.Call[30:])
		}
	}
	slow := func(s *scene) {
		s.now = s.now.Add(500 * time.Millisecond)
		round(s)
	}
	same := func(s *scene) {
		call := s.part("f", `{"x":1}`)
		s.model("", call)
		s.result(call.Call, events.StatusOK, "the same")
	}
	two := func(s *scene) { s.model("", s.part("f", `{"x":1}`), s.part("f", `{"x":3}`)) }
	return []limitCase{
		{"max_steps", events.Limits{Steps: 2}, func(s *scene) { round(s); round(s) }, round, 2},
		{"max_tokens", events.Limits{Tokens: 30}, func(s *scene) { round(s); round(s) }, round, 2},
		{"max_cost", events.Limits{CostUSD: 3}, func(s *scene) { round(s); round(s) }, round, 2},
		{"max_time", events.Limits{TimeMS: 1000}, func(s *scene) { slow(s); slow(s) }, slow, 2},
		{"max_calls", events.Limits{Calls: map[string]int{"[f-z]": 1}}, two, round, 1},
		{"repeated_call", events.Limits{Repeats: 2}, func(s *scene) { same(s); same(s) }, same, 2},
	}
}

// atLimit plays a conversation to its limit.
func (c *limitCase) atLimit(t *testing.T, action events.LimitAction) *scene {
	t.Helper()
	s := newScene(t)
	s.env.Limits = c.limits
	s.env.Limits.OnLimit = action
	s.env.Prices = policy.Prices{"scripted/echo": {Input: 100_000, Output: 100_000}} // 1.5 dollars an answer
	s.say("begin")
	c.first(s)
	return s
}

// endsAs: there was one turn, and it ended so.
func (s *scene) endsAs(t *testing.T, outcome events.Outcome, reason string) *events.TurnEnded {
	t.Helper()
	all := only[*events.TurnEnded](s.everything())
	if len(all) != 1 || all[0].Outcome != outcome || all[0].Reason != reason {
		t.Fatalf("want one end, %s %s: %s", outcome, reason, written(s.everything()))
	}
	s.eachCallOnce()
	return all[0]
}

func TestEveryLimitEndsTheTurnOrAsks(t *testing.T) {
	for _, c := range limitCases() {
		t.Run(c.limit+" ends the turn", func(t *testing.T) {
			s := c.atLimit(t, "")
			s.endsAs(t, events.OutcomeLimit, c.limit)
		})
		t.Run(c.limit+" asks, and nothing continues until somebody answers", func(t *testing.T) {
			s := c.atLimit(t, events.LimitAsk)
			q := s.question(t, c.limit)
			if q.DeadlineMS != s.now.Add(7*24*time.Hour).UnixMilli() {
				t.Errorf("the deadline is %d", q.DeadlineMS)
			}
			s.now = time.UnixMilli(q.DeadlineMS - 1)
			if es := s.decide(); len(es) > 0 {
				t.Errorf("it did not wait: %s", written(es))
			}
			s.restart()
		})
		t.Run(c.limit+" is extended by itself for each approval", func(t *testing.T) {
			s := c.atLimit(t, events.LimitAsk)
			for range 3 {
				q := s.question(t, c.limit)
				s.in(s.ruling(events.RulingApprove, q.ID))
				s.restart()
				s.answerCalls()
				for n := range c.rounds {
					if s.state.Question != nil {
						t.Fatalf("asked again after %d rounds, not %d", n, c.rounds)
					}
					c.round(s)
				}
			}
			s.question(t, c.limit)
		})
		t.Run(c.limit+" ends the turn when it is rejected", func(t *testing.T) {
			s := c.atLimit(t, events.LimitAsk)
			s.in(s.ruling(events.RulingReject, s.question(t, c.limit).ID))
			s.endsAs(t, events.OutcomeLimit, c.limit)
		})
		t.Run(c.limit+" ends the turn when nobody answers in time", func(t *testing.T) {
			s := c.atLimit(t, events.LimitAsk)
			s.question(t, c.limit)
			s.restart()
			s.wait()
			s.endsAs(t, events.OutcomeLimit, c.limit)
			for _, m := range s.state.Transcript.Messages() {
				if p := m.Parts[0]; p.Kind == events.PartResult && p.Status != events.StatusOK && p.Status != events.StatusExpired {
					t.Errorf("a call that waited has the status %s", p.Status)
				}
			}
		})
		t.Run(c.limit+" is not asked about in the next turn when it was not reached there", func(t *testing.T) {
			s := c.atLimit(t, events.LimitAsk)
			s.in(&events.UserMessage{ID: s.id(), Text: "instead", Arrival: events.ArrivalSupersede})
			s.endsAs(t, events.OutcomeCancelled, "superseded")
			s.model("done")
			if s.state.Phase != events.PhaseIdle {
				t.Errorf("the next turn is %s", s.state.Phase)
			}
		})
	}
}

// question returns the question that a limit asks now, after checking its fields.
func (s *scene) question(t *testing.T, limit string) *events.Question {
	t.Helper()
	q := s.state.Question
	if q == nil || s.state.Phase != events.PhasePaused {
		t.Fatalf("nobody is asked: %s", looks(s.state))
	}
	pauses := only[*events.Paused](s.everything())
	last := pauses[len(pauses)-1]
	want := []events.Awaited{{For: events.WaitLimit, Call: q.ID, ArgumentsText: `{"limit":"` + limit + `"}`, Digest: events.Digest(`{"limit":"` + limit + `"}`), Reason: limit, DeadlineMS: q.DeadlineMS}}
	got := append([]events.Awaited(nil), last.Awaiting...)
	got[0].Arguments = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("Paused (-want +got)\n%s", diff)
	}
	if last.Usage.Total() != s.state.Usage.Total() || last.DeadlineMS != q.DeadlineMS {
		t.Errorf("Paused has usage %v and the deadline %d", last.Usage, last.DeadlineMS)
	}
	return q
}

// answerCalls lets the running calls end with results.
func (s *scene) answerCalls() {
	for i := 0; i < len(s.state.Calls); i++ { // each result lets others run
		if c := s.state.Calls[i]; c.Running() {
			s.result(c.Call, events.StatusOK, "held for "+s.id())
		}
	}
}

func TestTimeThatSomebodyIsWaitedForDoesNotCount(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.env.Limits = events.Limits{TimeMS: 1000}
	s.say("begin")
	call := s.part("g", "{}")
	s.now = s.now.Add(400 * time.Millisecond)
	s.model("", call)
	s.now = s.now.Add(48 * time.Hour)
	s.in(s.ruling(events.RulingApprove, call.Call))
	s.now = s.now.Add(400 * time.Millisecond)
	s.result(call.Call, events.StatusOK, "done")
	if s.state.Phase != events.PhaseGenerating {
		t.Fatalf("the turn did not continue: %s", looks(s.state))
	}
	s.now = s.now.Add(200 * time.Millisecond)
	s.decide()
	s.endsAs(t, events.OutcomeLimit, "max_time")
}

func TestALimitOfCostNeedsAPrice(t *testing.T) {
	s := newScene(t)
	s.env.Limits.CostUSD = 1
	s.env.Route = "openai/gpt-none"
	t.Run("a model without a price is not called", func(t *testing.T) {
		s.say("begin")
		if e := s.endsAs(t, events.OutcomeFailed, "no_price"); e.Error == nil || e.Error.Message == "" || e.Steps != 0 {
			t.Errorf("it ended with %+v", e)
		}
	})
	t.Run("a model that costs nothing is", func(t *testing.T) {
		s.env.Route = "scripted/echo"
		s.say("again")
		s.model("done")
		if s.state.Phase != events.PhaseIdle || len(only[*events.AssistantMessage](s.everything())) != 1 {
			t.Errorf("it was not called: %s", looks(s.state))
		}
	})
	t.Run("the turn tells what it cost", func(t *testing.T) {
		s.env.Prices = policy.Prices{"scripted/echo": {Input: 1000, Output: 2000}}
		s.say("again")
		es := s.model("done")
		if e := only[*events.TurnEnded](es); len(e) != 1 || e[0].CostUSD != 0.02 {
			t.Errorf("it ended with %s", written(es))
		}
	})
}

func TestCallsThatALimitHeldAreJudgedWhenItIsExtended(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.env.Limits = events.Limits{Calls: map[string]int{"*": 2}, OnLimit: events.LimitAsk}
	s.say("begin")
	pure, once, cancelled := s.part("f", `{"x":1}`), s.part("g", "{}"), s.part("f", `{"x":3}`)
	s.model("", pure, once, cancelled)
	s.in(&events.Cancel{ID: s.id(), Call: cancelled.Call})
	es := s.in(s.ruling(events.RulingApprove, s.question(t, "max_calls").ID))
	if r := only[*events.ToolCallRequested](es); len(r) != 1 || r[0].Call != pure.Call {
		t.Errorf("requested is %s", written(es))
	}
	if p := only[*events.Paused](es); len(p) != 1 || len(p[0].Awaiting) != 1 || p[0].Awaiting[0].Call != once.Call {
		t.Errorf("waited for is %s", written(es))
	}
	s.restart()
	s.comesToItsEnd()
	s.eachCallOnce()
}
