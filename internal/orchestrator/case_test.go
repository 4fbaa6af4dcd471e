package orchestrator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
)

// The tests here are those of the cases that a script cannot show, because another
// process continues in the middle or many states are tried.

// TestATurnEndsOnceHoweverItsAnswerEnds: a turn ends exactly once, whether an answer's end is
// written twice, by two producers, or not at all.
func TestATurnEndsOnceHoweverItsAnswerEnds(t *testing.T) {
	t.Run("the end is written twice, and then with another outcome", func(t *testing.T) {
		s := newScene(t)
		s.say("begin")
		answer := append(s.begin("hello"), s.ended(false))
		s.write(events.ChannelGen, "", answer...)
		s.decide()
		s.restart()
		broke := &events.GenerationEnded{Generation: "x", Finish: events.FinishError, Error: &events.Error{Class: events.ErrNetwork, Message: "it broke"}}
		broke.Stamp("x", 2000)
		s.write(events.ChannelGen, "", broke)
		s.write(events.ChannelGen, "", answer...)
		s.decide()
		s.restart()
		s.endsAs(t, events.OutcomeCompleted, "stop")
	})
	t.Run("a producer dies and the next one ends it", func(t *testing.T) {
		s := newScene(t)
		s.say("begin")
		s.write(events.ChannelGen, "", s.begin("hel")...)
		s.decide()
		s.restart()
		s.model("hello")
		s.endsAs(t, events.OutcomeCompleted, "stop")
		if m := s.state.Transcript.Messages(); len(m) != 2 || m[1].Parts[0].Text != "hello" {
			t.Errorf("the history is %+v", m)
		}
	})
	t.Run("no producer ends it, the time limit does", func(t *testing.T) {
		s := newScene(t)
		s.say("begin")
		s.write(events.ChannelGen, "", s.begin("hel")...)
		s.decide()
		s.restart()
		s.now = s.now.Add(time.Hour)
		s.decide()
		s.restart()
		s.endsAs(t, events.OutcomeLimit, "max_time")
	})
}

// TestEditedArgumentsRunAndAreWhatTheModelReads: an edit is what runs and what
// the model reads; what it wrote itself stays in the log.
func TestEditedArgumentsRunAndAreWhatTheModelReads(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.say("begin")
	call := s.part("g", `{"to":"bob"}`)
	s.model("", call)
	v := s.ruling(events.RulingEdit, call.Call)
	v.Calls[0].Arguments = []byte(`{ "to": "eve" }`)
	s.in(v)
	s.restart()
	if got := s.state.Transcript.Arguments(call.Call); got != `{"to":"eve"}` {
		t.Errorf("the job has the arguments %s", got)
	}
	s.result(call.Call, events.StatusOK, "sent")
	if got := s.state.Transcript.Messages()[1].Parts[0].Arguments; got != `{"to":"eve"}` {
		t.Errorf("the model reads %s", got)
	}
	if messages := only[*events.AssistantMessage](s.everything()); messages[0].Message.Parts[0].Arguments != call.Arguments {
		t.Errorf("the log keeps %s", messages[0].Message.Parts[0].Arguments)
	}
}

// TestAPausedTurnContinuesInAnotherProcess: another process reads a turn that
// waits again at each of its steps, whatever the provider's ids of its calls.
func TestAPausedTurnContinuesInAnotherProcess(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.say("begin")
	var calls []events.Part
	for _, id := range []string{"toolu_01A", "call_abc", "0", ""} {
		p := s.part("g", fmt.Sprintf(`{"id":%q}`, id))
		p.ProviderID = id
		calls = append(calls, p)
	}
	s.model("let me see", calls...)
	if s.quiet == 0 {
		t.Fatal("a turn that waits counts as work in progress")
	}
	for _, c := range calls {
		s.restart()
		s.in(s.ruling(events.RulingApprove, c.Call))
		s.restart()
		s.result(c.Call, events.StatusOK, "result of "+c.ProviderID)
	}
	s.restart()
	s.model("done")
	results := map[string]string{}
	for _, m := range s.state.Transcript.Messages() {
		if p := m.Parts[0]; p.Kind == events.PartResult {
			results[p.ProviderID] = p.Text
		}
	}
	want := map[string]string{"toolu_01A": "result of toolu_01A", "call_abc": "result of call_abc", "0": "result of 0", "": "result of "}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results by the provider's ids (-want +got)\n%s", diff)
	}
	s.endsAs(t, events.OutcomeCompleted, "stop")
}

