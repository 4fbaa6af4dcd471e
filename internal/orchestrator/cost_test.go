package orchestrator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

func TestCallsPastTheBudgetOfThePolicyNeedApproval(t *testing.T) {
	s := newScene(t)
	s.in(&events.Settings{ID: s.id(), Limits: events.Limits{Parallel: 100}, Policy: &events.Policy{Rules: []events.Rule{
		{When: `!args.l.all(a, args.l.all(b, a + b > 0))`, Action: events.ActionDeny}, {Action: events.ActionAuto},
	}}})
	s.say("go")
	arguments := `{"l":[` + strings.Repeat("1,", 59) + `1]}`
	var calls []events.Part
	for range 50 {
		calls = append(calls, s.part("g", arguments))
	}
	es := s.model("", calls...)
	ran, paused := only[*events.ToolCallRequested](es), only[*events.Paused](es)
	if len(ran) == 0 || len(paused) != 1 || len(ran)+len(paused[0].Awaiting) != 50 {
		t.Fatalf("%d run, paused %d times", len(ran), len(paused))
	}
	for _, a := range paused[0].Awaiting {
		if a.For != events.WaitApproval || a.Rule != policy.KeyOverBudget || a.Reason != policy.ReasonOverBudget {
			t.Fatalf("%+v", a)
		}
	}
	call := paused[0].Awaiting[0].Call
	if a := only[*events.InputAnswered](s.in(s.ruling(events.RulingAlways, call))); a[0].Answer != events.AnswerNotAllowed {
		t.Errorf("approved for good: %+v", a[0])
	}
	if es := s.in(s.ruling(events.RulingApprove, call)); len(only[*events.ToolCallRequested](es)) != 1 {
		t.Errorf("approved: %v", es)
	}
}

func TestTheQueueOfMessagesHasACeiling(t *testing.T) {
	s := newScene(t)
	s.in(&events.Settings{ID: s.id(), Policy: &events.Policy{Rules: []events.Rule{{Action: events.ActionApprove}}}})
	s.say("go")
	call := s.part("g", "{}")
	s.model("", call)
	answers := map[events.Answer]int{}
	for i := range 150 {
		m := &events.UserMessage{ID: s.id(), Text: "and this"}
		if i%3 == 0 && i > 0 {
			m.Arrival = events.ArrivalQueue
		}
		a := only[*events.InputAnswered](s.in(m))[0]
		if answers[a.Answer]++; a.Answer == events.AnswerRefused && !strings.Contains(a.Reason, "100 messages already wait") {
			t.Errorf("%+v", a)
		}
	}
	if answers[events.AnswerQueued] != maxQueued || answers[events.AnswerRefused] != 50 || len(s.state.Queue) != maxQueued {
		t.Errorf("%v, %d in the queue", answers, len(s.state.Queue))
	}
	if a := only[*events.InputAnswered](s.in(&events.UserMessage{ID: s.id(), Text: "instead", Arrival: events.ArrivalSupersede})); a[0].Answer != events.AnswerRefused {
		t.Errorf("a message that supersedes: %+v", a[0])
	}
	s.in(s.ruling(events.RulingReject, call.Call))
	es := s.model("Done.")
	if started := only[*events.TurnStarted](es); len(started) != 1 || len(started[0].Inputs) != maxQueued || len(s.state.Queue) != 0 {
		t.Errorf("the next turn: %v", started)
	}
}

func TestAnAnswerWithTooManyCallsFailsItsTurn(t *testing.T) {
	maxCalls := int(ceilings.Defaults().AnswerCalls)
	for calls, outcome := range map[int]events.Outcome{maxCalls: "", maxCalls + 1: events.OutcomeFailed} {
		s := newScene(t)
		s.say("go")
		var parts []events.Part
		for range calls {
			parts = append(parts, s.part("g", "{}"))
		}
		es := s.model("", parts...)
		ended := only[*events.TurnEnded](es)
		switch {
		case outcome == "" && (len(ended) > 0 || len(only[*events.ToolCallRequested](es)) == 0):
			t.Errorf("%d calls: %v", calls, ended)
		case outcome != "" && (len(ended) != 1 || ended[0].Outcome != outcome || ended[0].Reason != ceilings.CodeAnswerCalls || len(only[*events.ToolCallRequested](es)) > 0):
			t.Errorf("%d calls: %v", calls, ended)
		case outcome != "" && (ended[0].Error.Class != events.ErrCeiling || ended[0].Error.Code != ceilings.CodeAnswerCalls):
			t.Errorf("%d calls: %+v", calls, ended[0].Error)
		}
	}
}

