package orchestrator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

func TestCallsPastTheBudgetOfThePolicyAreAskedAbout(t *testing.T) {
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

// fastest is the shortest time of several, for the machine is shared.
func fastest(run func()) time.Duration {
	best := time.Duration(1<<63 - 1)
	for range 5 {
		begun := time.Now()
		run()
		best = min(best, time.Since(begun))
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
			c.Decided(&events.TurnStarted{Turn: turn})
		}
		c.Decided(&events.AssistantMessage{Turn: turn, Step: i, Message: events.Message{Role: events.RoleAssistant, Parts: []events.Part{
			{Kind: events.PartCall, Call: callID(i), Name: "g", Arguments: fmt.Sprintf(`{"to":%d,"of":"me"}`, i)}}}})
		c.Decided(&events.ToolCallRefused{Turn: turn, Call: callID(i), Tool: "g", Status: events.StatusUnknown})
	}
	c.Decided(&events.TurnEnded{})
	c.Decided(&events.TurnStarted{Turn: "now"})
	c.Decided(&events.GenerationRequested{Turn: "now", Generation: "g", Step: 1, Try: 1})
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
						if len(Decide(c, testEnv(), time.UnixMilli(1000))) == 0 {
							t.Fatal("nothing is decided")
						}
					}
				})
			}
			if short, long := decide(500), decide(8000); long > 8*short {
				t.Errorf("it takes %s, and %s after sixteen times as many calls", short, long)
			}
		})
	}
}
