package orchestrator

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
)

// TestSettingsOfOneDecisionShareTheCostOfCompiling: many Settings with conditions
// that are all new arrive before a Cancel. A decision compiles a bounded number of
// them, and the Cancel is answered in the same decision.
func TestSettingsOfOneDecisionShareTheCostOfCompiling(t *testing.T) {
	s := newScene(t)
	s.say("go")
	var inputs []events.Event
	for i := range 20 {
		p := &events.Policy{}
		for j := range 40 {
			p.Rules = append(p.Rules, events.Rule{Action: events.ActionAuto, When: fmt.Sprintf("args.k%d==%d", j, i) + strings.Repeat(`||args.a=="x"`, 55)})
		}
		inputs = append(inputs, &events.Settings{ID: s.id(), Policy: p})
	}
	inputs = append(inputs, &events.Cancel{ID: s.id()})
	counts := map[string]int{}
	for _, a := range only[*events.InputAnswered](s.in(inputs...)) {
		counts[string(a.Answer)+" "+a.Code]++
	}
	if counts["invalid "+ceilings.CodeConditionBytes] != 18 || counts["accepted "] != 3 {
		t.Errorf("answers: %v", counts)
	}
}

// TestAnEarlyReminderOfStoredSettingsIsLate: Settings that were accepted before the
// ceiling existed remind at its interval.
func TestAnEarlyReminderOfStoredSettingsIsLate(t *testing.T) {
	s := newScene(t)
	s.env.Ceilings.ReminderMS, s.env.Judge.Ceilings.ReminderMS = 1, 1
	s.in(&events.Settings{ID: s.id(), Policy: &events.Policy{ReminderMS: 1}})
	s.env.Ceilings.ReminderMS = 0
	s.say("go")
	es := s.model("", s.part("g", "{}"))
	if p := only[*events.Paused](es); len(p) != 1 || p[0].RemindMS-p[0].AtMS != 60_000 {
		t.Errorf("%+v", p)
	}
}

// TestExtraParametersAreAllowedByProvider: what would replace the model, the messages
// or the tools is refused when the Settings are, with the deployment's lists.
func TestExtraParametersAreAllowedByProvider(t *testing.T) {
	for _, c := range []struct{ name, route, extra, lists, want string }{
		{"the model", "openai/gpt-5", `{"model":"gpt-5-pro"}`, `{}`, "model"},
		{"the tools", "openai/gpt-5", `{"tools":[{"type":"web_search"}]}`, `{}`, "tools"},
		{"the input", "openai-responses/gpt-5", `{"input":"do evil"}`, `{}`, "input"},
		{"the messages, in capitals", "other/m", `{"Messages":[]}`, `{}`, "Messages"},
		{"models to fall back to", "openrouter/x", `{"models":["a"]}`, `{}`, "models"},
		{"a tool of the provider", "openai/gpt-5", `{"web_search_options":{}}`, `{}`, "web_search_options"},
		{"a parameter", "openai/gpt-5", `{"logit_bias":{"1":2},"top_k":4}`, `{}`, ""},
		{"a parameter of another provider", "anthropic/c", `{"logit_bias":{"1":2}}`, `{}`, "logit_bias"},
		{"an option", "ollama/q", `{"options":{"num_ctx":8}}`, `{}`, ""},
		{"an option that Parley writes", "ollama/q", `{"options":{"num_ctx":8,"num_predict":-1}}`, `{}`, "options.num_predict"},
		{"options that are none", "ollama/q", `{"options":[]}`, `{}`, "options"},
		{"a list that adds", "openai/gpt-5", `{"service_tier":"flex","top_k":4}`, `{"openai":["default","service_tier"]}`, ""},
		{"a list that empties", "openai/gpt-5", `{"top_k":4}`, `{"openai":[]}`, "top_k"},
		{"a list for others", "groq/m", `{"service_tier":"flex"}`, `{"*":["service_tier"]}`, ""},
		{"anything but what Parley writes", "openai/gpt-5", `{"plugins":[]}`, `{"openai":["*"]}`, ""},
		{"a list cannot allow the model", "openai/gpt-5", `{"model":"x"}`, `{"openai":["*","model"]}`, "model"},
		{"no route, a parameter", "", `{"top_k":4}`, `{}`, ""},
		{"no route, the model", "", `{"model":"x"}`, `{}`, "model"},
		{"no route, what nobody allows", "", `{"plugins":[]}`, `{}`, "plugins"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.env.Route = ""
			settings := &events.Settings{ID: s.id(), Route: c.route}
			if err := json.Unmarshal([]byte(c.extra), &settings.Parameters.Extra); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(c.lists), &s.env.Ceilings.Extra); err != nil {
				t.Fatal(err)
			}
			a := only[*events.InputAnswered](s.in(settings))[0]
			switch {
			case c.want == "" && a.Answer != events.AnswerAccepted:
				t.Errorf("%s: %s", a.Answer, a.Reason)
			case c.want != "" && (a.Answer != events.AnswerInvalid || a.Code != ceilings.CodeExtra || !strings.Contains(a.Reason, "parameters.extra."+c.want+" ")):
				t.Errorf("%s %s: %s", a.Answer, a.Code, a.Reason)
			}
		})
	}
}