func TestACancelledAnswerKeepsAsManyCallsAsOneMayMake(t *testing.T) {
	s := newScene(t)
	s.say("go")
	var parts []events.Part
	maxCalls := int(ceilings.Defaults().AnswerCalls)
	for range 3 * maxCalls {
		parts = append(parts, s.part("g", "{}"))
	}
	s.write(events.ChannelGen, "", s.begin("", parts...)...)
	es := s.in(&events.Cancel{ID: s.id()})
	if m := only[*events.AssistantMessage](es); len(m) != 1 || !m[0].Partial || len(m[0].Message.Parts) != maxCalls {
		t.Errorf("%d answers", len(m))
	}
}

func TestAVerdictDecidesALimitedNumberOfCalls(t *testing.T) {
	s := newScene(t)
	v := &events.Verdict{ID: s.id(), Verdict: events.RulingApprove, Calls: make([]events.CallVerdict, maxRulings+1)}
	if a := only[*events.InputAnswered](s.in(v))[0]; a.Answer != events.AnswerInvalid || !strings.Contains(a.Reason, "at most 512") {
		t.Errorf("%+v", a)
	}
}

func TestStandingApprovalsHaveACeiling(t *testing.T) {
	s := newScene(t)
	s.in(&events.Settings{ID: s.id(), Policy: &events.Policy{Rules: []events.Rule{{Action: events.ActionApprove}}}})
	s.say("go")
	call := s.part("g", "{}")
	s.model("", call)
	for range maxGrants {
		s.state.Grants = append(s.state.Grants, events.Grant{ID: s.id(), Tool: "other"})
	}
	if a := only[*events.InputAnswered](s.in(s.ruling(events.RulingAlways, call.Call)))[0]; a.Answer != events.AnswerNotAllowed || !strings.Contains(a.Reason, "revoke some") {
		t.Errorf("%+v", a)
	}
	if a := only[*events.InputAnswered](s.in(s.ruling(events.RulingApprove, call.Call)))[0]; a.Answer != events.AnswerAccepted {
		t.Errorf("%+v", a)
	}
}

func TestHooksThatDoNotAnswerHaveACeiling(t *testing.T) {
	s := newScene(t)
	s.env.Hooks = []events.Hook{{Name: "audit", When: events.HookAfter}}
	unasked := 0
	for range maxHooks + 5 {
		s.say("go")
		for _, a := range only[*events.HookAnswered](s.model("Done.")) {
			if unasked++; !strings.Contains(a.Error, "the hook was not called") {
				t.Errorf("%+v", a)
			}
		}
	}
	if len(s.state.Hooks) != maxHooks || unasked != 5 {
		t.Errorf("%d hooks have not answered, %d were not asked", len(s.state.Hooks), unasked)
	}
}

// fastest is the shortest time of several, for the machine is shared.
func fastest(run func()) time.Duration {
	best := time.Duration(1<<63 - 1)
	for range 5 {
		began := time.Now()
		run()
		best = min(best, time.Since(began))
	}
	return best
}

func callID(i int) string { return fmt.Sprintf("0198c0de-0000-7000-8000-%012d", i) }

// old is a conversation that has had so many calls, all of unknown outcome, and in
// which a turn runs.
func old(calls int) *accumulator.Conversation {
	c := empty("00000000-0000-7000-8000-c00000000000")
	for i := range calls {
		turn := fmt.Sprintf("turn %d", i/10)
		if i%10 == 0 {
			c.ApplyDecided(&events.TurnStarted{Turn: turn})
		}
		c.ApplyDecided(&events.AssistantMessage{Turn: turn, Step: i, Message: events.Message{Role: events.RoleAssistant, Parts: []events.Part{
			{Kind: events.PartCall, Call: callID(i), Name: "g", Arguments: fmt.Sprintf(`{"to":%d,"of":"me"}`, i)}}}})
		c.ApplyDecided(&events.ToolCallRefused{Turn: turn, Call: callID(i), Tool: "g", Status: events.StatusUnknown})
	}
	c.ApplyDecided(&events.TurnEnded{})
	c.ApplyDecided(&events.TurnStarted{Turn: "now"})
	c.ApplyDecided(&events.GenerationRequested{Turn: "now", Generation: "g", Step: 1, Try: 1})
	return c
}

