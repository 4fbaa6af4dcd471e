package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/orchestrator"
)

// logScript returns the script of a model that answers by the first word of the
// message.
func logScript(rules ...string) string {
	return "model: demo\npace: 0\nrules:\n  - {name: bye, match: ^bye, steps: [{text: Bye.}]}\n  - " + strings.Join(rules, "\n  - ") + "\n"
}

// holds returns a rule that calls hold, then reports the results.
func holds(word string, as ...string) string {
	var calls, results []string
	for i, a := range as {
		calls = append(calls, fmt.Sprintf("{tool: hold, arguments: {as: %s, n: %d}}", a, i))
		results = append(results, fmt.Sprintf("{{result %d}}", i))
	}
	return fmt.Sprintf("{name: %s, match: ^%s, steps: [{text: Calling., calls: [%s]}, {text: 'Done: %s.'}]}", word, word, strings.Join(calls, ", "), strings.Join(results, " "))
}

// logPolicy is [momentPolicy] with short times.
func logPolicy() *events.Policy {
	return &events.Policy{ReminderMS: 60, DeadlineMS: 600_000, Rules: []events.Rule{
		{Tool: "charge", Action: events.ActionAuto},
		{Tool: "hold", When: `args.as == "ask"`, Action: events.ActionApprove, Reason: "somebody should look"},
		{Tool: "hold", When: `args.as == "brief"`, Action: events.ActionApprove, DeadlineMS: 150},
		{Tool: "hold", When: `args.as == "later"`, Action: events.ActionDefer, DelayMS: 200},
		{Tool: "hold", When: `args.as == "app"`, Action: events.ActionDefer},
		{Tool: "hold", When: `args.as == "never"`, Action: events.ActionDeny, Reason: "never"},
	}}
}

// recordedLogs returns the conversations by name.
func recordedLogs() map[string]recordedLog {
	all := map[string]recordedLog{}
	for _, group := range []map[string]recordedLog{answerLogs(), peopleLogs(), stopLogs(), oddLogs()} {
		for name, c := range group {
			all[name] = c
		}
	}
	return all
}

// answerLogs covers models and tools.
func answerLogs() map[string]recordedLog {
	return map[string]recordedLog{
		"plain": {script: logScript("{name: hi, match: ^hi, steps: [{reasoning: 'Let me think about it.', text: 'Hello, world: naïve \"quotes\" <b>, 日本, 🙂.'}]}"),
			settings: &events.Settings{System: "Be brief.", Parameters: events.Parameters{MaxTokens: 100}},
			play:     func(s *stage) { s.turn("hi there"); s.turn("bye now") }},
		"calls": {script: logScript(holds("three", "quick", "quick", "quick"),
			`{name: odd, match: ^odd, steps: [{calls: [{tool: charge, raw: '{}'}, {tool: hold, raw: '{"as":7}'}, {tool: hold, raw: '{"as":'}, {tool: nothing, raw: '{}', unoffered: true}, {tool: charge, raw: '{"fail":"no money"}'}, {tool: hold, arguments: {as: never}}]}, {text: Odd.}]}`),
			settings: &events.Settings{Policy: logPolicy(), Limits: events.Limits{Parallel: 1}},
			play:     func(s *stage) { s.turn("three"); s.turn("odd ones"); s.turn("three again") }},
		"failures": {script: logScript("{name: busy, match: ^busy, steps: [{text: one two three, after: 2, error: {class: overloaded}, fail_first: 1}]}",
			"{name: wrong, match: ^wrong, steps: [{error: {class: invalid_request, message: no such model}}]}",
			"{name: half, match: ^half, steps: [{text: 'half a word', error: {class: content_filter, message: stop}, after: 2}]}",
			"{name: cut, match: ^cut, steps: [{text: cut off here, cut: true, after: 2}]}",
			"{name: no, match: ^no, steps: [{refusal: I will not.}]}",
			"{name: long, match: ^long, steps: [{text: too long, finish: length}]}"),
			settings: &events.Settings{},
			play: func(s *stage) {
				for _, q := range []string{"busy", "wrong", "half", "no", "long", "cut"} {
					s.turn(q)
				}
			}},
		"takeover": {script: logScript("{name: words, match: ^words, steps: [{pace: 20, text: '"+strings.Repeat("word ", 100)+"'}]}", holds("wait", "gate", "ask")),
			settings: &events.Settings{Policy: logPolicy()},
			play: func(s *stage) {
				s.send(&events.UserMessage{Text: "words"})
				s.reach("some words", func() bool { return s.state.Open != nil && !s.state.Open.Empty() })
				s.raw(events.ChannelGen, "", "", fmt.Sprintf(`{"type":"GenerationStarted","attempt":"0197f3a2-7c1e-7000-8000-0000000000aa","index":0,"generation":"%s","turn":"%s","step":1,"provider":"other","model":"m"}`, s.state.Generation, s.state.Turn))
				s.raw(events.ChannelGen, "", "", `{"type":"TextChunk","attempt":"0197f3a2-7c1e-7000-8000-0000000000aa","index":1,"block":0,"text":"said by another"}`)
				s.restart()
				s.raw(events.ChannelGen, "", "", fmt.Sprintf(`{"type":"GenerationEnded","attempt":"0197f3a2-7c1e-7000-8000-0000000000aa","index":2,"generation":"%s","finish":"stop","terminated":true,"event_count":3}`, s.state.Generation))
				s.over()
				s.waitsFor("wait")
				s.restart()
				call := waiting(s.t, s.state, events.WaitApproval)
				s.decide(events.RulingApprove, call, "")
				s.restart()
				s.reach("the start of the call", func() bool { return s.state.Started[s.state.Calls[0].Call] })
				s.restartTools()
				close(s.hold.gate)
				s.over()
			}},
		"large": {script: logScript("{name: large, match: large, steps: [{text: Read.}]}"), settings: &events.Settings{},
			play: func(s *stage) { s.turn("a large text: " + strings.Repeat("words and words ", 80_000)); s.turn("bye") }},
	}
}

