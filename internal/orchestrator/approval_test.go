package orchestrator

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
	"github.com/parleybus/parley/internal/policy"
)

// TestWhoApproves is the table of who may decide a call that carla requested.
func TestWhoApproves(t *testing.T) {
	for _, c := range []struct {
		name   string
		need   events.Need
		ruling events.Ruling
		key    byte
		want   events.Answer
		says   string
	}{
		{"anybody", events.Need{}, events.RulingApprove, 0, events.AnswerAccepted, ""},
		{"one of the group", events.Need{Approvers: []string{"group:finance"}}, events.RulingApprove, annasKey, events.AnswerAccepted, ""},
		{"one with the tag", events.Need{Approvers: []string{"tag:oncall"}}, events.RulingApprove, bossKey, events.AnswerAccepted, ""},
		{"one of two names", events.Need{Approvers: []string{"boss", "anna"}}, events.RulingApprove, annasOther, events.AnswerAccepted, ""},
		{"the requester", events.Need{Approvers: []string{"group:finance"}}, events.RulingApprove, carlasKey, events.AnswerAccepted, ""},
		{"nobody signs", events.Need{Approvers: []string{"boss"}}, events.RulingApprove, 0, events.AnswerNotAllowed, "needs boss: your verdict is not signed"},
		{"a tool-worker's key", events.Need{Approvers: []string{"boss"}}, events.RulingApprove, workersKey, events.AnswerNotAllowed, "not signed with the key of an identity"},
		{"a tool-worker's key, and any identity may", events.Need{NotRequester: true}, events.RulingApprove, workersKey, events.AnswerNotAllowed, "not signed with the key of an identity"},
		{"another identity", events.Need{Approvers: []string{"group:finance"}}, events.RulingApprove, bossKey, events.AnswerNotAllowed, "needs somebody of group finance: boss may not"},
		{"the requester approves itself", events.Need{NotRequester: true}, events.RulingApprove, carlasKey, events.AnswerNotAllowed, "carla wrote a message of this turn"},
		{"the requester answers itself", events.Need{NotRequester: true}, events.RulingAnswer, carlasKey, events.AnswerNotAllowed, "carla wrote a message of this turn"},
		{"the requester edits", events.Need{NotRequester: true}, events.RulingEdit, carlasKey, events.AnswerNotAllowed, "carla wrote a message of this turn"},
		{"another than the requester", events.Need{NotRequester: true}, events.RulingApprove, bensKey, events.AnswerAccepted, ""},
		{"always", events.Need{Approvers: []string{"boss"}}, events.RulingAlways, bossKey, events.AnswerNotAllowed, "approve this one call"},
		{"an edit", events.Need{Approvers: []string{"boss"}}, events.RulingEdit, bossKey, events.AnswerAccepted, ""},
		{"an edit by another", events.Need{Approvers: []string{"boss"}}, events.RulingEdit, annasKey, events.AnswerNotAllowed, "needs boss"},
		{"an edit where two are needed", events.Need{Approvals: 2}, events.RulingEdit, annasKey, events.AnswerNotAllowed, "must see the same arguments"},
		{"an answer", events.Need{Approvers: []string{"boss"}}, events.RulingAnswer, bossKey, events.AnswerAccepted, ""},
		{"an answer by another", events.Need{Approvers: []string{"boss"}}, events.RulingAnswer, 0, events.AnswerNotAllowed, "needs boss"},
		{"an answer where two are needed", events.Need{Approvals: 2}, events.RulingAnswer, annasKey, events.AnswerNotAllowed, "must see the same arguments"},
		{"a rejection by anybody", events.Need{Approvers: []string{"boss"}, Approvals: 1, NotRequester: true}, events.RulingReject, 0, events.AnswerAccepted, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, call := approval(t, c.need)
			s.restart()
			v := s.ruling(c.ruling, call)
			v.From, v.Calls[0].Arguments, v.Calls[0].Content = "boss", json.RawMessage(`{"amount":8}`), "42"
			before := looks(s.state)
			es := s.signed(c.key, v)
			a := answerTo(t, es)
			if a.Answer != c.want || !strings.Contains(a.Reason, c.says) || len(a.Calls) != 1 || a.Calls[0].Answer != c.want {
				t.Fatalf("the answer is %s: %s; want %s: %s", a.Answer, a.Reason, c.want, c.says)
			}
			if c.want != events.AnswerAccepted && (looks(s.state) != before || len(es) != 1) {
				t.Errorf("it was refused, and something happened: %s", written(es))
			}
			s.restart()
		})
	}
}

