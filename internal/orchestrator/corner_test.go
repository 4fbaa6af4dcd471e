package orchestrator

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// all lets several inputs arrive before the owner decides.
func (s *scene) all(inputs ...events.Event) []events.Event {
	for _, e := range inputs {
		s.write(events.ChannelIn, "", e)
	}
	return s.decide()
}

func TestABurstOfInterruptsRequestsOneGeneration(t *testing.T) {
	s := newScene(t)
	s.say("a")
	es := s.all(&events.UserMessage{ID: s.id(), Text: "b", Arrival: "interrupt"}, &events.UserMessage{ID: s.id(), Text: "c", Arrival: "interrupt"})
	if n := len(only[*events.GenerationRequested](es)); n != 1 {
		t.Errorf("%d generations are requested in one decision: %s", n, written(es))
	}
}

func TestAnEditToNullIsNoEdit(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.say("a")
	c := s.part("g", `{"to":"bob"}`)
	s.model("", c)
	v := s.ruling(events.RulingEdit, c.Call)
	v.Calls[0].Arguments = json.RawMessage("null")
	if a := only[*events.InputAnswered](s.in(v)); a[0].Answer != events.AnswerInvalid {
		t.Errorf("arguments null were %s: the call runs with {}", a[0].Answer)
	}
}

func TestHeldCallsAreDeniedByTheirOwnEffect(t *testing.T) {
	s := newScene(t)
	s.env.Limits.Calls, s.env.Limits.OnLimit = map[string]int{"f": 1}, events.LimitAsk
	s.say("a")
	s.model("", s.part("f", `{"x":1}`), s.part("f", `{"x":3}`))
	es := s.in(&events.Settings{ID: s.id(), Policy: &events.Policy{Rules: []events.Rule{{Effect: "once", Action: "deny"}, {Action: "auto"}}}})
	if r := only[*events.ToolCallRefused](es); len(r) != 0 {
		t.Errorf("f is pure, and a rule about once denies it: %s", written(es))
	}
}

func TestAReasonSaysHowTheCallEndedInTheSameDecision(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.say("a")
	c := s.part("g", `{}`)
	s.model("", c)
	es := s.all(&events.Cancel{ID: s.id()}, s.ruling(events.RulingApprove, c.Call))
	for _, a := range only[*events.InputAnswered](es) {
		if strings.HasSuffix(a.Reason, " as ") {
			t.Errorf("the reason is %q", a.Reason)
		}
	}
}

func TestADecidedQuestionIsAlreadyDecided(t *testing.T) {
	s := newScene(t)
	s.env.Limits.Calls, s.env.Limits.OnLimit = map[string]int{"f": 1}, events.LimitAsk
	s.say("a")
	s.model("", s.part("f", `{"x":1}`), s.part("f", `{"x":3}`))
	q := s.state.Question.ID
	first, second := s.ruling(events.RulingApprove, q), s.ruling(events.RulingReject, q)
	s.in(first)
	if a := only[*events.InputAnswered](s.in(second)); a[0].Answer != events.AnswerAlreadyDecided {
		t.Errorf("the second person is answered %s: %s", a[0].Answer, a[0].Reason)
	}
}

func TestAnExtendedLimitOfNoCallsLetsThemRun(t *testing.T) {
	for _, most := range []int{0, 1} {
		s := newScene(t)
		s.env.Limits.Calls, s.env.Limits.OnLimit = map[string]int{"f": most}, events.LimitAsk
		s.say("a")
		s.model("", s.part("f", `{"x":1}`), s.part("f", `{"x":3}`), s.part("f", `{"x":4}`), s.part("f", `{"x":5}`))
		es := s.in(s.ruling(events.RulingApprove, s.state.Question.ID))
		if len(only[*events.ToolCallRequested](es)) == 0 {
			t.Errorf("with %d calls allowed: approved, and asked again at once: %s", most, written(es))
		}
	}
}

func TestOneGrantForOneToolAndRule(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.say("a")
	c, d := s.part("g", `{"y":1}`), s.part("g", `{"y":2}`)
	s.model("", c, d)
	v := s.ruling(events.RulingAlways, c.Call)
	v.Calls = append(v.Calls, s.ruling(events.RulingAlways, d.Call).Calls...)
	s.in(v)
	if len(s.state.Grants) != 1 {
		t.Errorf("revoking one leaves the other in force: %+v", s.state.Grants)
	}
}

func TestAGrantIsNotGivenWhereItHasNoEffect(t *testing.T) {
	s := newScene(t)
	s.say("a")
	c, d := s.part("g", `{}`), s.part("g", `{}`)
	s.model("", c)
	s.result(c.Call, events.StatusUnknown, "the worker died")
	s.model("", d)
	s.in(s.ruling(events.RulingAlways, d.Call))
	if len(s.state.Grants) != 0 {
		t.Errorf("the rule that asked is not the default, and the grant is for the default: %+v", s.state.Grants)
	}
}