// TestExtraParametersOfStoredSettingsEndTheTurn: Settings that were accepted for one
// provider, or before there were lists, do not reach another.
func TestExtraParametersOfStoredSettingsEndTheTurn(t *testing.T) {
	s := newScene(t)
	s.env.Ceilings.Extra = map[string][]string{"scripted": {"*"}}
	s.in(&events.Settings{ID: s.id(), Parameters: events.Parameters{Extra: map[string]json.RawMessage{"plugins": json.RawMessage("[]")}}})
	s.env.Route = "openai/gpt-5"
	ended := only[*events.TurnEnded](s.say("go"))
	if len(ended) != 1 || ended[0].Outcome != events.OutcomeFailed || ended[0].Reason != ceilings.CodeExtra || ended[0].Error.Class != events.ErrCeiling {
		t.Errorf("%+v", ended)
	}
}

// TestAConversationsLimitsNeverExceedTheDeployments: Settings that exceed one are
// refused, and those that were accepted before do not take effect.
func TestAConversationsLimitsNeverExceedTheDeployments(t *testing.T) {
	most := events.Limits{Steps: 10, Tokens: 100, CostUSD: 0.5, TimeMS: 60_000, Repeats: 3, Parallel: 2, OnLimit: events.LimitEnd, Calls: map[string]int{"web_*": 5, "pay": 1}}
	for code, c := range map[string]struct{ over, at events.Limits }{
		ceilings.CodeTurnSteps:    {events.Limits{Steps: 11}, events.Limits{Steps: 10}},
		ceilings.CodeLimitTokens:  {events.Limits{Tokens: 101}, events.Limits{Tokens: 100}},
		ceilings.CodeLimitCost:    {events.Limits{CostUSD: 0.51}, events.Limits{CostUSD: 0.5}},
		ceilings.CodeTurnMS:       {events.Limits{TimeMS: 60_001}, events.Limits{TimeMS: 60_000}},
		ceilings.CodeLimitRepeats: {events.Limits{Repeats: 4}, events.Limits{Repeats: 3}},
		ceilings.CodeTurnParallel: {events.Limits{Parallel: 3}, events.Limits{Parallel: 2}},
		ceilings.CodeOnLimit:      {events.Limits{OnLimit: events.LimitAsk}, events.Limits{OnLimit: events.LimitEnd}},
		ceilings.CodeLimitCalls:   {events.Limits{Calls: map[string]int{"web_*": 6}}, events.Limits{Calls: map[string]int{"web_*": 4, "x": 9}}},
	} {
		t.Run(code, func(t *testing.T) {
			s := newScene(t)
			s.env.MaxLimits = most
			if a := only[*events.InputAnswered](s.in(&events.Settings{ID: s.id(), Limits: c.over}))[0]; a.Answer != events.AnswerInvalid || a.Code != code {
				t.Errorf("%+v", a)
			}
			if a := only[*events.InputAnswered](s.in(&events.Settings{ID: s.id(), Limits: c.at}))[0]; a.Answer != events.AnswerAccepted {
				t.Errorf("%+v", a)
			}
			got := Env{Settings: events.Settings{Limits: c.over}, Limits: DefaultLimits(), MaxLimits: most}.limits()
			if got.Steps > most.Steps || got.Tokens > most.Tokens || got.CostUSD > most.CostUSD || got.TimeMS > most.TimeMS || got.Repeats > most.Repeats ||
				got.Parallel > most.Parallel || got.OnLimit != events.LimitEnd || got.Calls["web_*"] > 5 || got.Calls["pay"] != 1 || got.CostUSD <= 0 || got.Tokens <= 0 {
				t.Errorf("in effect: %+v", got)
			}
		})
	}
	// Without limits of the deployment the ceilings apply.
	s := newScene(t)
	for code, l := range map[string]events.Limits{ceilings.CodeTurnSteps: {Steps: 1_001}, ceilings.CodeTurnMS: {TimeMS: 86_400_001}, ceilings.CodeTurnParallel: {Parallel: 129}} {
		if a := only[*events.InputAnswered](s.in(&events.Settings{ID: s.id(), Limits: l}))[0]; a.Answer != events.AnswerInvalid || a.Code != code {
			t.Errorf("%+v", a)
		}
	}
	if a := only[*events.InputAnswered](s.in(&events.Settings{ID: s.id(), Limits: events.Limits{Steps: 900, Parallel: 120}}))[0]; a.Answer != events.AnswerAccepted {
		t.Errorf("%+v", a)
	}
}

