package app

import (
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func sends(s *stage) {
	s.Deploy(conformance.Deployment{Script: script()})
	t := s.talk()
	t.do(`{"do":"send","text":"hello"}`)
	t.answered(events.AnswerAccepted)
	t.ended(events.OutcomeCompleted)
}

func signsIn(s *stage) {
	for _, login := range []*url.Userinfo{url.User("t0ken"), url.UserPassword("somebody", "s3cr3t")} {
		for _, inURL := range []bool{true, false} {
			sends(newStage(s.Check, conformance.Setup{Login: login, InURL: inURL}))
		}
	}
}

// namesInputs has the app publish several inputs, two of them alike.
func namesInputs(s *stage) {
	s.Deploy(conformance.Deployment{Script: script()})
	t := s.talk()
	t.do(`{"do":"send","text":"hello"}`)
	t.answered(events.AnswerAccepted)
	t.ended(events.OutcomeCompleted)
	t.do(`{"do":"settings","settings":{"system":"Be brief."}}`)
	t.answered(events.AnswerAccepted)
	t.do(`{"do":"send","text":"hello"}`)
	t.answered(events.AnswerAccepted)
	seen := map[string]bool{}
	for _, i := range t.inputs() {
		switch {
		case !conformance.IsUUIDv7(i.id):
			t.Errorf("the input %s has the id %q, expected a UUIDv7", i.raw, i.id)
		case seen[i.id]:
			t.Errorf("two inputs have the id %s, expected a new one for each command: the second has no effect", i.id)
		case i.msgID() != t.id+"/"+i.id:
			t.Errorf("the input %s has the header Nats-Msg-Id %q, expected %s/%s", i.id, i.msgID(), t.id, i.id)
		}
		seen[i.id] = true
	}
	if len(seen) != 3 {
		t.Errorf("the log has %d inputs with ids of their own, expected 3", len(seen))
	}
}

func findsShards(s *stage) {
	s.Deploy(conformance.Deployment{Script: script()})
	seen := map[int]bool{}
	for len(seen) < s.Shards() {
		id := conformance.NewID()
		shard := topology.ShardOf(id, s.Shards())
		if seen[shard] {
			continue
		}
		seen[shard] = true
		t := &talk{stage: s, id: id, shard: shard, p: s.Launch("app", "PARLEY_CONVERSATION="+id)}
		t.do(`{"do":"send","text":"hello"}`)
		t.answered(events.AnswerAccepted)
		t.p.Stop()
	}
}

// publishesAgain loses the first two publishes of an input, and then the acknowledgement of
// another one.
func publishesAgain(s *stage) {
	s.Deploy(conformance.Deployment{Script: script()})
	t := s.talk()
	subject := topology.At(s.Shards(), t.id, events.ChannelIn).Subject(topology.Conv)
	t.do(`{"do":"send","text":"hello"}`)
	t.answered(events.AnswerAccepted)
	t.ended(events.OutcomeCompleted)
	var lost atomic.Int64
	s.Proxy.Lose(func(f conformance.Frame) bool {
		return f.ToServer && f.Subject == subject && lost.Add(1) <= 2
	})
	t.do(`{"do":"send","text":"lost twice"}`)
	t.answered(events.AnswerAccepted)
	var reply atomic.Pointer[string]
	var dropped atomic.Int64
	s.Proxy.Lose(func(f conformance.Frame) bool {
		if f.ToServer && f.Subject == subject && reply.Load() == nil {
			reply.Store(&f.Reply)
		}
		to := reply.Load()
		return !f.ToServer && to != nil && f.Subject == *to && strings.Contains(string(f.Data), `"seq"`) && dropped.Add(1) <= 1
	})
	t.do(`{"do":"settings","settings":{"system":"Acknowledged once."}}`)
	t.answered(events.AnswerAccepted)
	ids := map[string][]string{}
	for _, i := range t.inputs() {
		kind := "settings"
		if m, ok := i.event.(*events.UserMessage); ok {
			kind = m.Text
		}
		ids[kind] = append(ids[kind], i.id)
	}
	for kind, all := range ids {
		for _, id := range all {
			if id != all[0] {
				t.Errorf("the input %q was published under the ids %v, expected one: what is published again has the same id", kind, all)
			}
		}
	}
}

// waitsForItsOwn has another client submit inputs of its own at the same time.
func waitsForItsOwn(s *stage) {
	s.Deploy(conformance.Deployment{Script: script()})
	t := s.talk()
	other := func() {
		id := conformance.NewID()
		t.PublishInput(t.id, id, &events.Settings{ID: id, System: "of another"})
		decision(t, func(a *events.InputAnswered) bool { return a.Input == id })
	}
	other()
	for n := 1; n <= 3; n++ {
		other()
		before := len(t.inputs())
		t.do(`{"do":"settings","settings":{"system":"mine"}}`)
		a := t.answered(events.AnswerAccepted)
		other()
		if own := t.inputs()[before]; a.Input != own.id {
			t.Errorf("it prints the answer to input %s, expected that to its own, %s", a.Input, own.id)
		}
	}
	t.Never(lateMost, "it printed the answer to another client's input, expected its own only", func() bool { return len(t.p.Lines()) > t.read })
}

// answersAnother plays an orchestrator that answers another client's input first.
func answersAnother(s *stage) {
	t := s.talk()
	t.do(`{"do":"send","text":"hello"}`)
	own := t.input(1)
	answer := func(id string, a events.Answer) {
		frame, err := events.AppendFrame(nil, &events.Decision{State: events.State{Phase: events.PhaseIdle}, Events: []events.Line{{Event: &events.InputAnswered{Input: id, Answer: a}}}})
		s.Must(err)
		t.put(events.ChannelTurn, string(frame))
	}
	answer(conformance.NewID(), events.AnswerRefused)
	t.Never(lateMost, "it printed the answer to another client's input, expected its own only", func() bool { return len(t.p.Lines()) > t.read })
	answer(own.id, events.AnswerAccepted)
	t.answered(events.AnswerAccepted)
}

// findsAnswers lets the orchestrator start, and answer, while the app is cut off.
func findsAnswers(s *stage) {
	t := s.talk()
	t.do(`{"do":"send","text":"hello"}`)
	i := t.input(1)
	s.Proxy.Cut(true)
	s.Deploy(conformance.Deployment{Script: script()})
	decision(t, func(a *events.InputAnswered) bool { return a.Input == i.id })
	s.Proxy.Accept()
	if a := t.answered(events.AnswerAccepted); a.Input != i.id {
		t.Errorf("it prints the answer to input %s, expected %s", a.Input, i.id)
	}
}

// resolvesClaims plays an orchestrator whose Decision does not fit a message.
func resolvesClaims(s *stage) {
	t := s.talk()
	t.do(`{"do":"send","text":"hello"}`)
	i := t.input(1)
	frame, err := events.AppendFrame(nil, &events.Decision{State: events.State{Phase: events.PhaseIdle}, Events: []events.Line{
		{Event: &events.InputAnswered{Input: i.id, Answer: events.AnswerRefused, Reason: strings.Repeat("for a long reason ", 20_000)}}}})
	s.Must(err)
	object := s.Put(t.id, frame)
	claim, err := events.AppendFrame(nil, &events.Claim{Of: "Decision", Object: *object, Preview: "…"})
	s.Must(err)
	t.put(events.ChannelTurn, string(claim))
	t.answered(events.AnswerRefused)
}

func changesSettings(s *stage) {
	s.Deploy(conformance.Deployment{Script: script()})
	t := s.talk()
	t.do(`{"do":"settings","settings":{"system":"Be brief.","limits":{"steps":7}}}`)
	t.answered(events.AnswerAccepted)
	t.do(`{"do":"settings","settings":{"limits":{"repeats":9}}}`)
	t.answered(events.AnswerAccepted)
	raw := strings.ReplaceAll(string(t.inputs()[1].raw), " ", "")
	if !strings.Contains(raw, `"limits":{"repeats":9}`) || strings.Contains(raw, "system") || strings.Contains(raw, "steps") {
		t.Errorf("it published the settings %s, expected the fields of the command and no others: they are a patch", raw)
	}
}

func survivesGarbage(s *stage) {
	s.Deploy(conformance.Deployment{Script: script()})
	t := s.talk()
	t.do(`{"do":"send","text":"hello"}`)
	t.answered(events.AnswerAccepted)
	t.ended(events.OutcomeCompleted)
	for _, text := range []string{"no JSON", `{"type":"x_Weather","degrees":3}`, `["no object"]`} {
		t.put(events.ChannelIn, text)
		t.put(events.ChannelGen, text)
		t.put(events.ChannelTurn, text)
	}
	t.do(`{"do":"send","text":"hello again"}`)
	t.answered(events.AnswerAccepted)
	t.p.Running()
}

func leaves(s *stage) {
	s.Deploy(conformance.Deployment{Script: script()})
	t := s.talk()
	t.do(`{"do":"send","text":"hello"}`)
	t.answered(events.AnswerAccepted)
	t.p.Stop()
}
