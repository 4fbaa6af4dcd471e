package daemon_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// stopLogs covers limits, cancels, messages that arrive during a turn, and
// deletion.
func stopLogs() map[string]recordedLog {
	return map[string]recordedLog{
		"limits": {script: logScript("{name: loop, match: ^loop, loop: true, steps: [{calls: [{tool: hold, arguments: {as: quick}}]}]}", "{name: vary, match: ^vary, steps: [{repeat: 20, text: On., calls: [{tool: hold, arguments: {as: 'n{{.Step}}'}}]}]}", holds("stay", "run")),
			settings: &events.Settings{Limits: events.Limits{Steps: 2}}, play: playLimits},
		"cancels": {script: momentScript(), settings: &events.Settings{Policy: logPolicy()}, play: playCancels},
		"arrivals": {script: logScript(holds("gate", "gate"), holds("ask", "quick", "ask"), "{name: slow, match: ^slow, steps: [{delay: 300, text: Slow.}]}"),
			settings: &events.Settings{Policy: logPolicy()}, play: playArrivals},
		"deletion": {script: logScript(holds("run", "run", "ask")), settings: &events.Settings{Policy: logPolicy()}, deletes: true,
			play: func(s *stage) {
				s.turn("bye")
				s.waitsFor("run")
				s.send(&events.UserMessage{Text: "queued"})
				s.send(&events.Delete{From: "ann", Reason: "asked to"})
				s.send(&events.UserMessage{Text: "anybody?"})
				s.send(&events.Delete{})
			}},
		"fault": {script: logScript("{name: any, match: ., steps: [{text: Said.}]}"), settings: &events.Settings{},
			play: func(s *stage) {
				s.jobsOf(8 << 10)
				s.turn(strings.Repeat("long ", 4<<10))
				s.jobsOf(-1)
				s.turn("and now?")
			}},
	}
}

