package orchestrator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// narrow is a model with a window: it refuses a longer history, and answers any other
// with a call whose result is long, or with a text.
type narrow struct {
	*scene
	window         int64
	known, named   bool // by the worker, and by the refusal
	refused, asked int
	most           int64
}

func (n *narrow) tokens() int64 {
	var bytes int
	for _, m := range n.state.Transcript.Prompt() {
		for _, p := range m.Parts {
			bytes += len(p.Text) + len(p.Arguments)
		}
	}
	return events.EstimateTokens(int64(bytes)) + 200 // system prompt and tools
}

// answer answers the open generation, or refuses it.
func (n *narrow) answer(text string, calls ...events.Part) {
	n.t.Helper()
	n.asked++
	read, written := n.tokens(), int64(len(text)/4)
	all := n.begin(text, calls...)
	end := n.ended(len(calls) > 0).(*events.GenerationEnded)
	end.Usage = &events.Usage{InputTokens: &read, OutputTokens: &written}
	if n.known {
		end.Window = n.window
	}
	if read > n.window {
		n.refused++
		all = all[:1]
		end.Finish, end.Usage, end.Error = events.FinishError, nil, &events.Error{Class: events.ErrContextLength, Message: "prompt is too long"}
		if n.named {
			end.Window = n.window
		}
	} else {
		n.most = max(n.most, read)
	}
	n.write(events.ChannelGen, "", append(all, end)...)
	n.decide()
}

// turn runs a turn: two calls, one after the other, and a text.
func (n *narrow) turn(i int) {
	n.t.Helper()
	n.say(fmt.Sprintf("question %d: %s", i, strings.Repeat("x", 100+i*7%400)))
	for step := 1; n.state.Turn != ""; {
		if n.asked > 10*(i+1)+100 {
			n.t.Fatalf("turn %d is asked for without end", i)
		}
		before := n.refused
		if step > 2 {
			n.answer("answer " + strings.Repeat("y", i*11%700))
			continue
		}
		call := n.part("f", `{"x":1}`)
		n.answer("", call)
		if n.refused > before {
			continue
		}
		step++
		n.result(call.Call, events.StatusOK, strings.Repeat("z", 200+i*131%6000))
	}
}

// failed checks that the last turn failed for its length.
func (n *narrow) failed() {
	n.t.Helper()
	ends := only[*events.TurnEnded](n.everything())
	if e := ends[len(ends)-1]; e.Outcome != events.OutcomeFailed || e.Reason != string(events.ErrContextLength) {
		n.t.Errorf("the turn ended as %s, %s", e.Outcome, e.Reason)
	}
}

// TestAConversationNeverEndsByItsLength: 500 turns with a model of 16,000 tokens, whose
// window is known, or learned from a refusal, or never named.
func TestAConversationNeverEndsByItsLength(t *testing.T) {
	for _, c := range []struct {
		name         string
		known, named bool
		turns        int
		mostRefused  int
	}{
		{"the window is known", true, false, 120, 0},
		{"the refusal names it", false, true, 500, 1},
		{"nobody names it", false, false, 120, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &narrow{scene: newScene(t), window: 16_000, known: c.known, named: c.named}
			n.long = true
			for i := range c.turns {
				n.turn(i)
				if i%120 == 119 {
					n.restart()
				}
			}
			all := n.everything()
			for _, e := range only[*events.TurnEnded](all) {
				if e.Outcome != events.OutcomeCompleted {
					t.Fatalf("a turn ended as %s, %v", e.Outcome, e.Error)
				}
			}
			compacted := only[*events.Compacted](all)
			if len(compacted) == 0 || n.refused > c.mostRefused {
				t.Errorf("%d compactions, %d of %d requests were refused; want at most %d", len(compacted), n.refused, n.asked, c.mostRefused)
			}
			messages, prompt := n.state.Transcript.Messages(), n.state.Transcript.Prompt()
			if len(messages) != c.turns*6 || n.tokens() > n.window {
				t.Errorf("the transcript has %d messages, a request %d tokens", len(messages), n.tokens())
			}
			left, results := n.state.Transcript.Omitted()
			if left == 0 || results < left || len(messages)-left != len(prompt) {
				t.Errorf("%d of %d messages are not sent, the results of %d, and a request has %d", left, len(messages), results, len(prompt))
			}
			for i, m := range messages[left:] {
				text, sent := m.Parts[0].Text, prompt[i].Parts[len(prompt[i].Parts)-1].Text
				if brief := left+i < results && m.Role == events.RoleTool && len(text) > 256; (sent != text) != brief {
					t.Errorf("message %d of %d bytes is sent as %q", left+i, len(text), sent)
				}
			}
			last := prompt[len(prompt)-6:]
			if last[0].Role != events.RoleUser || !strings.HasPrefix(last[0].Parts[len(last[0].Parts)-1].Text, fmt.Sprintf("question %d:", c.turns-1)) {
				t.Errorf("the last turn is not sent whole: %+v", last[0])
			}
			if left := compacted[len(compacted)-1].Omitted; left > 0 && !strings.Contains(prompt[0].Parts[0].Text, fmt.Sprint(left, " turns of this conversation came before")) {
				t.Errorf("the model is not told that something is missing: %+v", prompt[0].Parts[0])
			}
			t.Logf("%d requests, %d refused, %d compactions, at most %d tokens", n.asked, n.refused, len(compacted), n.most)
		})
	}
}