// A decision costs by what it decides on, not by what the conversation has seen.
func TestADecisionDoesNotCostByTheLengthOfTheConversation(t *testing.T) {
	generated := func(c *accumulator.Conversation) {
		all := []events.Event{&events.GenerationStarted{Origin: events.Origin{Attempt: "a"}, Generation: "g"}}
		for i := range 100 {
			all = append(all, &events.ToolCallStart{Block: i, Call: callID(1_000_000 + i), Name: "g"},
				&events.ToolCallDelta{Block: i, Call: callID(1_000_000 + i), Arguments: fmt.Sprintf(`{"of":"me","to":%d}`, i-50)}, &events.ToolCallEnd{Block: i, Call: callID(1_000_000 + i)})
		}
		m := accumulator.Message{Channel: events.ChannelGen, Sequence: 1}
		for i, e := range append(all, &events.GenerationEnded{Generation: "g", Finish: events.FinishToolCalls, Terminated: true}) {
			e.(events.Stamped).Stamp("a", i)
			m.Lines = append(m.Lines, events.Line{Event: e})
		}
		c.Apply(m)
	}
	input := func(e events.Event) func(*accumulator.Conversation) {
		return func(c *accumulator.Conversation) {
			c.Apply(accumulator.Message{Channel: events.ChannelIn, Sequence: 1, Lines: []events.Line{{Event: e}}})
		}
	}
	verdict := &events.Verdict{ID: "v", Verdict: events.RulingApprove}
	for i := range 200 {
		verdict.Calls = append(verdict.Calls, events.CallVerdict{Call: callID(i)})
	}
	for name, apply := range map[string]func(*accumulator.Conversation){
		"an answer with 100 calls":           generated,
		"a verdict on 200 calls of the past": input(verdict),
		"the cancel of a call of the past":   input(&events.Cancel{ID: "c", Call: callID(7)}),
		"a message":                          input(&events.UserMessage{ID: "m", Text: "go"}),
	} {
		t.Run(name, func(t *testing.T) {
			decide := func(calls int) time.Duration {
				c := old(calls)
				apply(c)
				return fastest(func() {
					for range 10 {
						if d, _, _ := Decide(c, testEnv(), time.UnixMilli(1000)); d == nil {
							t.Fatal("nothing is decided")
						}
					}
				})
			}
			short, long := decide(500), decide(8000)
			for tries := 1; long > 8*short && tries < 3; tries++ { // another process may have had the processor
				short, long = decide(500), decide(8000)
			}
			if long > 8*short {
				t.Errorf("it takes %s, and %s after sixteen times as many calls", short, long)
			}
		})
	}
}

// flood is a conversation that has got so many messages at once, each of so many
// inputs.
func flood(messages, inputs int) *accumulator.Conversation {
	c := empty("00000000-0000-7000-8000-c00000000000")
	for i := range messages {
		m := accumulator.Message{Channel: events.ChannelIn, Sequence: uint64(i + 1)}
		for j := range inputs {
			m.Lines = append(m.Lines, events.Line{Event: &events.UserMessage{ID: callID(i*inputs + j), Text: "go"}})
		}
		c.Apply(m)
	}
	return c
}

// decideAll decides until nothing is left to decide, and returns the answers and how
// many Decisions it took.
func decideAll(c *accumulator.Conversation) (answers map[events.Answer]int, decisions int) {
	answers = map[events.Answer]int{}
	for {
		d, draft, _ := Decide(c, testEnv(), time.UnixMilli(1000))
		if d == nil {
			return answers, decisions
		}
		decisions++
		for _, e := range eventsOf(d) {
			if a, ok := e.(*events.InputAnswered); ok {
				answers[a.Answer]++
			}
		}
		c.Adopt(draft, d, c.TurnLane+1)
	}
}

func TestAFloodOfInputsCostsByTheInput(t *testing.T) {
	for name, of := range map[string]func(n int) *accumulator.Conversation{
		"in messages of their own": func(n int) *accumulator.Conversation { return flood(n, 1) },
		"64 in each message":       func(n int) *accumulator.Conversation { return flood(n/64, 64) },
	} {
		t.Run(name, func(t *testing.T) {
			cost := func(n int) time.Duration {
				return fastest(func() {
					answers, decisions := decideAll(of(n))
					want := map[events.Answer]int{events.AnswerAccepted: maxBatch, events.AnswerQueued: maxQueued, events.AnswerRefused: n - maxBatch - maxQueued}
					if fmt.Sprint(answers) != fmt.Sprint(want) || decisions > n/maxBatch+2 {
						t.Fatalf("%v in %d decisions, want %v", answers, decisions, want)
					}
				})
			}
			// A machine that is busy spoils a measurement, not three.
			for tries := 1; ; tries++ {
				few, many := cost(1024), cost(16*1024)
				if many <= 100*few {
					return
				}
				if tries == 3 {
					t.Fatalf("1,024 inputs take %s, sixteen times as many %s", few, many)
				}
			}
		})
	}
}

func TestAMessageHoldsALimitedNumberOfInputs(t *testing.T) {
	answers, _ := decideAll(flood(1, events.MaxLines))
	if answers[events.AnswerAccepted] != maxInputs || answers[events.AnswerRefused] != events.MaxLines-maxInputs {
		t.Errorf("%v", answers)
	}
}
