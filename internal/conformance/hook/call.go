package hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// start starts the program and waits until it subscribes.
func (s *stage) start() *conformance.Process {
	p := s.Launch("hook", "PARLEY_HOOK="+name, "PARLEY_HOOK_WHEN=before")
	s.Eventually(2*conformance.Soon, "it subscribes to "+s.subject, func() bool {
		p.Running()
		return s.Server.Subscribed(s.subject)
	})
	return p
}

// call is a request before a turn, whose message has a text.
func call(text string) *events.HookCall {
	return &events.HookCall{Hook: name, When: events.HookBefore, Conversation: conformance.NewID(), Turn: conformance.NewID(), TimeoutMS: 10_000,
		Message: &events.Message{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: text}}}}
}

// asked is a request and what comes in answer to it.
type asked struct {
	s       *stage
	call    *events.HookCall
	answers *nats.Subscription
}

// ask publishes a request.
func (s *stage) ask(c *events.HookCall) *asked {
	frame, err := events.AppendFrame(nil, c)
	s.Must(err)
	return s.askWith(c, frame)
}

func (s *stage) askWith(c *events.HookCall, data []byte) *asked {
	nc, _ := s.Raw()
	a := &asked{s: s, call: c}
	inbox := nc.NewInbox()
	var err error
	a.answers, err = nc.SubscribeSync(inbox)
	s.Must(err)
	s.Must(nc.PublishRequest(s.subject, inbox, data))
	s.Must(nc.FlushWithContext(s.Within(conformance.Soon)))
	return a
}

// next returns the next answer within a time; nil when there is none.
func (a *asked) next(d time.Duration) *nats.Msg {
	m, err := a.answers.NextMsg(d)
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) {
		return nil // the second says that nobody subscribes
	}
	a.s.Must(err)
	return m
}

// answer waits for the answer and checks it.
func (a *asked) answer() *events.HookAnswered {
	m := a.next(conformance.Soon)
	if m == nil {
		a.s.Fatalf("no answer within %v, or nobody subscribes to %s; expected a HookAnswered on the reply subject", conformance.Soon, a.s.subject)
	}
	answer := new(events.HookAnswered)
	var head map[string]json.RawMessage
	if err := json.Unmarshal(m.Data, &head); err != nil {
		a.s.Fatalf("the answer is %q, expected one JSON object", m.Data)
	}
	if typ, ok := head["type"]; ok && string(typ) != `"HookAnswered"` {
		a.s.Errorf("the answer has the type %s, expected HookAnswered", typ)
	}
	a.s.Must(json.Unmarshal(m.Data, answer))
	for _, f := range []struct{ field, got, want string }{
		{"turn", answer.Turn, a.call.Turn}, {"when", string(answer.When), string(a.call.When)}, {"hook", answer.Hook, a.call.Hook},
	} {
		if f.got != "" && f.got != f.want {
			a.s.Errorf("the answer's %s is %q, expected %q as asked, or none", f.field, f.got, f.want)
		}
	}
	return answer
}

// says checks the answer's context, which has the text of the message.
func (a *asked) says(text string) *events.HookAnswered {
	answer := a.answer()
	if !strings.Contains(answer.Context, text) || answer.Error != "" || answer.Refuse != "" {
		a.s.Errorf("the answer is %+v, expected a context that has the message's text %q", *answer, text)
	}
	return answer
}

func answers(s *stage) {
	s.start()
	s.ask(call("one")).says("one")
}

func signsIn(s *stage) {
	for _, login := range []*url.Userinfo{url.User("t0ken"), url.UserPassword("somebody", "s3cr3t")} {
		for _, inURL := range []bool{true, false} {
			plain := newStage(s.Check, conformance.Setup{Login: login, InURL: inURL})
			plain.start()
			plain.ask(call("one")).says("one")
		}
	}
}