// TestAHistoryIsOnlyCompactedWhereThatIsAllowedAndHelps.
func TestAHistoryIsOnlyCompactedWhereThatIsAllowedAndHelps(t *testing.T) {
	fill := func(n *narrow, turns int) {
		for i := range turns {
			n.turn(i)
		}
	}
	t.Run("off: the turn fails with what to do", func(t *testing.T) {
		n := &narrow{scene: newScene(t), window: 8_000}
		n.in(&events.Settings{ID: n.id(), Compaction: events.Compaction{Mode: events.CompactionOff}})
		for i := 0; n.refused == 0; i++ {
			n.turn(i)
		}
		n.failed()
	})
	t.Run("one result that exceeds the window: nothing helps", func(t *testing.T) {
		n := &narrow{scene: newScene(t), window: 8_000, known: true}
		n.say("go")
		call := n.part("f", `{"x":1}`)
		n.answer("", call)
		n.result(call.Call, events.StatusOK, strings.Repeat("z", 40_000))
		n.answer("")
		n.failed()
		if n.asked != 2 {
			t.Errorf("the model was asked %d times", n.asked)
		}
	})
	t.Run("results before turns", func(t *testing.T) {
		n := &narrow{scene: newScene(t), window: 1 << 30}
		fill(n, 10)
		es := n.in(&events.Compact{ID: n.id()})
		c := only[*events.Compacted](es)
		if len(c) != 1 || c[0].Reason != events.CompactedAsked || c[0].Results == nil || c[0].Turns != "" || c[0].After >= c[0].Before {
			t.Fatalf("%+v", c)
		}
		n.restart()
		fill(n, 1)
	})
	t.Run("asked again and again until nothing is left", func(t *testing.T) {
		n := &narrow{scene: newScene(t), window: 1 << 30}
		fill(n, 5)
		for range 10 {
			n.in(&events.Compact{ID: n.id()})
		}
		n.restart()
		es := n.in(&events.Compact{ID: n.id()})
		a := only[*events.InputAnswered](es)
		if len(es) != 1 || len(a) != 1 || a[0].Answer != events.AnswerAccepted || !strings.Contains(a[0].Reason, "nothing to leave out") {
			t.Errorf("%+v", es)
		}
		if p := n.state.Transcript.Prompt(); len(p) != 6 {
			t.Errorf("a request has %d messages; want those of the last turn", len(p))
		}
		fill(n, 1)
	})
	t.Run("another model has another window", func(t *testing.T) {
		n := &narrow{scene: newScene(t), window: 16_000, known: true}
		fill(n, 1)
		if n.state.Window != 16_000 {
			t.Errorf("the window is %d", n.state.Window)
		}
		n.in(&events.Settings{ID: n.id(), Route: "scripted/wide"})
		n.say("and now")
		if n.state.Window != 0 {
			t.Errorf("the window of another model is %d", n.state.Window)
		}
	})
	t.Run("settings that make no sense", func(t *testing.T) {
		n := newScene(t)
		for _, c := range []events.Compaction{{Mode: "sometimes"}, {Window: 10}, {Window: -5}} {
			a := only[*events.InputAnswered](n.in(&events.Settings{ID: n.id(), Compaction: c}))
			if len(a) != 1 || a[0].Answer != events.AnswerInvalid {
				t.Errorf("%+v was answered %+v", c, a)
			}
		}
	})
}