// TestTwoPeopleApprove: the state holds the first approval, also after another
// process has taken over; the same person does not count twice, with any key.
func TestTwoPeopleApprove(t *testing.T) {
	s, call := approval(t, events.Need{Approvers: []string{"group:finance"}, Approvals: 2, NotRequester: true})
	first := s.ruling(events.RulingApprove, call)
	es := s.signed(annasKey, first)
	a := answerTo(t, es)
	if ran(es, call) || a.Answer != events.AnswerAccepted || a.Signer != "anna" || a.Calls[0].Missing != 1 || !strings.Contains(a.Reason, "1 of 2 approvals") {
		t.Fatalf("anna approves: %s", written(es))
	}
	want := []events.Approval{{Signer: "anna", Verdict: first.ID}}
	if diff := cmp.Diff(want, s.callState(call).Approved); diff != "" {
		t.Fatalf("the state (-want +got)\n%s", diff)
	}
	s.restart()
	if es := s.line(signedLine(annasKey, s.conversationLog.id, first)); ran(es, call) || len(s.callState(call).Approved) != 1 {
		t.Fatalf("the same verdict again: %s", written(es))
	}
	for _, key := range []byte{annasKey, annasOther} {
		if es := s.signed(key, s.ruling(events.RulingApprove, call)); ran(es, call) || answerTo(t, es).Answer != events.AnswerAlreadyDecided {
			t.Fatalf("anna approves again with key %d: %s", key, written(es))
		}
	}
	for key, says := range map[byte]string{carlasKey: "carla wrote a message", bossKey: "boss may not", 0: "not signed"} {
		if es := s.signed(key, s.ruling(events.RulingApprove, call)); ran(es, call) || !strings.Contains(answerTo(t, es).Reason, says) {
			t.Fatalf("key %d approves: %s", key, written(es))
		}
	}
	reminder := only[*events.Paused](s.wait())
	if len(reminder) != 1 || reminder[0].Reminder != 1 || len(reminder[0].Awaiting[0].Approved) != 1 || reminder[0].Awaiting[0].Reason != "money" {
		t.Fatalf("the reminder is %+v", reminder)
	}
	if got, want := reminder[0].Awaiting[0].Progress(), "1 of 2, by anna; needs another: somebody of group finance, but not who requested it"; got != want {
		t.Errorf("people read %q, want %q", got, want)
	}
	s.restart()
	es = s.signed(bensKey, s.ruling(events.RulingApprove, call))
	r := only[*events.ToolCallRequested](es)
	if len(r) != 1 || r[0].Call != call || !slices.Equal(r[0].Signers, []string{"anna", "ben"}) {
		t.Fatalf("ben approves: %s", written(es))
	}
	s.restart()
	s.comesToItsEnd()
	s.eachCallOnce()
}

// TestTwoVerdictsOfOneDecision: they are decided in the log's order, one after the
// other; a verdict that names a call twice is one approval.
func TestTwoVerdictsOfOneDecision(t *testing.T) {
	for name, c := range map[string]struct {
		keys   []byte
		needed int
		runs   bool
	}{
		"of two people": {[]byte{annasKey, bensKey}, 2, true}, "of one person": {[]byte{annasKey, annasOther}, 2, false},
		"of two people, and three are needed": {[]byte{annasKey, bensKey}, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, call := approval(t, events.Need{Approvals: c.needed})
			for _, key := range c.keys {
				v := s.ruling(events.RulingApprove, call)
				v.Calls = append(v.Calls, v.Calls[0])
				s.append(accumulator.Message{Channel: events.ChannelIn, Lines: []events.Line{signedLine(key, s.conversationLog.id, v)}})
			}
			s.foldAll()
			if es := s.decide(); ran(es, call) != c.runs {
				t.Errorf("%s", written(es))
			}
			s.restart()
		})
	}
}