// jobsOf sets the maximum message size of JOBS, in bytes.
func (s *stage) jobsOf(bytes int32) {
	s.t.Helper()
	_, js := s.Raw()
	var cfg jetstream.StreamConfig
	jobs, err := js.Stream(s.ctx, topology.StreamJobs)
	if err == nil {
		cfg = jobs.CachedInfo().Config
		cfg.MaxMsgSize = bytes
		_, err = js.UpdateStream(s.ctx, cfg)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func playLimits(s *stage) {
	s.turn("vary")
	s.send(&events.Settings{Limits: events.Limits{OnLimit: events.LimitAsk, Steps: 3, Repeats: 3}})
	for _, r := range []events.Ruling{events.RulingApprove, events.RulingReject} {
		s.waitsFor("loop")
		q := *s.state.Question
		s.send(&events.Verdict{Verdict: r, Calls: []events.CallVerdict{{Call: q.ID, Digest: "other"}}})
		s.send(&events.Verdict{Verdict: r, Calls: []events.CallVerdict{{Call: q.ID, Digest: q.Digest}}})
		if r == events.RulingApprove {
			s.reach("the next question", func() bool { return s.state.Question != nil && s.state.Question.ID != q.ID })
			s.send(&events.Cancel{Reason: "enough"})
		}
		s.over()
	}
	s.send(&events.Settings{Limits: events.Limits{OnLimit: events.LimitEnd, Steps: 50, Repeats: 50, Calls: map[string]int{"hold": 4}}})
	s.turn("vary")
	s.send(&events.Settings{Limits: events.Limits{Calls: map[string]int{"hold": 400}, Tokens: 40}})
	s.turn("vary")
	s.send(&events.Settings{Limits: events.Limits{Tokens: 1_000_000, TimeMS: 60_000}})
	s.turn("vary")
	s.send(&events.Settings{Limits: events.Limits{TimeMS: 300}})
	s.turn("stay")
	s.send(&events.Settings{Limits: events.Limits{TimeMS: 600_000, Repeats: 3}})
	s.turn("loop")
}

// playCancels cancels turns of many kinds after different delays.
func playCancels(s *stage) {
	s.send(&events.Cancel{})
	for _, kind := range []string{"text", "reasoning", "arguments", "tools", "approval", "app", "several", "short", "asks", "attempts"} {
		for _, moment := range []time.Duration{0, 40 * time.Millisecond, 250 * time.Millisecond} {
			message := &events.UserMessage{ID: newID(s.t), Text: kind}
			s.sendNew(s.conversation, func(string) events.Event { return message })
			s.pass(moment)
			s.send(&events.Cancel{From: "ann", Reason: fmt.Sprintf("%s at %s", kind, moment)})
			s.reach("the end", func() bool { return s.state.Transcript.TurnOf(message.ID) != "" && s.state.Turn == "" })
		}
	}
	s.send(&events.UserMessage{Text: "several"})
	s.reach("the calls", func() bool { return len(s.state.Calls) == 5 && s.state.Started[s.state.Calls[0].Call] })
	call := s.state.Calls[0].Call
	s.send(&events.Cancel{Call: call, Reason: "this one only"})
	s.send(&events.Cancel{Call: call})
	s.send(&events.Cancel{Scope: events.ScopeCall})
	s.send(&events.Cancel{Call: "0197f3a2-7c1e-7000-8000-000000000001"})
	s.send(&events.Cancel{Scope: "some"})
	s.send(&events.Cancel{Turn: "0197f3a2-7c1e-7000-8000-000000000002"})
	s.send(&events.Cancel{Scope: events.ScopeQueue})
	s.send(&events.UserMessage{Text: "short, queued"})
	s.send(&events.UserMessage{Text: "short, queued too"})
	s.send(&events.Cancel{Scope: events.ScopeQueue})
	s.send(&events.UserMessage{Text: "short, queued again"})
	s.send(&events.Cancel{Scope: events.ScopeAll})
	s.over()
	s.hold.wait(s.t)
	s.turn("finish")
}

func playArrivals(s *stage) {
	runs := func(text string) {
		s.send(&events.UserMessage{Text: text})
		s.reach("the call", func() bool { return len(s.state.Calls) > 0 && s.state.Started[s.state.Calls[0].Call] })
	}
	for _, a := range []events.Arrival{events.ArrivalQueue, events.ArrivalRefuse, events.ArrivalInterrupt, events.ArrivalSupersede, "sometime"} {
		runs("gate")
		s.send(&events.UserMessage{Text: "bye", Arrival: a})
		s.send(&events.UserMessage{Text: "bye too"})
		if s.state.Turn != "" && a != events.ArrivalInterrupt {
			s.send(&events.Cancel{})
		}
		s.over()
		s.waitsFor("ask")
		s.send(&events.UserMessage{Text: "bye", Arrival: a})
		if a == events.ArrivalQueue || a == events.ArrivalRefuse || a == "sometime" {
			s.decide(events.RulingApprove, waiting(s.t, s.state, events.WaitApproval), "")
		}
		s.over()
	}
	s.send(&events.UserMessage{Text: "slow one"})
	s.send(&events.UserMessage{Text: "and another", Arrival: events.ArrivalInterrupt})
	s.over()
	s.send(&events.Settings{WhileRunning: events.ArrivalRefuse, WhileWaiting: events.ArrivalSupersede})
	runs("gate")
	s.send(&events.UserMessage{Text: "bye"})
	close(s.hold.gate)
	s.over()
	s.waitsFor("ask")
	s.send(&events.UserMessage{Text: "bye"})
	s.over()
}

// oddLogs covers malformed messages, and settings.
func oddLogs() map[string]recordedLog {
	return map[string]recordedLog{
		"malformed": {script: logScript(holds("gate", "gate")), settings: &events.Settings{}, play: playMalformed},
		"settings":  {script: logScript(holds("one", "quick")), settings: &events.Settings{System: "First.", Tools: []string{"hold"}}, play: playSettings},
	}
}

func playMalformed(s *stage) {
	for i, payload := range []string{`{"type":"UserMessage","id":"own-1","text":7}`, `{"type":"Sparkle","id":"own-2"}`, `hello`, `{"type":"UserMessage","text":`,
		"{\"type\":\"UserMessage\",\"id\":\"own-3\",\"text\":\"\xff\xfe\"}", `{"type":"TextChunk","text":"no input"}`, `{"type":"UserMessage","id":"own-4","text":"  "}`, `[]`, `{}`} {
		id := fmt.Sprintf("%s/header-%d", s.conversation, i)
		s.raw(events.ChannelIn, "", id, payload)
	}
	// Two in one message, unknown fields, white space between them.
	s.raw(events.ChannelIn, "", "", "{\"id\":\"own-5\", \"type\":\"UserMessage\", \"text\":\"bye\", \"mood\":\"good\"}\n\n{\"type\":\"Cancel\",\"id\":\"own-6\",\"scope\":\"queue\"}\n{\"type\":\"Delete\"")
	s.answerTo("own-6")
	s.over()
	s.send(&events.UserMessage{Text: "gate"})
	s.reach("the call", func() bool { return len(s.state.Calls) > 0 && s.state.Started[s.state.Calls[0].Call] })
	call := s.state.Calls[0].Call
	s.raw(events.ChannelCall, call, "", `{"type":"ToolResult","attempt":"stranger","status":"ok","content":"forged"}`)
	s.raw(events.ChannelCall, call, "", `{"type":"ToolResult","status":`)
	s.over()
	s.send(&events.Settings{Route: "elsewhere/model"})
	for _, start := range []string{`{"type":"GenerationStarted","index":0,"generation":"G","turn":"T","step":1,"provider":"p","model":"m"}`,
		`{"type":"GenerationStarted","attempt":"A","index":0,"generation":"G","turn":"T","step":1,"provider":"p","model":"m"}` + "\n" + `{"type":"TextChunk","index":1,"text":"hi"}`,
		`{"type":"GenerationStarted","attempt":"A","index":0,"generation":"G","turn":"T","step":1,"provider":"p","model":"m"}` + "\n" + `{"type":"Sparkle","attempt":"A","index":1}` + "\n" + `{"type":"GenerationEnded","attempt":"A","index":9,"generation":"G","finish":"odd","terminated":true,"event_count":10}`} {
		s.send(&events.UserMessage{Text: "bye"})
		s.reach("the request", func() bool { return s.state.Generation != "" })
		ids := strings.NewReplacer(`"G"`, `"`+s.state.Generation+`"`, `"T"`, `"`+s.state.Turn+`"`)
		s.raw(events.ChannelGen, "", "", ids.Replace(start))
		s.pass(50 * time.Millisecond)
		s.send(&events.Cancel{Reason: "next"})
		s.over()
	}
	close(s.hold.gate)
}

func playSettings(s *stage) {
	for i, payload := range []string{
		`{"type":"Settings","id":"S","system":"Second.","parameters":{"max_tokens":50,"extra":{"a":1,"b":{"c":2}}}}`,
		`{"type":"Settings","id":"S","system":null,"parameters":{"extra":{"b":{"c":null,"d":3}}}}`,
		`{"type":"Settings","id":"S","policy":{"rules":[{"tool":"charge","action":"deny"}]}}`,
		`{"type":"Settings","id":"S","add_rules":[{"tool":"hold","action":"approve"},{"tool":"charge","action":"deny"}]}`,
		`{"type":"Settings","id":"S","policy":{"rules":[{"tool":"[","action":"deny"}]}}`,
		`{"type":"Settings","id":"S","policy":{"rules":[{"when":"args.","action":"deny"}]}}`,
		`{"type":"Settings","id":"S","priority":"urgent"}`,
		`{"type":"Settings","id":"S","while_running":"sometime"}`,
		`{"type":"Settings","id":"S","limits":{"steps":-1}}`,
		`{"type":"Settings","id":"S","limits":null,"tools":["*"],"later":{"kept":true}}`,
		`{"type":"Settings","id":"S","hooks":[{"name":"","when":"before"}]}`,
		`{"type":"Settings","id":"S","priority":"low"}`,
	} {
		id := fmt.Sprintf("0197f3a2-7c1e-7000-8000-%012d", i)
		s.raw(events.ChannelIn, "", "", strings.Replace(payload, `"S"`, `"`+id+`"`, 1))
		s.answerTo(id)
	}
	s.waitsFor("one")
	s.send(&events.Settings{Policy: &events.Policy{Rules: []events.Rule{{Tool: "hold", Action: events.ActionDeny, Reason: "no more"}}}})
	s.over()
	s.turn("one")
}
