package app

import (
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

// approves has a person approve calls whose arguments other JSON libraries write in
// another way than the model did.
func approves(s *stage) {
	for _, arguments := range []string{`{"a":1.50}`, `{"name":"caf\u00e9"}`, `{ "big" : 12345678901234567890, "e": 1E3 }`, `{}`} {
		t := s.decides(script([2]string{"adjust", arguments}), "", adjust{})
		a := t.awaited(events.WaitApproval)
		t.do(`{"do":"approve","call":%q}`, a.Call)
		t.answered(events.AnswerAccepted)
		v, ok := t.inputs()[1].event.(*events.Verdict)
		if !ok || v.Verdict != events.RulingApprove || len(v.Calls) != 1 || v.Calls[0].Call != a.Call || v.Calls[0].Digest != a.Digest {
			t.Errorf("for the arguments %s it published %s, expected a Verdict approve with the call %s and the digest %s of Paused", arguments, t.inputs()[1].raw, a.Call, a.Digest)
		}
		t.ended(events.OutcomeCompleted)
		if r, _ := t.result(a.Call); r == nil || r.Status != events.StatusOK {
			t.Errorf("the approved call has the result %+v, expected ok", r)
		}
		t.p.Stop()
		t.stop()
	}
}

// decides starts an app in a deployment and has it send a message.
func (s *stage) decides(model, rules string, tools ...tool.Tool) *talk {
	stop := s.Deploy(conformance.Deployment{Script: model, Rules: rules, Tools: tools})
	t := s.talk()
	t.stop = stop
	t.do(`{"do":"send","text":"hello"}`)
	t.answered(events.AnswerAccepted)
	return t
}

func denies(s *stage) {
	t := s.decides(script([2]string{"adjust", `{"a":1}`}), "", adjust{})
	a := t.awaited(events.WaitApproval)
	t.do(`{"do":"deny","call":%q,"reason":"not today"}`, a.Call)
	t.answered(events.AnswerAccepted)
	t.ended(events.OutcomeCompleted)
	refused := decision(t, func(e *events.ToolCallRefused) bool { return e.Call == a.Call })
	if refused.Status != events.StatusRefused || !strings.Contains(refused.Content, "not today") {
		t.Errorf("the call ended as %s (%s), expected refused, with the reason of the command", refused.Status, refused.Content)
	}
}

func printsRefusals(s *stage) {
	t := s.decides(script([2]string{"adjust", `{"a":1}`}), "", adjust{})
	a := t.awaited(events.WaitApproval)
	t.do(`{"do":"approve","call":%q,"digest":%q}`, a.Call, strings.Repeat("0", 64))
	t.answered(events.AnswerArgumentsChanged)
	t.do(`{"do":"approve","call":%q,"digest":%q}`, conformance.NewID(), a.Digest)
	t.answered(events.AnswerUnknownCall)
	t.do(`{"do":"approve","call":%q}`, a.Call)
	t.answered(events.AnswerAccepted)
	t.ended(events.OutcomeCompleted)
}

func answersQuestions(s *stage) {
	t := s.decides(script([2]string{"asking", `{}`}), "", asking{`{"type":"object","required":["colour"],"properties":{"colour":{"type":"string"}}}`})
	a := t.awaited(events.WaitAnswer)
	t.do(`{"do":"answer","question":%q,"content":{"colour":"green"}}`, a.Question)
	t.answered(events.AnswerAccepted)
	t.ended(events.OutcomeCompleted)
	if r, _ := t.result(a.Call); r == nil || !strings.Contains(r.Content, "green") {
		t.Errorf("the tool that asked has the result %+v, expected the answer in it", r)
	}
}

func keepsSecrets(s *stage) {
	t := s.decides(script([2]string{"asking", `{}`}), "", asking{`{"type":"object","required":["password"],"properties":{"password":{"type":"string","format":"password"}}}`})
	a := t.awaited(events.WaitAnswer)
	if !strings.Contains(string(a.Arguments), `"key"`) {
		t.Fatalf("the rule's question has no key: %s", a.Arguments)
	}
	const secret = "correct horse battery"
	t.do(`{"do":"answer","question":%q,"content":{"password":%q}}`, a.Question, secret)
	switch l := t.next(); {
	case l.Error != nil: // it cannot seal, and says so
	case l.Answered != nil && l.Answered.Answer == events.AnswerAccepted:
		t.ended(events.OutcomeCompleted)
	default:
		t.Errorf("it prints %s, expected the answer accepted, or {\"error\":…} if it cannot seal", t.p.Lines()[t.read-1])
	}
	for _, i := range t.inputs() {
		if strings.Contains(string(i.raw), secret) {
			t.Errorf("the log has the secret in clear text: %s; expected it sealed for the question's key, or not published", i.raw)
		}
	}
}

func givesResults(s *stage) {
	t := s.decides(script([2]string{"outside", `{"a":1}`}), deferred, outside{})
	a := t.awaited(events.WaitResult)
	t.do(`{"do":"result","call":%q,"content":"Half past nine."}`, a.Call)
	if l := t.next(); l.Result == nil || l.Result.Call != a.Call || !l.Result.Accepted {
		t.Fatalf("it prints %s, expected {\"result\":{\"call\":%q,\"accepted\":true}}", t.p.Lines()[t.read-1], a.Call)
	}
	t.ended(events.OutcomeCompleted)
	r, w := t.result(a.Call)
	switch {
	case r == nil || r.Status != events.StatusOK || r.Content != "Half past nine." || r.Call != a.Call:
		t.Errorf("the lane of the call has the result %+v, expected ok with the content", r)
	case !w.Follows(0):
		t.Errorf("the result has the header %s %q, expected 0, as the lane was empty: the server then refuses a second result", jetstream.ExpectedLastSubjSeqHeader, w.After)
	}
}

// comesTooLate has another app give the result first.
func comesTooLate(s *stage) {
	t := s.decides(script([2]string{"outside", `{"a":1}`}), deferred, outside{})
	a := t.awaited(events.WaitResult)
	lane := topology.OfCall(t.Shards(), t.id, events.ChannelCall, a.Call)
	t.Write(lane, 0, &events.ToolResult{Call: a.Call, Status: events.StatusOK, Content: "by another"})
	t.do(`{"do":"result","call":%q,"content":"too late"}`, a.Call)
	if l := t.next(); l.Result == nil || l.Result.Accepted {
		t.Errorf("it prints %s, expected {\"result\":{\"call\":%q,\"accepted\":false}}: the lane has a result", t.p.Lines()[t.read-1], a.Call)
	}
	if all := t.ReadLane(lane, 0); len(all) != 1 {
		t.Errorf("the lane of the call holds %s, expected one ToolResult", conformance.Types(all))
	}
	t.ended(events.OutcomeCompleted)
}

func cancels(s *stage) {
	t := s.decides(slowly, "")
	started := decision(t, func(*events.TurnStarted) bool { return true })
	t.do(`{"do":"cancel"}`)
	t.answered(events.AnswerAccepted)
	t.ended(events.OutcomeCancelled)
	if c, ok := t.inputs()[1].event.(*events.Cancel); !ok || c.Turn != started.Turn {
		t.Errorf("it published %s, expected a Cancel with the turn %s: one that names none may stop a later turn", t.inputs()[1].raw, started.Turn)
	}
}