// TestApprovalsOfThoseWhoMayNotAnyMoreDoNotCount: somebody has left between the two
// approvals, or has taken part in the turn.
func TestApprovalsOfThoseWhoMayNotAnyMoreDoNotCount(t *testing.T) {
	for name, change := range map[string]func(s *scene){
		"left":      func(s *scene) { s.env.Identities = bookOf(identity.Inputs{}, people()[1:]...) },
		"no group":  func(s *scene) { p := people(); p[0].Groups = nil; s.env.Identities = bookOf(identity.Inputs{}, p...) },
		"took part": func(s *scene) { s.signed(annasKey, &events.Settings{ID: s.id(), System: "pay more"}) },
	} {
		t.Run(name, func(t *testing.T) {
			s, call := approval(t, events.Need{Approvers: []string{"group:finance"}, Approvals: 2, NotRequester: true})
			s.signed(annasKey, s.ruling(events.RulingApprove, call))
			change(s)
			s.restart()
			es := s.signed(bensKey, s.ruling(events.RulingApprove, call))
			if ran(es, call) || answerTo(t, es).Calls[0].Missing != 1 {
				t.Errorf("%s", written(es))
			}
		})
	}
}

// TestWhoRequests: everybody whose message is part of the turn, or who changed the
// conversation's settings; and what is not signed is anybody's.
func TestWhoRequests(t *testing.T) {
	for name, c := range map[string]struct {
		before, during func(s *scene)
		says           string
	}{
		"a message that was queued": {before: func(s *scene) {
			s.sayAs(carlasKey, "first")
			s.sayAs(annasKey, "queued")
			s.model("done")
		}, says: "anna wrote"},
		"a message that joined": {before: func(s *scene) {
			s.sayAs(carlasKey, "first")
			s.signed(annasKey, &events.UserMessage{ID: s.id(), Text: "and this", Arrival: events.ArrivalInterrupt})
		}, says: "anna wrote"},
		"settings": {before: func(s *scene) {
			s.signed(annasKey, &events.Settings{ID: s.id(), System: "always pay"})
			s.sayAs(carlasKey, "pay")
		}, says: "anna wrote"},
		"settings while it waits": {before: func(s *scene) { s.sayAs(carlasKey, "pay") }, during: func(s *scene) {
			s.signed(annasKey, &events.Settings{ID: s.id(), System: "always pay"})
		}, says: "anna wrote"},
		"settings that are answered with the verdict": {before: func(s *scene) { s.sayAs(carlasKey, "pay") }, during: func(s *scene) {
			s.append(accumulator.Message{Channel: events.ChannelIn, Lines: []events.Line{signedLine(annasKey, s.conversationLog.id, &events.Settings{ID: s.id(), System: "always pay"})}})
			s.foldAll()
		}, says: "anna wrote"},
		"an unsigned message": {before: func(s *scene) { s.say("pay") }, says: "are not signed"},
		"unsigned settings": {before: func(s *scene) {
			s.in(&events.Settings{ID: s.id(), System: "always pay"})
			s.sayAs(carlasKey, "pay")
		}, says: "are not signed"},
		"a message before there were identities": {before: func(s *scene) {
			book := s.env.Identities
			s.env.Identities = nil
			s.sayAs(annasKey, "pay")
			s.env.Identities = book
		}, says: "are not signed"},
		"an earlier turn": {before: func(s *scene) {
			s.sayAs(annasKey, "hello")
			s.model("hello")
			s.sayAs(carlasKey, "pay")
		}},
		"refused settings": {before: func(s *scene) {
			s.signed(annasKey, &events.Settings{ID: s.id(), System: "x", WhileRunning: "nonsense"})
			s.sayAs(carlasKey, "pay")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.env.Identities = bookOf(identity.Inputs{}, people()...)
			s.env.Policy = &events.Policy{Rules: []events.Rule{{Tool: "g", Action: events.ActionApprove, Need: events.Need{NotRequester: true}}}}
			c.before(s)
			call := s.part("g", "{}")
			s.model("", call)
			s.restart()
			if c.during != nil {
				c.during(s)
			}
			es := s.signed(annasKey, s.ruling(events.RulingApprove, call.Call))
			answers := only[*events.InputAnswered](es)
			if a := answers[len(answers)-1]; ran(es, call.Call) != (c.says == "") || !strings.Contains(a.Reason, c.says) {
				t.Errorf("%s", written(es))
			}
		})
	}
}

