package orchestrator

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// TestAnyConversation walks at random and shows what holds of every log.
func TestAnyConversation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWalk(t)
		anyConversation(t, w)
		withoutSuperseded(t, w)
	})
}

// TestAnyConversationWithLongAnswers: most calls run while their answer is written.
func TestAnyConversationWithLongAnswers(t *testing.T) {
	early := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWalk(t)
		w.env.Policy, w.env.Hooks, w.long = nil, nil, true
		anyConversation(t, w)
		withoutSuperseded(t, w)
		for _, e := range decisions(w) {
			if r, is := e.(*events.ToolCallRequested); is && r.GenerationAttempt != "" {
				early++
			}
		}
	})
	if early < 10 { // 42 to 91 in 25 runs
		t.Errorf("%d calls ran before their answer was complete: the walks show little", early)
	}
}

// anyConversation walks, and checks what holds whatever others write.
func anyConversation(t *rapid.T, w *walk) {
	for range 100 {
		w.step()
		if w.known == len(w.messages) {
			same(t, "an owner that decided before it knew the latest, and one who reads the log in order", looks(w.state), looks(inOrder(w)))
		}
	}
	w.drain()
	everythingEndsOnce(t, w)
	earlyCallsEnd(t, w)
	at := inOrder(w)
	same(t, "an owner, and one who reads the log in order", looks(w.state), looks(at))
	deliveredAgain(t, w, looks(at))
	fromTheMiddle(t, w)
}

func same(t *rapid.T, what, a, b string) {
	if diff := cmp.Diff(a, b); diff != "" {
		t.Fatalf("not the same: %s\n%s", what, diff)
	}
}

func inOrder(w *walk) *accumulator.Conversation {
	c := empty(w.conversationLog.id)
	for _, m := range w.messages {
		c.Apply(m)
	}
	return c
}

// everythingEndsOnce: turns follow one another, each ends once, every input has an
// answer and takes effect once, every message is part of one turn or was refused.
func everythingEndsOnce(t *rapid.T, w *walk) {
	running, turns := "", map[string]bool{}
	answers, taken, dropped := map[string]events.Answer{}, map[string]bool{}, map[string]bool{}
	messages := map[string]bool{}
	for _, e := range w.published {
		if m, ok := e.(*events.UserMessage); ok {
			messages[m.ID] = true
		}
	}
	for _, e := range decisions(w) {
		switch e := e.(type) {
		case *events.TurnStarted:
			if running != "" || turns[e.Turn] {
				t.Fatalf("turn %s started while %q ran, or twice", e.Turn, running)
			}
			running, turns[e.Turn] = e.Turn, true
			for _, id := range e.Inputs {
				if taken[id] {
					t.Fatalf("input %s is part of two turns", id)
				}
				taken[id] = true
			}
		case *events.TurnEnded:
			if running != e.Turn {
				t.Fatalf("turn %s ended while %q ran", e.Turn, running)
			}
			running = ""
		case *events.InputAnswered:
			if first := answers[e.Input]; first != "" {
				answeredAgain(t, e, first, messages[e.Input])
				continue
			}
			answers[e.Input] = e.Answer
			for _, id := range e.Dropped {
				dropped[id] = true
			}
		}
	}
	if running != "" {
		t.Fatalf("turn %s never ended", running)
	}
	for _, id := range w.inputs {
		if answers[id] == "" {
			t.Fatalf("input %s has no answer", id)
		}
		if answers[id] == events.AnswerQueued && taken[id] == dropped[id] {
			t.Fatalf("input %s was queued and never taken, or dropped and taken", id)
		}
	}
	oneResultPerCall(t, w)
}

// answeredAgain: an input that was published again gets its first answer again, and
// nothing else happens. A message's answer has what happened to it since.
func answeredAgain(t *rapid.T, e *events.InputAnswered, first events.Answer, message bool) {
	if e.Answer != first && !message {
		t.Fatalf("input %s was answered %s and then %s", e.Input, first, e.Answer)
	}
	if e.Supersedes != "" || len(e.Dropped)+len(e.Granted)+len(e.Revoked) > 0 {
		t.Fatalf("input %s was answered again, and took effect again: %+v", e.Input, e)
	}
}

// earlyCallsEnd: a call that was requested before its answer was complete is in that
// answer, or has ended before it.
func earlyCallsEnd(t *rapid.T, w *walk) {
	c, open := empty(w.conversationLog.id), map[string]bool{}
	for _, m := range w.messages {
		before := c.State.Clone()
		c.Apply(m)
		for _, l := range m.Lines {
			d, ok := l.Event.(*events.Decision)
			if !ok {
				continue
			}
			for _, line := range d.Events {
				switch e := line.Event.(type) {
				case *events.ToolCallRequested:
					if e.GenerationAttempt != "" {
						open[e.Call] = true
					}
				case *events.ToolCallRefused:
					delete(open, e.Call)
				case *events.AssistantMessage:
					for _, p := range e.Message.Parts {
						delete(open, p.Call)
					}
				}
			}
			if c.Phase == events.PhaseGenerating && c.Generation == before.Generation {
				continue
			}
			for _, s := range before.Calls {
				if s.Status != "" {
					delete(open, s.Call)
				}
			}
			for call := range open {
				t.Fatalf("call %s was requested before its answer was complete, and neither is in an answer nor has ended", call)
			}
		}
	}
}