// TestTrafficIsRefusedNotCancels: beyond the ceiling of a minute messages and Settings
// are refused with the code, and what stops work is not.
func TestTrafficIsRefusedNotCancels(t *testing.T) {
	for code, set := range map[string]func(*Env){
		ceilings.CodeMessagesPerMinute:    func(e *Env) { e.Ceilings.MessagesPerMinute = 3 },
		ceilings.CodeBytesPerMinute:       func(e *Env) { e.Ceilings.BytesPerMinute = 400 },
		ceilings.CodeAppMessagesPerMinute: func(e *Env) { e.Ceilings.AppMessagesPerMinute, e.Apps = 1_000, map[string]Traffic{"": {Messages: 997}} },
		ceilings.CodeAppBytesPerMinute:    func(e *Env) { e.Ceilings.AppBytesPerMinute, e.Apps = 1_000, map[string]Traffic{"": {Bytes: 700}} },
	} {
		t.Run(code, func(t *testing.T) {
			s := newScene(t)
			set(&s.env)
			var inputs []events.Event
			for range 10 {
				inputs = append(inputs, &events.UserMessage{ID: s.id(), Text: "hi there"})
			}
			inputs = append(inputs, &events.Settings{ID: s.id()}, &events.Cancel{ID: s.id(), Scope: events.ScopeAll})
			refused, accepted, stopped := 0, 0, false
			for _, a := range only[*events.InputAnswered](s.in(inputs...)) {
				switch {
				case a.Code == code && a.Answer == events.AnswerRefused:
					refused++
				case a.Input == inputs[11].(*events.Cancel).ID:
					stopped = a.Answer == events.AnswerAccepted || a.Answer == events.AnswerAlreadyEnded
				case a.Code == "":
					accepted++
				default:
					t.Errorf("%+v", a)
				}
			}
			if refused < 7 || accepted < 1 || !stopped {
				t.Errorf("%d refused, %d taken, the cancel was answered: %v", refused, accepted, stopped)
			}
		})
	}
}

func TestTurnsOfAnAppHaveACeiling(t *testing.T) {
	s := newScene(t)
	s.env.Ceilings.AppConversations, s.env.Running = 5, map[string]int64{"": 5, "anna": 4}
	if a := only[*events.InputAnswered](s.say("go"))[0]; a.Answer != events.AnswerRefused || a.Code != ceilings.CodeAppConversations {
		t.Errorf("%+v", a)
	}
	s.env.Running = map[string]int64{"": 4, "anna": 5}
	if a := only[*events.InputAnswered](s.say("go"))[0]; a.Answer != events.AnswerAccepted {
		t.Errorf("%+v", a)
	}
}

