package daemon_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// raw publishes a message that Parley's programs never write, with a message id if
// id is set.
func (s *stage) raw(channel events.Channel, call, id, payload string) {
	s.t.Helper()
	a := topology.At(s.Shards(), s.conversation, channel)
	if call != "" {
		a = topology.OfCall(s.Shards(), s.conversation, channel, call)
	}
	m := nats.NewMsg(a.Subject(topology.Conv))
	m.Data = []byte(payload)
	if id != "" {
		m.Header.Set(nats.MsgIdHdr, id)
	}
	nc, _ := s.Raw()
	if _, err := nc.RequestMsg(m, 10*time.Second); err != nil {
		s.t.Fatal(err)
	}
}

// answerTo reads until the answer to an input.
func (s *stage) answerTo(id string) (a *events.InputAnswered) {
	s.t.Helper()
	s.until("the answer to "+id, func(e events.Event) bool {
		if e, ok := e.(*events.InputAnswered); ok && e.Input == id {
			a = e
		}
		return a != nil
	})
	return a
}

func TestACancelThatIsPublishedAgainStopsNoOtherTurn(t *testing.T) {
	s := play(t, calls("{as: ask}"), &events.Settings{Policy: momentPolicy()})
	s.send(&events.UserMessage{Text: "go"})
	s.pause()
	cancel := &events.Cancel{Reason: "never mind"}
	answered(t, s.send(cancel), events.AnswerAccepted)
	s.reach("the end", func() bool { return s.state.Turn == "" })
	s.send(&events.UserMessage{Text: "go again"})
	s.pause()
	s.restart() // the next owner only has the log
	a := s.send(cancel)
	answered(t, a, events.AnswerAccepted)
	if !strings.Contains(a.Reason, "was answered before") {
		t.Errorf("the reason is %q", a.Reason)
	}
	answered(t, s.decide(events.RulingApprove, waiting(t, s.state, events.WaitApproval), ""), events.AnswerAccepted)
	if end := s.end(); end.Outcome != events.OutcomeCompleted {
		t.Errorf("the turn ended as %s: %s", end.Outcome, end.Reason)
	}
}

// TestACancelThatIsPublishedAgainStopsNothingThatRuns: workers see a Cancel before
// the orchestrator has answered it. One that names no turn is not theirs to obey.
func TestACancelThatIsPublishedAgainStopsNothingThatRuns(t *testing.T) {
	slow := "model: demo\npace: 0\nrules:\n  - {name: wait, match: ^wait, loop: true, steps: [{stall: true, text: x}]}\n" +
		"  - name: call\n    match: ^call\n    steps: [{text: Calling., calls: [{tool: hold, arguments: {as: gate}}]}, {text: Done.}]\n" +
		"  - {name: talk, match: ^talk, steps: [{pace: 20, text: " + strings.Repeat("word ", 40) + "}]}\n"
	for _, kind := range []string{"call", "talk"} {
		t.Run(kind, func(t *testing.T) {
			s := play(t, slow, &events.Settings{Policy: &events.Policy{Rules: []events.Rule{{Action: events.ActionAuto}}}})
			s.send(&events.UserMessage{Text: "wait"})
			cancel := &events.Cancel{Reason: "never mind"}
			answered(t, s.send(cancel), events.AnswerAccepted)
			s.reach("the end", func() bool { return s.state.Turn == "" })
			s.send(&events.UserMessage{Text: kind})
			s.until("what runs", func(e events.Event) bool {
				switch e.(type) {
				case *events.ToolStarted:
					return kind == "call"
				case *events.TextChunk:
					return kind == "talk"
				}
				return false
			})
			if a := s.send(cancel); !strings.Contains(a.Reason, "was answered before") {
				t.Errorf("the answer is %+v", a)
			}
			close(s.hold.gate)
			if end := s.end(); end.Outcome != events.OutcomeCompleted {
				t.Errorf("the turn ended as %s: %s", end.Outcome, end.Reason)
			}
			for _, c := range s.state.Transcript.Calls("") {
				if c.Status != events.StatusOK {
					t.Errorf("the call ended as %s", c.Status)
				}
			}
		})
	}
}