// peopleLogs covers people's decisions.
func peopleLogs() map[string]recordedLog {
	return map[string]recordedLog{
		"verdicts": {script: logScript(holds("one", "ask"), holds("two", "ask", "ask")), settings: &events.Settings{Policy: logPolicy()}, play: playVerdicts},
		"deferred": {script: logScript(holds("later", "later", "quick"), holds("app", "app"), holds("brief", "brief")), settings: &events.Settings{Policy: logPolicy()},
			play: func(s *stage) {
				s.turn("later")
				s.waitsFor("app")
				s.until("a reminder", func(e events.Event) bool { p, is := e.(*events.Paused); return is && p.Reminder > 0 })
				if err := s.resultFrom(s.ctx, s.conversation, s.state.Calls[0].Call, "from outside"); err != nil {
					s.t.Fatal(err)
				}
				s.over()
				s.turn("brief")
			}},
		"questions": {script: logScript("{name: ask, match: ^ask, steps: [{calls: [{tool: curious, raw: '{}'}]}, {text: 'Told: {{result 0}}'}]}"), settings: &events.Settings{},
			play: func(s *stage) {
				for _, r := range []events.Ruling{events.RulingApprove, events.RulingReject} {
					s.send(&events.UserMessage{Text: "ask"})
					q := s.pause().Awaiting[0]
					s.send(&events.Verdict{Verdict: r, Calls: []events.CallVerdict{{Call: q.Call, Digest: q.Digest}}})
					if r == events.RulingApprove {
						s.reach("the second question", func() bool {
							return len(s.state.Calls) == 1 && s.state.Calls[0].Question != "" && s.state.Calls[0].Question != q.Question && s.state.Calls[0].DeadlineMS > 0
						})
						call := s.state.Calls[0]
						s.send(&events.Verdict{Verdict: events.RulingAnswer, Calls: []events.CallVerdict{{Call: call.Call, Digest: call.Digest, Content: `{"n":"x"}`}}})
						s.send(&events.Verdict{Verdict: events.RulingAnswer, Calls: []events.CallVerdict{{Call: call.Call, Digest: call.Digest, Content: `{"n":3}`}}})
					}
					s.over()
				}
			}},
		"hooks": {script: logScript(holds("hi", "quick")), settings: &events.Settings{Hooks: []events.Hook{{Name: "mood", When: events.HookBefore, DeadlineMS: 150, Optional: true}}},
			hooks: []orchestrator.Hook{
				{Hook: events.Hook{Name: "guard", When: events.HookBefore}, Ask: func(_ context.Context, c *events.HookCall) (*events.HookAnswered, error) {
					switch text := c.Message.Parts[0].Text; {
					case strings.Contains(text, "bad"):
						return &events.HookAnswered{Refuse: "not today"}, nil
					case strings.Contains(text, "broken"):
						return nil, errors.New("it broke")
					}
					return &events.HookAnswered{Context: "You have met before."}, nil
				}},
				{Hook: events.Hook{Name: "diary", When: events.HookAfter}, Ask: func(context.Context, *events.HookCall) (*events.HookAnswered, error) { return nil, nil }}},
			play: func(s *stage) {
				for _, q := range []string{"hi", "hi bad", "hi broken", "hi again"} {
					s.turn(q)
					s.hooksOver()
				}
			}},
		"rules": {script: logScript(holds("two", "quick", "ask"), "{name: charge, match: ^charge, steps: [{calls: [{tool: charge, raw: '{}'}]}, {text: Charged.}]}"),
			settings: &events.Settings{Limits: events.Limits{CostUSD: 0.0001}},
			rules:    "policy:\n  rules:\n    - {tool: charge, action: deny, reason: no charges here}\n    - {when: 'args.as == \"ask\"', action: approve}\nprices:\n  \"scripted/*\": {input: 20, output: 80}\nhooks:\n  - {name: audit, when: after, deadline_ms: 100}\n",
			play: func(s *stage) {
				s.turn("charge")
				s.send(&events.Settings{Policy: &events.Policy{Rules: []events.Rule{{Action: events.ActionAuto}}}})
				s.turn("charge again")
				s.send(&events.Settings{Limits: events.Limits{CostUSD: 5}})
				s.turn("two")
				s.hooksOver()
			}},
	}
}