// TestNothingTakesThePlaceOfParticularPeople: a standing approval, rules of the
// conversation, a rule of the conversation for other people, and conditions that
// other calls made too costly.
func TestNothingTakesThePlaceOfParticularPeople(t *testing.T) {
	boss := events.Need{Approvers: []string{"boss"}}
	auto := []events.Rule{{Tool: "g", Action: events.ActionAuto}}
	t.Run("a standing approval", func(t *testing.T) {
		s, call := approval(t, boss)
		rule := s.callState(call).Rule
		s.state.Grants = []events.Grant{{ID: "forged", Tool: "g", Rule: rule}}
		if r := (&decision{c: s.state, env: s.env, budget: policy.NewBudget()}).judge(*s.callState(call), "{}"); r.Action != events.ActionApprove || r.Granted != "" {
			t.Errorf("the ruling is %+v", r)
		}
	})
	t.Run("rules of the conversation", func(t *testing.T) {
		s, call := approval(t, boss)
		if a := answerTo(t, s.in(&events.Settings{ID: s.id(), AddRules: auto})); a.Answer != events.AnswerAccepted {
			t.Fatalf("%+v", a)
		}
		if es := s.in(s.ruling(events.RulingApprove, call)); ran(es, call) {
			t.Errorf("the call that waited runs: %s", written(es))
		}
		s.signed(bossKey, s.ruling(events.RulingApprove, call))
		s.result(call, events.StatusOK, "paid")
		again := s.part("g", `{"amount":9}`)
		if es := s.model("", again); ran(es, again.Call) || s.callState(again.Call).Needs.Who() != "boss" {
			t.Errorf("the next call: %s", written(es))
		}
	})
	t.Run("a rule of the conversation that is taken back", func(t *testing.T) {
		s, _ := approval(t, boss)
		s.env.Policy = nil
		s.signed(carlasKey, &events.Cancel{ID: s.id()})
		s.signed(carlasKey, &events.Settings{ID: s.id(), Policy: &events.Policy{Rules: []events.Rule{{Tool: "g", Action: events.ActionApprove, Need: boss}}}})
		s.sayAs(carlasKey, "pay")
		call := s.part("g", "{}")
		s.model("", call)
		s.in(&events.Settings{ID: s.id(), AddRules: []events.Rule{{Tool: "g", Action: events.ActionApprove}}})
		if es := s.in(s.ruling(events.RulingApprove, call.Call)); ran(es, call.Call) {
			t.Errorf("%s", written(es))
		}
	})
	t.Run("rules of the deployment that came since", func(t *testing.T) {
		s, call := approval(t, events.Need{})
		s.env.Policy = &events.Policy{Rules: []events.Rule{{Tool: "g", Action: events.ActionApprove, Need: boss}}}
		if es := s.in(s.ruling(events.RulingApprove, call)); ran(es, call) || answerTo(t, es).Answer != events.AnswerNotAllowed {
			t.Errorf("%s", written(es))
		}
	})
	t.Run("conditions that are too costly", costly)
	t.Run("a deployment that has lost its identities", func(t *testing.T) {
		s, call := approval(t, boss)
		s.env.Identities = nil
		if es := s.signed(bossKey, s.ruling(events.RulingApprove, call)); ran(es, call) || !strings.Contains(answerTo(t, es).Reason, "no identities") {
			t.Errorf("%s", written(es))
		}
	})
}