// TestAConversationUsesLittleOfWhatItsAppMayPublish: what its own ceiling, or that of
// a message, refuses does not count for the app. On the code before, one conversation
// could have all others of its app refused, and who signed nothing everybody.
func TestAConversationUsesLittleOfWhatItsAppMayPublish(t *testing.T) {
	for name, fill := range map[string]func(*scene) []events.Event{
		"messages beyond its own ceiling": func(s *scene) (all []events.Event) {
			for range 50 {
				all = append(all, &events.UserMessage{ID: s.id(), Text: "hello"})
			}
			return all
		},
		"cancels beyond its own ceiling": func(s *scene) (all []events.Event) {
			for range 50 {
				all = append(all, &events.Cancel{ID: s.id(), Scope: events.ScopeAll})
			}
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.env.Ceilings.MessagesPerMinute = 10
			s.in(fill(s)...)
			if got := s.apps[""]; got.Messages != 10 {
				t.Errorf("the app has %+v, want the 10 inputs that the conversation may have", got)
			}
		})
	}
	t.Run("more inputs than a message holds", func(t *testing.T) {
		s := newScene(t)
		var lines []events.Line
		for range 3 * maxInputs {
			lines = append(lines, events.Line{Event: &events.Cancel{ID: s.id(), Scope: events.ScopeAll}})
		}
		s.append(accumulator.Message{Channel: events.ChannelIn, Lines: lines})
		s.foldAll()
		refused := 0
		for _, a := range only[*events.InputAnswered](s.decide()) {
			if a.Code == ceilings.CodeInputs {
				refused++
			}
		}
		if got := s.apps[""]; got.Messages != maxInputs || refused != 2*maxInputs {
			t.Errorf("the app has %+v, and %d were refused", got, refused)
		}
	})
}

// TestWhoSignsHasCeilingsOfItsOwn: a stranger who signs nothing uses up what strangers
// may send together, and no identity is refused for it.
func TestWhoSignsHasCeilingsOfItsOwn(t *testing.T) {
	s := newScene(t)
	s.env.Identities = bookOf(identity.Inputs{}, people()...)
	s.env.Ceilings.AppMessagesPerMinute, s.env.Ceilings.AppConversations = 100, 5
	s.env.Apps, s.env.Running = map[string]Traffic{"": {Messages: 100}, "anna": {Messages: 50}}, map[string]int64{"": 5, "anna": 1}
	if a := only[*events.InputAnswered](s.say("go"))[0]; a.Code != ceilings.CodeAppMessagesPerMinute {
		t.Errorf("without a signature: %+v", a)
	}
	if a := only[*events.InputAnswered](s.signed(annasKey, &events.UserMessage{ID: s.id(), Text: "go"}))[0]; a.Answer != events.AnswerAccepted || a.Signer != "anna" {
		t.Errorf("signed: %+v", a)
	}
	if got := s.apps["anna"]; got.Messages != 1 {
		t.Errorf("counted: %+v", s.apps)
	}
	s.env.Apps["anna"] = Traffic{Messages: 100}
	if a := only[*events.InputAnswered](s.signed(annasKey, &events.Settings{ID: s.id()}))[0]; a.Code != ceilings.CodeAppMessagesPerMinute || !strings.HasPrefix(a.Reason, "anna published more than 100 inputs") {
		t.Errorf("beyond its own: %+v", a)
	}
}

func TestTheMeterCountsByMinute(t *testing.T) {
	var m meter
	at := time.Date(2026, 11, 28, 12, 0, 59, 0, time.UTC)
	m.add(at, "a", Traffic{2, 20}, map[string]Traffic{"": {1, 10}, "shop": {1, 10}})
	_, seen := m.read(at, "a")
	m.add(at, "a", Traffic{1, 5}, map[string]Traffic{"shop": {1, 5}})
	check := func(at time.Time, own Traffic, want map[string]Traffic) {
		t.Helper()
		if got, apps := m.read(at, "a"); got != own || !maps.Equal(apps, want) {
			t.Errorf("%v and %v, want %v and %v", got, apps, own, want)
		}
	}
	both := map[string]Traffic{"": {1, 10}, "shop": {2, 15}}
	check(at, Traffic{3, 25}, both)
	check(at.Add(-time.Hour), Traffic{3, 25}, both) // a clock that was set back
	if seen["shop"] != (Traffic{1, 10}) {
		t.Errorf("what a decision reads has changed: %v", seen)
	}
	check(at.Add(time.Second), Traffic{}, nil)

	m.run("shop", 1)
	m.run("", 1)
	m.run("", -1)
	if got := m.turns(); !maps.Equal(got, map[string]int64{"shop": 1}) {
		t.Errorf("%v", got)
	}
}