func playVerdicts(s *stage) {
	for _, c := range []struct {
		ruling    events.Ruling
		arguments string
	}{{events.RulingApprove, ""}, {events.RulingReject, ""}, {events.RulingEdit, `{"as": "quick"}`}, {events.RulingAnswer, ""}} {
		s.waitsFor("one")
		call := waiting(s.t, s.state, events.WaitApproval)
		stale := call
		stale.Digest = "sha256:other"
		s.decide(c.ruling, stale, c.arguments)
		if c.ruling == events.RulingEdit {
			s.decide(c.ruling, call, `{"n":2}`)
			s.decide(c.ruling, call, `[`+c.arguments+`]`)
		}
		v := &events.Verdict{Verdict: c.ruling, From: "ann", Reason: "because", Calls: []events.CallVerdict{{Call: call.Call, Digest: call.Digest, Arguments: json.RawMessage(c.arguments), Content: "an answer"}}}
		s.send(v)
		s.over()
		s.send(v) // published again
		s.decide(events.RulingApprove, call, "")
	}
	s.waitsFor("two")
	s.decide(events.RulingAlways, s.state.Calls[0], "")
	s.over()
	s.turn("one")
	s.send(&events.Verdict{Verdict: events.RulingRevoke})
	s.send(&events.Verdict{Verdict: events.RulingRevoke})
	s.waitsFor("two")
	both := &events.Verdict{Verdict: events.RulingApprove, From: "bob"}
	for _, c := range s.state.Calls {
		both.Calls = append(both.Calls, events.CallVerdict{Call: c.Call, Digest: c.Digest})
	}
	both.Calls = append(both.Calls, events.CallVerdict{Call: "0197f3a2-7c1e-7000-8000-000000000001", Digest: "x"})
	s.send(both)
	s.over()
	s.send(&events.Verdict{Verdict: "maybe"})
	s.send(&events.Verdict{Verdict: events.RulingApprove})
}