// costly: a verdict on many calls uses up what the conditions of one decision may
// cost. What was not evaluated is not approved.
func costly(t *testing.T) {
	s := newScene(t)
	s.env.Identities = bookOf(identity.Inputs{}, people()...)
	s.env.Policy = &events.Policy{Rules: []events.Rule{
		{When: `args.l.all(a, args.l.all(b, a + b > 0))`, Action: events.ActionApprove, Need: events.Need{Approvers: []string{"boss"}}}, {Action: events.ActionAuto},
	}}
	s.sayAs(carlasKey, "pay")
	arguments := `{"l":[` + strings.Repeat("1,", 59) + `1]}`
	var calls []events.Part
	for range 50 {
		calls = append(calls, s.part("g", arguments))
	}
	s.model("", calls...)
	v := &events.Verdict{ID: s.id(), Verdict: events.RulingApprove}
	for _, c := range s.state.Calls {
		v.Calls = append(v.Calls, events.CallVerdict{Call: c.Call, Digest: c.Digest})
	}
	es := s.in(v)
	if r := only[*events.ToolCallRequested](es); len(r) > 0 {
		t.Errorf("%d calls run that only the boss may approve", len(r))
	}
	over := 0
	for _, a := range answerTo(t, es).Calls {
		if strings.Contains(a.Reason, "in a verdict of its own") {
			over++
		}
	}
	if over == 0 {
		t.Error("no call was past the budget: the test shows nothing")
	}
	last := s.state.Calls[49]
	if es := s.in(s.ruling(events.RulingAnswer, last.Call)); len(only[*events.ToolCallAnswered](es)) > 0 {
		t.Errorf("anybody answers it: %s", written(es))
	}
	if es := s.signed(bossKey, s.ruling(events.RulingApprove, last.Call)); !ran(es, last.Call) {
		t.Errorf("the boss approves it: %s", written(es))
	}
}

// TestDeferredCallsOfParticularPeople: where a rule says who answers, a result on the
// call's lane, which nobody can sign, does not count; a Verdict does.
func TestDeferredCallsOfParticularPeople(t *testing.T) {
	s := newScene(t)
	s.env.Identities = bookOf(identity.Inputs{}, people()...)
	s.env.Policy = &events.Policy{Rules: []events.Rule{{Tool: "g", Action: events.ActionDefer, Need: events.Need{Approvers: []string{"boss"}}}}}
	s.say("ask")
	call := s.part("g", "{}")
	s.model("", call)
	s.restart()
	if es := s.result(call.Call, events.StatusOK, "forged"); len(es) > 0 || s.callState(call.Call).Status != "" {
		t.Fatalf("a result on the lane counts: %s", written(es))
	}
	s.restart()
	v := func() *events.Verdict {
		v := s.ruling(events.RulingAnswer, call.Call)
		v.Calls[0].Content = "half past nine"
		return v
	}
	if a := answerTo(t, s.in(v())); a.Answer != events.AnswerNotAllowed {
		t.Errorf("anybody answers: %+v", a)
	}
	es := s.signed(bossKey, v())
	if r := only[*events.ToolCallAnswered](es); len(r) != 1 || answerTo(t, es).Signer != "boss" {
		t.Errorf("the boss answers: %s", written(es))
	}
	s.restart()
	if c, _ := s.state.Transcript.Call(call.Call); c.Signer != "boss" || c.Content != "half past nine" {
		t.Errorf("the transcript has %+v", c)
	}
}