func TestUnknownOnceKnowsTheCallWithItsKeysInAnotherOrder(t *testing.T) {
	s := newScene(t)
	s.say("a")
	c, d := s.part("g", `{"to":"bob","sum":2}`), s.part("g", `{"sum":2,"to":"bob"}`)
	s.model("", c)
	s.result(c.Call, events.StatusUnknown, "the worker died")
	if es := s.model("", d); len(only[*events.ToolCallRequested](es)) > 0 {
		t.Error("the same once call runs again on its own")
	}
}

func TestARepeatedOnceCallNeedsApprovalAfterOneWasCancelledWhileItRan(t *testing.T) {
	for _, status := range []events.Status{events.StatusCancelled, events.StatusTimeout} {
		s := newScene(t)
		s.say("a")
		c, d := s.part("g", `{}`), s.part("g", `{}`)
		s.model("", c)
		s.write(events.ChannelCall, c.Call, &events.ToolStarted{Call: c.Call, Attempt: "a"})
		if status == events.StatusCancelled {
			s.in(&events.Cancel{ID: s.id(), Call: c.Call})
		} else {
			s.result(c.Call, status, "too slow")
		}
		if es := s.model("", d); len(only[*events.ToolCallRequested](es)) > 0 {
			t.Errorf("after %s it is unknown whether it took effect, and it runs again on its own", status)
		}
	}
}

func TestAReminderKeepsItsReason(t *testing.T) {
	s := newScene(t)
	s.env.Policy.ReminderMS = 1000
	s.say("a")
	c, d := s.part("g", `{}`), s.part("g", `{}`)
	s.model("", c)
	s.result(c.Call, events.StatusUnknown, "the worker died")
	was := only[*events.Paused](s.model("", d))[0].Awaiting[0].Reason
	if is := only[*events.Paused](s.wait())[0].Awaiting[0].Reason; is != was {
		t.Errorf("the reason was %q and the reminder's is %q", was, is)
	}
}

func TestNoReminderIsSentForADeferredCall(t *testing.T) {
	s := newScene(t)
	s.env.Policy = &events.Policy{ReminderMS: 1000, Rules: []events.Rule{{Tool: "f", Action: "defer", DelayMS: 5000}, {Action: "approve"}}}
	s.say("a")
	c := s.part("g", `{}`)
	s.model("", c, s.part("f", `{"x":1}`))
	s.in(s.ruling(events.RulingApprove, c.Call))
	s.now = time.UnixMilli(2000)
	if es := s.decide(); len(es) > 0 {
		t.Errorf("only a time is waited for: %s", written(es))
	}
}

func TestADeferredAnswerOfAnUnaskedWorkerDoesNotPassForAnApproval(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.say("a")
	c := s.part("g", `{}`)
	s.model("", c)
	s.result(c.Call, events.StatusOK, "done, though nobody approved it")
	if s.state.Phase != events.PhasePaused {
		t.Error("a result on the lane of a call that waits for approval ends it as ok")
	}
}

func TestAToolGetsAnAnswerThatFitsItsQuestionAndContinues(t *testing.T) {
	s := newScene(t)
	call := s.questioned(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)
	c := s.state.Calls[0]
	if s.state.Phase != events.PhasePaused || c.Waits != events.WaitAnswer || c.DeadlineMS == 0 || s.state.Busy() && s.state.Calls[1].Status != "" {
		t.Fatalf("%+v", s.state.State)
	}
	es := s.in(&events.Verdict{ID: s.id(), Verdict: events.RulingAnswer, Calls: []events.CallVerdict{{Call: call, Digest: c.Digest, Content: `{"n": 3}`}}})
	answers := only[*events.QuestionAnswered](es)
	if len(answers) != 1 || string(answers[0].Content) != `{"n": 3}` || answers[0].Question != c.Question {
		t.Fatalf("%s", written(es))
	}
	s.result(call, events.StatusOK, "thanks")
	if got := s.state.Calls[0].Status; got != events.StatusOK {
		t.Errorf("the call continued and ended as %q", got)
	}
}

func TestAQuestionThatNobodyAnswersIsDeclinedInTime(t *testing.T) {
	s := newScene(t)
	s.questioned("")
	c := s.state.Calls[0]
	for range 5 {
		if len(only[*events.QuestionAnswered](s.everything())) > 0 {
			break
		}
		s.wait()
	}
	answers := only[*events.QuestionAnswered](s.everything())
	if len(answers) != 1 || !answers[0].Declined || answers[0].Question != c.Question || s.state.Calls[0].Status != "" {
		t.Errorf("%+v", answers)
	}
}