// TestDeferredCallsRunAfterARestart: a process that begins before the time
// of a deferred call waits for it, one that begins after it runs the call.
func TestDeferredCallsRunAfterARestart(t *testing.T) {
	s := newScene(t)
	s.env.Policy = &events.Policy{Rules: []events.Rule{{Action: events.ActionDefer, DelayMS: 60_000}}}
	s.say("begin")
	call := s.part("g", "{}")
	s.model("", call)
	s.restart()
	if next := s.now.Add(time.Minute).UnixMilli(); s.state.NextMS() != next {
		t.Fatalf("the timer is set to %d, not %d", s.state.NextMS(), next)
	}
	s.now = s.now.Add(59 * time.Second)
	if es := s.decide(); len(es) > 0 {
		t.Fatalf("it did not wait: %s", written(es))
	}
	s.restart()
	s.now = s.now.Add(24 * time.Hour) // no process ran
	if r := only[*events.ToolCallRequested](s.decide()); len(r) != 1 || r[0].Call != call.Call {
		t.Fatalf("it did not run: %s", looks(s.state))
	}
	s.restart()
	s.comesToItsEnd()
	s.eachCallOnce()
}

// TestACancelInEveryStateEndsTheTurnOnce: a cancel ends the turn once wherever it is, each
// open call has one cancelled result, and a strict provider takes the next turn.
func TestACancelInEveryStateEndsTheTurnOnce(t *testing.T) {
	cut := func(s *scene, keep int) {
		all := s.begin("let me see", s.part("f", `{"x":1}`))
		s.write(events.ChannelGen, "", all[:keep]...)
		s.decide()
	}
	for _, c := range []struct {
		name      string
		to        func(s *scene)
		cancelled int
	}{
		{"requested", func(*scene) {}, 0},
		{"started", func(s *scene) { cut(s, 1) }, 0},
		{"streaming text", func(s *scene) { cut(s, 2) }, 0},
		{"before the arguments", func(s *scene) { cut(s, 3) }, 1},
		{"mid-arguments", func(s *scene) { cut(s, 4) }, 1},
		{"after the arguments", func(s *scene) { cut(s, 5) }, 1},
		{"tools running", func(s *scene) { s.model("", s.part("f", `{"x":1}`), s.part("f", `{"x":3}`)) }, 2},
		{"one tool running", func(s *scene) {
			call := s.part("f", `{"x":1}`)
			s.model("", call, s.part("f", `{"x":3}`))
			s.result(call.Call, events.StatusFailed, "no")
		}, 1},
		{"awaiting approval", func(s *scene) {
			s.env.Policy = nil
			s.model("", s.part("g", "{}"), s.part("f", `{"x":3}`))
		}, 2},
		{"awaiting a limit's extension", func(s *scene) {
			s.env.Limits = events.Limits{Calls: map[string]int{"f": 1}, OnLimit: events.LimitAsk}
			s.model("", s.part("f", `{"x":1}`), s.part("f", `{"x":3}`))
		}, 2},
		{"in retry", func(s *scene) {
			end := s.ended(false).(*events.GenerationEnded)
			end.Finish, end.Terminated, end.Error = events.FinishError, false, &events.Error{Class: events.ErrOverloaded, Message: "busy"}
			s.write(events.ChannelGen, "", append(s.begin("half"), end)...)
			s.decide()
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.say("begin")
			c.to(s)
			s.restart()
			if a := only[*events.InputAnswered](s.in(&events.Cancel{ID: s.id()})); len(a) != 1 || a[0].Answer != events.AnswerAccepted {
				t.Fatalf("the answer is %+v", a)
			}
			s.endsAs(t, events.OutcomeCancelled, "cancelled")
			s.restart()
			n := 0
			for _, r := range only[*events.ToolCallRefused](s.everything()) {
				if r.Status == events.StatusCancelled {
					n++
				}
			}
			if n != c.cancelled {
				t.Errorf("%d calls are cancelled, not %d", n, c.cancelled)
			}
			s.say("next")
			s.model("done")
			if fault := strict(s.state.Transcript.Messages()); fault != "" || s.state.Phase != events.PhaseIdle {
				t.Errorf("the next turn: %s, %s", s.state.Phase, fault)
			}
		})
	}
}

// TestTheHistoryIsValidAfterAProcessDiedDuringACall: the process dies while a call runs and the
// person sends another message to the next one: the history stays valid, whether
// the message waits, interrupts, or the call's worker died too.
func TestTheHistoryIsValidAfterAProcessDiedDuringACall(t *testing.T) {
	for _, c := range []struct {
		name    string
		arrival events.Arrival
		late    events.Status
		want    events.Status
	}{
		{"the message waits", events.ArrivalQueue, events.StatusOK, events.StatusOK},
		{"the message waits and the worker died", events.ArrivalQueue, events.StatusUnknown, events.StatusUnknown},
		{"the message interrupts", events.ArrivalInterrupt, events.StatusOK, events.StatusCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.say("before")
			s.model("yes?")
			s.say("begin")
			call := s.part("g", "{}")
			s.model("", call)
			s.write(events.ChannelCall, call.Call, &events.ToolStarted{Call: call.Call, Attempt: "a"})
			s.restart()
			s.in(&events.UserMessage{ID: s.id(), Text: "instead", Arrival: c.arrival})
			s.restart()
			s.result(call.Call, c.late, "what the worker returns")
			s.restart()
			s.comesToItsEnd()
			s.eachCallOnce()
			all := s.state.Transcript.Messages()
			if got := all[4].Parts[0].Status; got != c.want {
				t.Errorf("the call ended as %s", got)
			}
			if last := all[len(all)-2]; last.Role != events.RoleUser || last.Parts[0].Text != "instead" {
				t.Errorf("the last turn began with %+v", last)
			}
		})
	}
}