func TestOldSettingsThatArePublishedAgainDoNotReplaceNewerOnes(t *testing.T) {
	s := play(t, calls("{as: ask}"), &events.Settings{Policy: momentPolicy()})
	allow := &events.Settings{Policy: &events.Policy{Rules: []events.Rule{{Action: events.ActionAuto}}}}
	answered(t, s.send(allow), events.AnswerAccepted)
	answered(t, s.send(&events.Settings{Policy: &events.Policy{Rules: []events.Rule{{Tool: "hold", Action: events.ActionDeny}}}}), events.AnswerAccepted)
	s.restart()
	answered(t, s.send(allow), events.AnswerAccepted)
	s.send(&events.UserMessage{Text: "go"})
	s.end()
	if c := s.state.Transcript.Calls("")[0]; c.Status != events.StatusRefused {
		t.Errorf("the call that is denied ended as %s", c.Status)
	}
}

// The command line once lost everything after a malformed line, and wrote the
// policy back without the deny rule.
func TestADenyRuleSurvivesAMalformedLineAndRulesThatAreAdded(t *testing.T) {
	s := play(t, calls("{as: ask}"), &events.Settings{Policy: &events.Policy{Rules: []events.Rule{{Tool: "other", Action: events.ActionAuto}}}})
	s.raw(events.ChannelIn, "", "", `{"type":"UserMessage","text":`)
	answered(t, s.send(&events.Settings{Policy: &events.Policy{Rules: []events.Rule{{Tool: "hold", Action: events.ActionDeny}}}}), events.AnswerAccepted)
	answered(t, s.send(&events.Settings{AddRules: []events.Rule{{Action: events.ActionAuto}}}), events.AnswerAccepted)
	s.send(&events.UserMessage{Text: "go"})
	s.end()
	c := &accumulator.Conversation{ID: s.conversation, Transcript: accumulator.NewTranscript()}
	if err := s.Conversation(s.conversation).Facts(s.ctx, 0, func(m bus.Message) error { c.Apply(m.Folded()); return nil }); err != nil {
		t.Fatal(err)
	}
	all := c.Transcript.Calls("")
	if len(all) != 1 || all[0].Status != events.StatusRefused || len(c.Transcript.Settings.Policy.Rules) != 2 {
		t.Errorf("calls %+v, policy %+v", all, c.Transcript.Settings.Policy)
	}
}

func TestWhatCannotBeReadIsAnsweredUnderItsOwnID(t *testing.T) {
	s := play(t, calls("{as: quick}"), &events.Settings{Policy: momentPolicy()})
	for _, c := range []struct{ id, payload, want, reason string }{
		{"", `{"type":"UserMessage","id":"own-1","text":7}`, "own-1", `field "text": a string is expected, not a number`},
		{"header", `{"type":"Sparkle","id":"own-2"}`, "own-2", "not known"},
		{"header-1", `{"type":"Sparkle"}`, "header-1", "not known"},
		{s.conversation + "/header-2", `hello`, "header-2", "is not a JSON object"},
	} {
		s.raw(events.ChannelIn, "", c.id, c.payload)
		a := s.answerTo(c.want)
		answered(t, a, events.AnswerInvalid)
		if !strings.Contains(a.Reason, c.reason) || strings.Contains(a.Reason, "json:") {
			t.Errorf("%s: the reason is %q", c.payload, a.Reason)
		}
	}
}