// oneResultPerCall: a call that was refused was not run, unless it was stopped.
func oneResultPerCall(t *rapid.T, w *walk) {
	refused := map[string]bool{}
	for _, e := range decisions(w) {
		switch e := e.(type) {
		case *events.ToolCallRefused:
			if refused[e.Call] {
				t.Fatalf("call %s was refused twice", e.Call)
			}
			refused[e.Call] = true
		case *events.ToolCallRequested:
			if refused[e.Call] {
				t.Fatalf("call %s was refused and then requested", e.Call)
			}
		}
	}
}

func decisions(w *walk) []events.Event {
	var all []events.Event
	for _, m := range w.messages {
		for _, l := range m.Lines {
			if d, ok := l.Event.(*events.Decision); ok {
				for _, e := range d.Events {
					all = append(all, e.Event)
				}
			}
		}
	}
	return all
}

// deliveredAgain: messages that are delivered again, and a log that is read again
// from an earlier position, change nothing.
func deliveredAgain(t *rapid.T, w *walk, want string) {
	c := empty(w.conversationLog.id)
	for i, m := range w.messages {
		c.Apply(m)
		for range rapid.IntRange(0, 2).Draw(t, "times") {
			c.Apply(w.messages[rapid.IntRange(0, i).Draw(t, "again")])
		}
	}
	same(t, "a log, and a log with messages delivered again", want, looks(c))
	half, back := empty(w.conversationLog.id), 0
	if n := len(w.messages); n > 0 {
		k := rapid.IntRange(0, n).Draw(t, "half")
		for _, m := range w.messages[:k] {
			half.Apply(m)
		}
		back = rapid.IntRange(0, k).Draw(t, "back")
	}
	for _, m := range w.messages[back:] {
		half.Apply(m)
	}
	same(t, "a log, and a log read in halves that overlap", want, looks(half))
}

// withoutSuperseded: what superseded attempts wrote, or would write later if the
// lane let them, makes no difference whenever the attempt that counts writes.
func withoutSuperseded(t *rapid.T, w *walk) {
	all, without, late := empty(w.conversationLog.id), empty(w.conversationLog.id), empty(w.conversationLog.id)
	var old []events.Line
	for _, m := range w.messages {
		all.Apply(m)
		s, ok := m.Lines[0].Event.(events.Stamped)
		if !ok {
			without.Apply(m)
			late.Apply(m)
			continue
		}
		if attempt, _ := s.Position(); w.superseded[attempt] {
			old = append(old, m.Lines...)
			late.Apply(m)
			continue
		}
		without.Apply(m)
		m.Lines = slices.Concat(m.Lines, old)
		late.Apply(m)
		same(t, "a log, and a log without superseded attempts", looks(all), looks(without))
		same(t, "a log, and a log in which superseded attempts continue", looks(all), looks(late))
	}
}

// fromTheMiddle: from every Decision without work in progress, its state and what
// follows fold to the same as the whole log.
func fromTheMiddle(t *rapid.T, w *walk) {
	c := empty(w.conversationLog.id)
	for i, m := range w.messages {
		c.Apply(m)
		state, ok := w.states[m.Sequence]
		if !ok || !c.Quiet() {
			continue
		}
		if state.GenLane > c.GenLane {
			t.Fatalf("Decision %d knows more of the gen lane (%d) than there is (%d)", m.Sequence, state.GenLane, c.GenLane)
		}
		lane := c.GenLane
		// What a stopped worker wrote between what was known and the Decision.
		state.GenLane = lane
		r := accumulator.Resume(w.conversationLog.id, state, m.Sequence)
		facts := empty(w.conversationLog.id)
		for _, m := range w.messages[:i+1] {
			if m.Channel != events.ChannelGen {
				facts.Apply(m)
			}
		}
		r.Transcript = facts.Transcript
		r.TakeResults(facts)
		if diff := cmp.Diff(c.State, r.State); diff != "" {
			t.Fatalf("the state in Decision %d differs from the fold (-fold +decision)\n%s", m.Sequence, diff)
		}
		evictedLater(t, w, c, r, i+1)
		for _, m := range w.messages[i+1:] {
			r.Apply(m)
		}
		same(t, fmt.Sprintf("the whole log, and what follows the Decision at %d", m.Sequence), looks(inOrder(w)), looks(r))
	}
}

// evictedLater: a conversation that was evicted some messages after its last
// Decision is loaded as it was.
func evictedLater(t *rapid.T, w *walk, inOrder, resumed *accumulator.Conversation, from int) {
	whole, facts := *inOrder.Clone(), empty(w.conversationLog.id)
	whole.Transcript = nil
	for _, m := range w.messages[:from] {
		facts.Apply(m)
	}
	for _, m := range w.messages[from:] {
		if m.Channel == events.ChannelTurn || m.Channel == events.ChannelIn {
			return
		}
		whole.Apply(m)
		if m.Channel != events.ChannelGen {
			facts.Apply(m)
		}
		again := *resumed.Clone()
		again.TakeResults(facts)
		again.GenLane = whole.GenLane
		if diff := cmp.Diff(whole.State, again.State); diff != "" {
			t.Fatalf("evicted after message %d and loaded with another state (-was +is)\n%s", m.Sequence, diff)
		}
	}
}