// roles is a history in short.
func roles(all []events.Message) string {
	var b []string
	for _, m := range all {
		b = append(b, string(m.Role))
	}
	return strings.Join(b, " ")
}

// TestResultsFollowTheirAssistantMessage: results that people and tools give after a
// restart come after the assistant's message, each a message of its own, and before
// the next message.
func TestResultsFollowTheirAssistantMessage(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.say("begin")
	a, b, c := s.part("g", `{"n":1}`), s.part("f", `{"x":1}`), s.part("g", `{"n":3}`)
	s.model("let me see", a, b, c)
	s.say("and then")
	s.restart()
	s.in(s.ruling(events.RulingReject, c.Call))
	s.in(s.ruling(events.RulingApprove, a.Call))
	s.result(a.Call, events.StatusOK, "one")
	s.restart()
	s.result(b.Call, events.StatusFailed, "two")
	s.model("done")
	s.restart()
	all := s.state.Transcript.Messages()
	if got, want := roles(all), "user assistant tool tool tool assistant user"; got != want {
		t.Fatalf("the history is %s, not %s", got, want)
	}
	for i, p := range []events.Part{a, b, c} {
		if got := all[2+i].Parts[0].Call; got != p.Call {
			t.Errorf("result %d is that of %s", i, got)
		}
	}
}

// TestAProvidersIDThatIsRepeatedInALaterTurnKeepsItsOwnResult: calls of different turns
// with the same provider's id keep their own results; TestCallsAndResultsArePaired and
// TestHistory of the adapters show that each is sent with an id of its own.
func TestAProvidersIDThatIsRepeatedInALaterTurnKeepsItsOwnResult(t *testing.T) {
	s := newScene(t)
	for n := range 3 {
		s.say(fmt.Sprintf("turn %d", n))
		call := s.part("g", fmt.Sprintf(`{"n":%d}`, n)) // each is call_0
		s.model("", call)
		s.restart()
		s.result(call.Call, events.StatusOK, fmt.Sprintf("result %d", n))
		s.model("done")
	}
	n := 0
	for _, m := range s.state.Transcript.Messages() {
		for _, p := range m.Parts {
			if p.Kind == events.PartResult {
				if p.Text != fmt.Sprintf("result %d", n) || p.ProviderID != "call_0" {
					t.Errorf("the call of turn %d has %q, for %s", n, p.Text, p.ProviderID)
				}
				n++
			}
		}
	}
}

// TestAProvidersIDTwiceInOneAnswerIsTwoCalls: both calls run and have their results in
// order, whichever ends first.
func TestAProvidersIDTwiceInOneAnswerIsTwoCalls(t *testing.T) {
	s := newScene(t)
	s.say("begin")
	a, b := s.part("g", `{"n":1}`), s.part("g", `{"n":2}`) // both are call_0
	s.model("", a, b)
	s.result(b.Call, events.StatusOK, "two")
	s.restart()
	s.result(a.Call, events.StatusOK, "one")
	var got []string
	for _, m := range s.state.Transcript.Messages()[2:] {
		got = append(got, m.Parts[0].Text)
	}
	if !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("the results are %q", got)
	}
}

// TestNothingComesBetweenCallsAndTheirResults: whatever is sent, set, cancelled or decided while
// calls are open comes before or after the calls and their results.
func TestNothingComesBetweenCallsAndTheirResults(t *testing.T) {
	s := newScene(t)
	s.env.Policy = nil
	s.say("begin")
	a, b := s.part("f", `{"x":1}`), s.part("g", "{}")
	s.model("let me see", a, b)
	s.say("and then")
	s.in(&events.Settings{ID: s.id(), System: "be brief"})
	s.in(&events.Cancel{ID: s.id(), Call: a.Call})
	s.say("and more")
	s.restart()
	s.in(s.ruling(events.RulingApprove, b.Call))
	s.in(&events.UserMessage{ID: s.id(), Text: "at once", Arrival: events.ArrivalInterrupt})
	if got, want := roles(s.state.Transcript.Messages()), "user assistant tool tool user"; got != want {
		t.Errorf("the history is %s, not %s", got, want)
	}
}

// TestUnknownCallsAndEmptyMessagesLeaveNoTrace: a result of an unknown call, an empty answer and
// a message without text leave no trace in the history; the adapters repair such
// histories of others.
func TestUnknownCallsAndEmptyMessagesLeaveNoTrace(t *testing.T) {
	s := newScene(t)
	s.result(s.id(), events.StatusOK, "whose?")
	s.say(" ")
	s.say("begin")
	s.result(s.id(), events.StatusOK, "whose?")
	s.model("")
	s.restart()
	s.say("again")
	s.model("done")
	if got, want := roles(s.state.Transcript.Messages()), "user user assistant"; got != want {
		t.Errorf("the history is %s, not %s", got, want)
	}
}