func TestEventsWithoutTheirIDsFailTheTurnAtOnce(t *testing.T) {
	for _, c := range []struct{ name, start, chunk, want string }{
		{"no attempt in the start", `{"type":"GenerationStarted","index":0,"generation":"G","turn":"T","step":1,"provider":"p","model":"m"}`, "", `a GenerationStarted without "attempt"`},
		{"no attempt in a chunk", `{"type":"GenerationStarted","attempt":"A","index":0,"generation":"G","turn":"T","step":1,"provider":"p","model":"m"}`,
			`{"type":"TextChunk","index":1,"text":"hi"}`, `a TextChunk without "attempt"`},
		{"no id in a call", `{"type":"GenerationStarted","attempt":"A","index":0,"generation":"G","turn":"T","step":1,"provider":"p","model":"m"}`,
			`{"type":"ToolCallStart","attempt":"A","index":1,"name":"hold"}`, `a ToolCallStart without "call"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := play(t, calls("{as: quick}"), &events.Settings{Route: "elsewhere/model"}) // no worker serves it
			s.send(&events.UserMessage{Text: "go"})
			s.reach("the request", func() bool { return s.state.Generation != "" })
			ids := strings.NewReplacer(`"G"`, `"`+s.state.Generation+`"`, `"T"`, `"`+s.state.Turn+`"`)
			s.raw(events.ChannelGen, "", "", ids.Replace(c.start))
			if c.chunk != "" {
				s.raw(events.ChannelGen, "", "", ids.Replace(c.chunk))
			}
			if end := s.end(); end.Outcome != events.OutcomeFailed || end.Error == nil || !strings.Contains(end.Error.Message, c.want) {
				t.Errorf("the turn ended as %s: %v", end.Outcome, end.Error)
			}
		})
	}
}

func TestAnUnreadableResultEndsItsCallAndTheTurnContinues(t *testing.T) {
	s := play(t, calls("{as: gate}"), &events.Settings{Policy: momentPolicy()})
	s.send(&events.UserMessage{Text: "go"})
	s.until("the start of the call", func(e events.Event) bool { _, ok := e.(*events.ToolStarted); return ok })
	call := s.state.Calls[0].Call
	s.raw(events.ChannelCall, call, "", `{"type":"ToolResult","attempt":"stranger","status":"ok","content":"forged"}`)
	s.raw(events.ChannelCall, call, "", `{"type":"ToolResult","status":`)
	if end := s.end(); end.Outcome != events.OutcomeCompleted {
		t.Errorf("the turn ended as %s: %v", end.Outcome, end.Error)
	}
	c, _ := s.state.Transcript.Call(call)
	if c.Status != events.StatusUnknown || !strings.Contains(c.Content, "could not be read") {
		t.Errorf("the call ended as %s: %s", c.Status, c.Content)
	}
	close(s.hold.gate)
	s.hold.wait(t)
}

func TestACallMayTakeTheShorterOfItsToolsTimeAndTheTurns(t *testing.T) {
	d := serve(t)
	spec := func(name string, timeout int64) *events.ToolSpec {
		return &events.ToolSpec{Name: name, Effect: events.EffectPure, TimeoutMS: timeout}
	}
	var offers []bus.Offer
	for _, s := range []*events.ToolSpec{spec("brief", 1_000), spec("patient", 3_600_000), spec("silent", 0)} {
		offers = append(offers, bus.Offer{Kind: "tool", Name: s.Name, Worker: "nobody", Tool: s, Low: true})
	}
	if err := d.Presence().Announce(t.Context(), offers); err != nil {
		t.Fatal(err)
	}
	d.run(d.models("models", scriptFile(t, "model: demo\npace: 0\nrules:\n  - match: .\n    steps:\n      - calls:\n          - {tool: brief, raw: '{}'}\n          - {tool: patient, raw: '{}'}\n          - {tool: silent, raw: '{}'}\n")))
	d.run(d.orchestrator("owner"))
	conversation := newID(t)
	const turn = 60_000
	d.sendNew(conversation, func(id string) events.Event { return &events.Settings{ID: id, Limits: events.Limits{TimeMS: turn}} })
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	_, js := d.Raw()
	for _, o := range offers {
		queue, err := topology.ToolQueue(o.Name)
		if err == nil {
			err = d.Jobs().EnsureQueue(t.Context(), queue)
		}
		if err != nil {
			t.Fatal(err)
		}
		jobs, err := js.Consumer(t.Context(), topology.StreamJobs, queue.Consumer)
		if err != nil {
			t.Fatal(err)
		}
		m, err := jobs.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := events.DecodeFrame(m.Data())
		if err != nil {
			t.Fatal(err)
		}
		most := int64(turn)
		if o.Name == "brief" {
			most = 1_000
		}
		if got := lines[0].Event.(*events.ToolJob).TimeoutMS; got > most || got < most-20_000 || got <= 0 {
			t.Errorf("a call of %s may take %d ms, want at most %d", o.Name, got, most)
		}
	}
}
