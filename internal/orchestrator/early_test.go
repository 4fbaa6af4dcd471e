package orchestrator

import (
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// streams writes the beginning of an answer, without its end, and decides.
func (s *scene) streams(calls ...events.Part) []events.Event {
	s.t.Helper()
	s.write(events.ChannelGen, "", s.begin("", calls...)...)
	return s.decide()
}

// streamEnds writes the end of the answer that streams.
func (s *scene) streamEnds() []events.Event {
	s.t.Helper()
	return s.endsWith(s.ended(true).(*events.GenerationEnded))
}

// streamFails writes that the answer that streams has failed.
func (s *scene) streamFails() []events.Event {
	s.t.Helper()
	return s.endsWith(&events.GenerationEnded{Generation: s.state.Generation, Finish: events.FinishError, Error: &events.Error{Class: events.ErrOverloaded, Message: "busy"}})
}

func (s *scene) endsWith(e *events.GenerationEnded) []events.Event {
	s.t.Helper()
	e.Stamp(s.state.Open.Attempt(), 1_000_000)
	s.write(events.ChannelGen, "", e)
	return s.decide()
}

func requestedCalls(es []events.Event) []string {
	var all []string
	for _, r := range only[*events.ToolCallRequested](es) {
		all = append(all, r.Call)
	}
	return all
}

func TestACallWithoutEffectsStartsBeforeItsAnswerIsComplete(t *testing.T) {
	s := newScene(t)
	s.say("go")
	fast, slow := s.part("f", `{"x":1}`), s.part("g", "{}")
	es := s.streams(fast, slow)
	if r := only[*events.ToolCallRequested](es); len(r) != 1 || r[0].Call != fast.Call || r[0].GenerationAttempt != s.state.Open.Attempt() || r[0].Effect != events.EffectPure {
		t.Fatalf("while the answer streams: %v", es)
	}
	s.restart()
	if es := s.result(fast.Call, events.StatusOK, "42"); len(es) > 0 {
		t.Errorf("its result decides %v", es)
	}
	s.restart()
	es = s.streamEnds()
	if got := requestedCalls(es); !slices.Equal(got, []string{slow.Call}) {
		t.Errorf("with the answer: %v", es)
	}
	s.restart()
	if es := s.result(slow.Call, events.StatusOK, "done"); len(only[*events.GenerationRequested](es)) != 1 {
		t.Errorf("after both results: %v", es)
	}
	if m := s.state.Transcript.Messages(); len(m) != 4 || m[2].Parts[0].Text != "42" || m[3].Parts[0].Text != "done" {
		t.Errorf("the model reads %+v", m)
	}
	s.restart()
}

// TestWhatDoesNotStartEarly: a call that may need somebody, or of which the rest of the
// answer decides whether it runs, waits for the whole answer.
func TestWhatDoesNotStartEarly(t *testing.T) {
	for _, c := range []struct {
		name  string
		calls func(s *scene) []events.Part
		early int
	}{
		{"a call with an effect", func(s *scene) []events.Part { return []events.Part{s.part("g", "{}")} }, 0},
		{"a tool whose effect the policy sets", func(s *scene) []events.Part {
			s.env.Policy = &events.Policy{Effects: map[string]events.Effect{"f": events.EffectIdempotent}, Rules: s.env.Policy.Rules}
			return []events.Part{s.part("f", `{"x":1}`)}
		}, 0},
		{"a call to approve", func(s *scene) []events.Part {
			s.env.Policy = &events.Policy{Rules: []events.Rule{{Action: events.ActionApprove}}}
			return []events.Part{s.part("f", `{"x":1}`)}
		}, 0},
		{"a call that is denied", func(s *scene) []events.Part {
			s.env.Policy = &events.Policy{Rules: []events.Rule{{Action: events.ActionDeny}}}
			return []events.Part{s.part("f", `{"x":1}`)}
		}, 0},
		{"invalid arguments", func(s *scene) []events.Part { return []events.Part{s.part("f", `{"x":"one"}`)} }, 0},
		{"an unknown tool", func(s *scene) []events.Part { return []events.Part{s.part("h", "{}")} }, 0},
		{"a tool that nobody serves at the moment", func(s *scene) []events.Part {
			s.env.Known = map[string]events.ToolSpec{"f": s.env.Tools["f"]}
			delete(s.env.Tools, "f")
			return []events.Part{s.part("f", `{"x":1}`)}
		}, 0},
		{"a tool whose calls are limited", func(s *scene) []events.Part {
			s.env.Limits.Calls = map[string]int{"f": 1}
			return []events.Part{s.part("f", `{"x":1}`), s.part("f", `{"x":2}`)}
		}, 0},
		{"more than run at once", func(s *scene) []events.Part {
			s.env.Limits.Parallel = 2
			return []events.Part{s.part("f", `{"x":1}`), s.part("f", `{"x":2}`), s.part("f", `{"x":3}`)}
		}, 2},
		{"an id that was used", func(s *scene) []events.Part {
			used := s.part("f", `{"x":1}`)
			s.model("", used)
			s.result(used.Call, events.StatusOK, "1")
			return []events.Part{used}
		}, 0},
		{"two calls with one id", func(s *scene) []events.Part {
			one := s.part("f", `{"x":1}`)
			return []events.Part{one, one}
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.say("go")
			es := s.streams(c.calls(s)...)
			if got := requestedCalls(es); len(got) != c.early {
				t.Fatalf("%d calls started early, want %d: %v", len(got), c.early, es)
			}
			s.restart()
			s.streamEnds()
			s.restart()
		})
	}
}

// TestAnEarlyResultIsAsLongAsALaterOne: what the provider counted did not have it.
func TestAnEarlyResultIsAsLongAsALaterOne(t *testing.T) {
	var estimates, sizes [2]int64
	for i := range estimates {
		s := newScene(t)
		s.say("go")
		call := s.part("f", `{"x":1}`)
		s.streams(call)
		if i == 0 {
			s.result(call.Call, events.StatusOK, strings.Repeat("long ", 20_000))
		}
		s.streamEnds()
		if i == 1 {
			s.result(call.Call, events.StatusOK, strings.Repeat("long ", 20_000))
		}
		estimates[i], sizes[i] = s.state.Transcript.Estimate(), s.state.Transcript.Size()
	}
	if estimates[0] != estimates[1] || estimates[0] < 20_000 || sizes[0] != sizes[1] {
		t.Errorf("with the result before and after the answer the history has %v tokens and %v bytes", estimates, sizes)
	}
}

func TestTheCallsOfASupersededAttemptEnd(t *testing.T) {
	s := newScene(t)
	s.say("go")
	open, ended := s.part("f", `{"x":1}`), s.part("f", `{"x":2}`)
	s.streams(open, ended)
	s.result(ended.Call, events.StatusOK, "of the first attempt")
	again := s.part("f", `{"x":1}`)
	es := s.streams(again)
	refused := only[*events.ToolCallRefused](es)
	if len(refused) != 1 || refused[0].Call != open.Call || refused[0].Status != events.StatusSuperseded || !slices.Equal(requestedCalls(es), []string{again.Call}) {
		t.Fatalf("the next attempt: %v", es)
	}
	if es := s.result(open.Call, events.StatusOK, "too late"); len(es) > 0 {
		t.Errorf("a result that is too late decides %v", es)
	}
	s.restart()
	s.streamEnds()
	s.result(again.Call, events.StatusOK, "counts")
	s.model("done")
	m := s.state.Transcript.Messages()
	if len(m) != 4 || len(m[1].Parts) != 1 || m[2].Parts[0].Text != "counts" {
		t.Errorf("the model reads %+v", m)
	}
	if size := s.state.Transcript.Size(); size != int64(len(`go{"x":1}countsdone`)) {
		t.Errorf("%d bytes are kept", size)
	}
	s.restart()
}

func TestTheCallsOfAnAnswerThatFailsEnd(t *testing.T) {
	s := newScene(t)
	s.say("go")
	call := s.part("f", `{"x":1}`)
	s.streams(call)
	es := s.streamFails()
	if r := only[*events.ToolCallRefused](es); len(r) != 1 || r[0].Status != events.StatusSuperseded || len(only[*events.GenerationRequested](es)) != 1 {
		t.Fatalf("after the failure: %v", es)
	}
	s.restart()
	s.model("done")
	s.restart()
}

func TestTheCallsOfAnAnswerThatCannotBeAskedForAgainEnd(t *testing.T) {
	s := newScene(t)
	s.env.Route = "openai/m"
	s.say("go")
	s.streams(s.part("f", `{"x":1}`))
	s.env.Limits.CostUSD = 1 // no model has a price
	es := s.streamFails()
	if r, end := only[*events.ToolCallRefused](es), only[*events.TurnEnded](es); len(r) != 1 || r[0].Status != events.StatusSuperseded || len(end) != 1 {
		t.Fatalf("after the failure: %s", written(es))
	}
	s.restart()
}

func TestTwoCallsWithOneIDOfWhichOneRanAreInvalid(t *testing.T) {
	s := newScene(t)
	s.say("go")
	one := s.part("f", `{"x":1}`)
	s.streams(one, one)
	s.result(one.Call, events.StatusOK, "42")
	es := s.streamEnds()
	if r := only[*events.ToolCallRefused](es); len(r) == 0 || r[0].Status != events.StatusInvalidArguments {
		t.Errorf("with the answer: %v", es)
	}
	s.restart()
}

func TestATurnThatStopsKeepsTheResultsOfEarlyCalls(t *testing.T) {
	s := newScene(t)
	s.say("go")
	open, ended := s.part("f", `{"x":1}`), s.part("f", `{"x":2}`)
	s.streams(open, ended)
	s.result(ended.Call, events.StatusOK, "42")
	es := s.in(&events.Cancel{ID: s.id()})
	if r := only[*events.ToolCallRefused](es); len(r) != 1 || r[0].Call != open.Call || r[0].Status != events.StatusCancelled {
		t.Errorf("cancelled: %v", es)
	}
	if m := s.state.Transcript.Messages(); len(m) != 4 || m[2].Parts[0].Status != events.StatusCancelled || m[3].Parts[0].Text != "42" {
		t.Errorf("the history is %+v", m)
	}
	s.restart()
}

func TestAnEarlyCallIsCancelledByItself(t *testing.T) {
	s := newScene(t)
	s.say("go")
	call := s.part("f", `{"x":1}`)
	s.streams(call)
	if a := only[*events.InputAnswered](s.in(&events.Cancel{ID: s.id(), Call: call.Call})); len(a) != 1 || a[0].Answer != events.AnswerAccepted {
		t.Errorf("the answer is %+v", a)
	}
	es := s.streamEnds()
	if len(requestedCalls(es)) != 0 || len(only[*events.GenerationRequested](es)) != 1 {
		t.Errorf("with the answer: %v", es)
	}
	s.restart()
}

func TestAnEarlyCallRunsOnAtALimit(t *testing.T) {
	s := newScene(t)
	s.env.Limits.Calls, s.env.Limits.OnLimit = map[string]int{"g": 0}, events.LimitAsk
	s.say("go")
	early, held := s.part("f", `{"x":1}`), s.part("g", "{}")
	s.streams(early, held)
	es := s.streamEnds()
	if p := only[*events.Paused](es); len(p) != 1 || s.callState(early.Call).Waits != "" || s.callState(held.Call).Waits != events.WaitLimit {
		t.Fatalf("at the limit: %v", es)
	}
	s.restart()
	s.result(early.Call, events.StatusOK, "42")
	if es := s.in(s.ruling(events.RulingApprove, s.state.Question.ID)); !slices.Equal(requestedCalls(es), []string{held.Call}) {
		t.Errorf("approved: %v", es)
	}
	s.restart()
}

func TestAToolAsksDuringAnEarlyCall(t *testing.T) {
	s := newScene(t)
	s.say("go")
	call := s.part("f", `{"x":1}`)
	s.streams(call)
	s.write(events.ChannelCall, call.Call, &events.ToolStarted{Call: call.Call, Attempt: "a"})
	s.write(events.ChannelCall, call.Call, &events.QuestionAsked{Call: call.Call, Attempt: "a", Question: s.id(), Message: "really?"})
	s.decide()
	es := s.streamEnds()
	if p := only[*events.Paused](es); len(p) != 1 || len(p[0].Awaiting) != 1 || p[0].Awaiting[0].For != events.WaitAnswer {
		t.Fatalf("with the answer: %v", es)
	}
	s.in(s.ruling(events.RulingApprove, call.Call))
	if es := s.result(call.Call, events.StatusOK, "yes"); len(only[*events.GenerationRequested](es)) != 1 {
		t.Errorf("after the result: %v", es)
	}
}