func answersOnce(s *stage) {
	s.start()
	for i := range 5 {
		a := s.ask(call(fmt.Sprintf("question %d", i)))
		a.says(fmt.Sprintf("question %d", i))
		if again := a.next(200 * time.Millisecond); again != nil {
			s.Errorf("a request has a second answer, %s, expected one", again.Data)
		}
	}
	if refused := s.ask(call("refuse this")).answer(); refused.Refuse == "" {
		s.Errorf("the answer to a message that begins with \"refuse\" is %+v, expected refuse with a reason", *refused)
	}
}

// sharesRequests is on a server without accounts: where an account answers for others, the
// server passes on the first answer only.
func sharesRequests(s *stage) {
	s = newStage(s.Check, conformance.Setup{Login: url.User("t0ken"), InURL: true})
	for range 3 {
		s.start()
	}
	s.Eventually(conformance.Soon, "three processes subscribe", func() bool { return s.Server.Subscribers(s.subject) >= 3 })
	for i := range 10 {
		a := s.ask(call(fmt.Sprintf("question %d", i)))
		a.says(fmt.Sprintf("question %d", i))
		if again := a.next(300 * time.Millisecond); again != nil {
			s.Fatalf("a request has a second answer, expected one: the processes of an app subscribe with a queue group")
		}
	}
}

func repeats(s *stage) {
	s.start()
	for _, text := range []string{"again", "refuse again"} {
		c := call(text)
		first := *s.ask(c).answer()
		c.TimeoutMS -= 500
		c.DeadlineMS = time.Now().Add(time.Hour).UnixMilli()
		if second := *s.ask(c).answer(); first != second {
			s.Errorf("the same turn was answered %+v and then %+v, expected the same answer", first, second)
		}
	}
}

func ignoresFields(s *stage) {
	s.start()
	c := call("fields")
	frame, err := events.AppendFrame(nil, c)
	s.Must(err)
	text := strings.Replace(string(frame), `"parts":[{`, `"x_new":1,"parts":[{"kind":"x_hologram","x_of":[1]},{"x_field":null,`, 1)
	s.askWith(c, []byte(strings.TrimSuffix(text, "}")+`,"x_later":{"deep":[{}]},"from_the_future":true}`)).says("fields")
}

// large is a request that needs several chunks of an object.
func large(c *events.HookCall) ([]byte, error) {
	c.Message.Parts = append(c.Message.Parts, events.Part{Kind: events.PartText, Text: strings.Repeat("x", 300<<10)})
	return events.AppendFrame(nil, c)
}

// claimed asks with a claim in place of the request.
func (s *stage) claimed(c *events.HookCall, object *events.Object) *asked {
	frame, err := events.AppendFrame(nil, &events.Claim{Of: c.Type(), Object: *object})
	s.Must(err)
	return s.askWith(c, frame)
}

func resolvesClaims(s *stage) {
	s.start()
	c := call("claimed")
	frame, err := large(c)
	s.Must(err)
	s.claimed(c, s.Put(c.Conversation, frame)).says("claimed")
}

func ignoresForgeries(s *stage) {
	s.start()
	c := call("claimed")
	frame, err := large(c)
	s.Must(err)
	forged := []byte(strings.Replace(string(frame), "claimed", "refuse!", 1))
	s.claimed(c, s.Forge(c.Conversation, frame, forged)).says("claimed")
}

// pausing is the text of a message that the program takes a time to answer.
func pausing(d time.Duration) string { return fmt.Sprintf("pause %d", d.Milliseconds()) }

func respectsTheDeadline(s *stage) {
	s.start()
	c := call(pausing(3 * time.Second))
	c.TimeoutMS = 700
	began := time.Now()
	a := s.ask(c)
	if m := a.next(5 * time.Second); m != nil {
		if took := time.Since(began); took > 2*time.Second {
			s.Errorf("it answered %v after a request with timeout_ms 700, expected no answer then: the turn has gone on", took.Round(time.Millisecond))
		}
		var answer events.HookAnswered
		s.Must(json.Unmarshal(m.Data, &answer))
		if answer.Error == "" {
			s.Errorf("in time it answered %s to what takes longer, expected an error or no answer", m.Data)
		}
	}
	s.ask(call("next")).says("next")
}

func answersAtOnce(s *stage) {
	s.start()
	slow := s.ask(call(pausing(4 * time.Second)))
	began := time.Now()
	for i := range 5 {
		s.ask(call(fmt.Sprintf("fast %d", i))).says(fmt.Sprintf("fast %d", i))
	}
	if took := time.Since(began); took > 3*time.Second {
		s.Errorf("five answers took %v beside one that takes 4 s, expected them at once", took.Round(time.Millisecond))
	}
	slow.says("pause")
}

func survivesGarbage(s *stage) {
	p := s.start()
	for _, text := range []string{"", "no JSON", `["no object"]`, `{"type":"FromTheFuture"}`, `{"type":"Claim","of":"HookCall","object":{"bucket":"PARLEY_OBJECTS","name":"missing","size":9,"sha256":"00"}}`} {
		s.askWith(call(""), []byte(text))
	}
	nc, _ := s.Raw()
	s.Must(nc.Publish(s.subject, []byte(`{"type":"HookCall"}`))) // without a reply subject
	s.ask(call("still there")).says("still there")
	p.Running()
}

func reconnects(s *stage) {
	s.start()
	s.ask(call("before")).says("before")
	s.Proxy.Cut(false)
	again := func(text string) {
		s.Eventually(2*conformance.Soon, "it answers again "+text, func() bool {
			a := s.ask(call(text))
			m := a.next(time.Second)
			return m != nil && len(m.Data) > 0
		})
	}
	again("after its connection was cut")
	s.Server.Stop()
	s.Must(s.Server.Start())
	nc, _ := s.Raw()
	s.Eventually(2*conformance.Soon, "the rule's own connection is back", func() bool { return nc.IsConnected() })
	again("after the server was restarted")
}

// reachesTheModel runs turns with an orchestrator that calls the hook, and a model that
// says its system prompt again.
func reachesTheModel(s *stage) {
	s.start()
	s.Deploy(conformance.Deployment{Script: "model: rule\nrules:\n  - loop: true\n    steps:\n      - text: 'answered'\n",
		Rules: "hooks:\n  - name: " + name + "\n    when: before\n"})
	for _, one := range []struct{ text, outcome string }{{"hello", "completed"}, {"refuse this", "failed"}} {
		conversation, id := conformance.NewID(), conformance.NewID()
		s.PublishInput(conversation, id, &events.UserMessage{ID: id, Text: one.text})
		turn := topology.At(s.Shards(), conversation, events.ChannelTurn)
		var answered *events.HookAnswered
		var end *events.TurnEnded
		s.Eventually(2*conformance.Soon, "the turn of the message \""+one.text+"\" ends", func() bool {
			for _, w := range s.ReadLane(turn, 0) {
				d, ok := w.Event.(*events.Decision)
				if !ok {
					continue
				}
				for _, l := range d.Events {
					switch e := l.Event.(type) {
					case *events.HookAnswered:
						answered = e
					case *events.TurnEnded:
						end = e
					}
				}
			}
			return end != nil
		})
		if answered == nil || answered.Error != "" || string(end.Outcome) != one.outcome {
			s.Errorf("the turn of %q ended as %s (%s) with the hook's answer %+v, expected %s", one.text, end.Outcome, end.Reason, answered, one.outcome)
		}
	}
}

func finishes(s *stage) {
	p := s.start()
	a := s.ask(call(pausing(2 * time.Second)))
	s.ask(call("taken")).says("taken") // so that it has the one before
	p.Signal(syscall.SIGTERM)
	a.says("pause")
	if code := p.Exit(conformance.Soon); code != 0 {
		s.Errorf("it exits with code %d after SIGTERM, expected 0", code)
	}
}
