package daemon_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// atSomeMoment calls several functions, each at a random moment.
func atSomeMoment(ctx context.Context, within time.Duration, things ...func() error) error {
	var g errgroup.Group
	for _, do := range things {
		g.Go(func() error {
			select {
			case <-time.After(rand.N(within)):
				return do()
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	return g.Wait()
}

// rivals cancels each call of a turn while something else ends it.
func (d *deployment) rivals(ctx context.Context, id string) error {
	ctx, stop := context.WithTimeout(ctx, 60*time.Second)
	defer stop()
	t := d.follow(ctx, id)
	defer t.stop()
	if err := t.send(ctx, &events.Settings{Policy: momentPolicy()}); err != nil {
		return err
	}
	if err := t.publish(ctx, &events.UserMessage{Text: "several " + id}); err != nil {
		return err
	}
	if err := t.until("the pause", func(events.Event) bool { return t.state.Phase == events.PhasePaused }); err != nil {
		return err
	}
	calls := slices.Clone(t.state.Calls) // run, quick, ask, later, app
	cancels := make([]*events.Cancel, len(calls))
	var things []func() error
	for i, c := range calls {
		cancels[i] = &events.Cancel{ID: newID(d.t), Call: c.Call, Reason: "not this one"}
		things = append(things, func() error { return t.publish(ctx, cancels[i]) })
	}
	verdict := func(call int, r events.Ruling) *events.Verdict {
		v := &events.Verdict{ID: newID(d.t), Verdict: r, Calls: []events.CallVerdict{{Call: calls[call].Call, Digest: calls[call].Digest}}}
		things = append(things, func() error { return t.publish(ctx, v) })
		return v
	}
	again, approve, reject := &events.Cancel{ID: newID(d.t), Call: calls[0].Call}, verdict(2, events.RulingApprove), verdict(3, events.RulingReject)
	unknown := &events.Cancel{ID: newID(d.t), Call: newID(d.t)}
	things = append(things,
		func() error { return t.publish(ctx, again) },
		func() error { return t.publish(ctx, unknown) },
		func() error { return d.resultFrom(ctx, id, calls[4].Call, "from the app") })
	if err := atSomeMoment(ctx, 40*time.Millisecond, things...); err != nil {
		return err
	}
	var end *events.TurnEnded
	if err := t.until("the end and all answers", func(e events.Event) bool {
		if e, ok := e.(*events.TurnEnded); ok {
			end = e
		}
		return end != nil && len(t.answers) == 11 // including the settings and the message
	}); err != nil {
		return err
	}
	accepted := func(input string) bool { return t.answers[input].Answer == events.AnswerAccepted }
	for i, c := range calls {
		called, _ := t.state.Transcript.Call(c.Call)
		cancelled := accepted(cancels[i].ID) || i == 0 && accepted(again.ID) // the first was cancelled twice
		if cancelled != (called.Status == events.StatusCancelled) || called.Status == "" {
			return fmt.Errorf("call %d ended as %s, and its cancel was answered %+v", i, called.Status, t.answers[cancels[i].ID])
		}
	}
	switch {
	case end.Outcome != events.OutcomeCompleted || end.Steps != 2:
		return fmt.Errorf("the turn did not continue: %+v", end)
	case accepted(cancels[0].ID) && accepted(again.ID), accepted(cancels[3].ID) == accepted(reject.ID):
		return fmt.Errorf("not exactly one cancel was accepted: %v", t.answers)
	case !accepted(cancels[2].ID) && !accepted(approve.ID), t.answers[unknown.ID].Answer != events.AnswerUnknownCall:
		return fmt.Errorf("%v", t.answers)
	}
	return nil
}

// resultFrom writes the result of a call on its lane, as an app does.
func (d *deployment) resultFrom(ctx context.Context, conversation, call, content string) error {
	frame, err := events.AppendFrame(nil, &events.ToolResult{Call: call, Status: events.StatusOK, Content: content})
	if err != nil {
		return err
	}
	_, err = d.Lane(topology.OfCall(d.Shards(), conversation, events.ChannelCall, call)).Append(ctx, 0, frame)
	return err
}

// queued sends messages while a turn runs, and cancels the queue or everything.
func (d *deployment) queued(ctx context.Context, id string, scope events.Scope) error {
	ctx, stop := context.WithTimeout(ctx, 60*time.Second)
	defer stop()
	t := d.follow(ctx, id)
	defer t.stop()
	first := &events.UserMessage{Text: "tools " + id}
	if err := t.send(ctx, first); err != nil {
		return err
	}
	cancel := &events.Cancel{ID: newID(d.t), Scope: scope}
	things := []func() error{func() error { return t.publish(ctx, cancel) }}
	inputs := []string{cancel.ID}
	for i := range 4 {
		m := &events.UserMessage{ID: newID(d.t), Text: fmt.Sprintf("finish %d", i)}
		inputs = append(inputs, m.ID)
		things = append(things, func() error { return t.publish(ctx, m) })
	}
	if err := atSomeMoment(ctx, 60*time.Millisecond, things...); err != nil {
		return err
	}
	if err := t.until("all answers", func(events.Event) bool {
		return !slices.ContainsFunc(inputs, func(in string) bool { return t.answers[in] == nil })
	}); err != nil {
		return err
	}
	if scope == events.ScopeQueue {
		if err := t.send(ctx, &events.Cancel{}); err != nil {
			return err
		}
	}
	return t.until("rest", func(events.Event) bool {
		return t.state.Turn == "" && len(t.state.Queue) == 0 && len(t.state.Inputs) == 0
	})
}

// checkQueue checks that the messages before the cancel in the log were dropped,
// and that the others were answered.
func checkQueue(id string, log []bus.Message) error {
	if err := audit(id, log); err != nil {
		return err
	}
	var want, dropped []string
	turns := map[string]int{}
	seen, cancelled := 0, false
	for _, m := range log {
		each(m, func(e events.Event) {
			switch e := e.(type) {
			case *events.UserMessage:
				if seen++; seen > 1 && !cancelled {
					want = append(want, e.ID)
				}
			case *events.Cancel:
				cancelled = true
			case *events.TurnStarted:
				for _, in := range e.Inputs {
					turns[in]++
				}
			case *events.InputAnswered:
				dropped = append(dropped, e.Dropped...)
			}
		})
	}
	if !slices.Equal(want, dropped) {
		return fmt.Errorf("the messages before the cancel are %v, dropped were %v", want, dropped)
	}
	for _, in := range dropped {
		turns[in]++
	}
	parts := 0
	for _, m := range fold(id, log).Transcript.Messages() {
		if m.Role == events.RoleUser {
			parts += len(m.Parts)
		}
	}
	for in, n := range turns {
		if n != 1 {
			return fmt.Errorf("message %s was dropped or started a turn %d times", in, n)
		}
	}
	if len(turns) != seen || parts != seen-len(dropped) {
		return fmt.Errorf("of %d messages %d were dropped or started a turn, and the model reads %d", seen, len(turns), parts)
	}
	return nil
}

func TestACancelOfACallOrTheQueueIsAcceptedOrRefusedWithTheState(t *testing.T) {
	d, hold, recorder := scene(t)
	check := map[string]func(string, []bus.Message) error{}
	var g errgroup.Group
	g.SetLimit(40)
	for i := range 120 {
		id := newID(t)
		do := func() error { return d.rivals(t.Context(), id) }
		check[id] = audit
		if scope := []events.Scope{events.ScopeCall, events.ScopeQueue, events.ScopeAll}[i%3]; scope != events.ScopeCall {
			do = func() error { return d.queued(t.Context(), id, scope) }
			check[id] = checkQueue
		}
		g.Go(func() error {
			if err := do(); err != nil {
				t.Errorf("conversation %s: %v", id, err)
			}
			return nil
		})
	}
	_ = g.Wait() // the functions report their errors
	hold.wait(t)
	logs := d.logs()
	for id, check := range check {
		if err := check(id, logs[id]); err != nil {
			t.Errorf("conversation %s: %v\n%s", id, err, formatLog(logs[id]))
		}
	}
	recorder.check(t)
}

// texts formats a history, one line per message.
func texts(all []events.Message) string {
	var lines []string
	for _, m := range all {
		line := string(m.Role)
		for _, p := range m.Parts {
			switch p.Kind {
			case events.PartCall:
				line += " call"
			case events.PartResult:
				line += " " + string(p.Status)
			default:
				line += " " + p.Text
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// TestAMessageThatComesWhileATurnWaits: Another orchestrator takes over
// between the steps.
func TestAMessageThatComesWhileATurnWaits(t *testing.T) {
	const read = "user go\nassistant Calling. call call\ntool ok\ntool "
	for name, c := range map[string]struct {
		settings, message events.Arrival
		answer            events.Answer
		decide            bool // whether a verdict resumes the turn
		reads             string
	}{
		"queued, it is for the next turn":            {"", "", events.AnswerQueued, true, read + "ok\nassistant Done: quick ask.\nuser news"},
		"superseding, it replaces the pending calls": {events.ArrivalSupersede, "", events.AnswerQueued, false, read + "superseded\nuser news"},
		"refused, it has no effect":                  {events.ArrivalRefuse, "", events.AnswerRefused, true, read + "ok"},
		"interrupting, it stops the turn":            {events.ArrivalQueue, events.ArrivalInterrupt, events.AnswerAccepted, false, read + "cancelled\nuser news"},
		"the message overrides the settings":         {events.ArrivalRefuse, events.ArrivalSupersede, events.AnswerQueued, false, read + "superseded\nuser news"},
	} {
		t.Run(name, func(t *testing.T) {
			script := strings.Replace(calls("{as: quick}", "{as: ask}"), "rules:\n", "rules:\n  - {name: news, match: news, steps: [{text: Heard.}]}\n", 1)
			s := play(t, script, &events.Settings{Policy: momentPolicy(), WhileWaiting: c.settings})
			s.send(&events.UserMessage{Text: "go"})
			s.pause()
			call := waiting(t, s.state, events.WaitApproval)
			s.reach("the first call's result", func() bool { return s.state.Calls[0].Status == events.StatusOK })
			s.restart()
			answered(t, s.send(&events.UserMessage{Text: "news", Arrival: c.message}), c.answer)
			s.restart()
			answer := "Heard."
			if c.decide {
				answered(t, s.decide(events.RulingApprove, call, ""), events.AnswerAccepted)
				s.end()
				answer = "Done: quick ask."
			} else {
				answered(t, s.decide(events.RulingApprove, call, ""), events.AnswerAlreadyDecided)
			}
			if c.answer != events.AnswerRefused {
				s.reach("the turn on what is new", func() bool { return s.state.Turns == 2 && s.state.Turn == "" })
				answer = "Heard."
			}
			s.endedWith(answer)
			if got := texts(s.recorder.last(t).Messages); got != c.reads {
				t.Errorf("the model reads\n%s\nwant\n%s", got, c.reads)
			}
		})
	}
}

// reach reads until the condition holds.
func (s *stage) reach(what string, is func() bool) {
	s.t.Helper()
	if !is() {
		s.until(what, func(events.Event) bool { return is() })
	}
}

// ended returns the turns that ended, in order.
func (s *stage) ended() (all []*events.TurnEnded) {
	for _, m := range s.seen {
		each(m, func(e events.Event) {
			if e, ok := e.(*events.TurnEnded); ok {
				all = append(all, e)
			}
		})
	}
	return all
}

// endedWith checks the last answer, and audits the log.
func (s *stage) endedWith(answer string) {
	s.t.Helper()
	all := s.ended()
	if _, last := s.state.Transcript.Ended(all[len(all)-1].Turn); last != answer {
		s.t.Errorf("the last answer is %q, want %q", last, answer)
	}
	if err := audit(s.conversation, s.logs()[s.conversation]); err != nil {
		s.t.Error(err)
	}
	s.recorder.check(s.t)
}

// TestACallThatRunsIsNotLostWhenItsTurnIsSuperseded: the approved call.
func TestACallThatRunsIsNotLostWhenItsTurnIsSuperseded(t *testing.T) {
	script := strings.Replace(calls("{as: gate}", "{as: ask}"), "rules:\n", "rules:\n  - {name: news, match: news, steps: [{text: Heard.}]}\n", 1)
	policy := events.Policy{Rules: []events.Rule{{Action: events.ActionApprove}}}
	s := play(t, script, &events.Settings{Policy: &policy})
	s.send(&events.UserMessage{Text: "go"})
	s.pause()
	runs := s.state.Calls[0]
	answered(t, s.decide(events.RulingApprove, runs, ""), events.AnswerAccepted)
	s.until("the call to begin", func(e events.Event) bool { _, ok := e.(*events.ToolStarted); return ok })
	answered(t, s.send(&events.UserMessage{Text: "news", Arrival: events.ArrivalSupersede}), events.AnswerQueued)
	s.restart()
	close(s.hold.gate)
	if end := s.end(); end.Outcome != events.OutcomeCancelled || end.Reason != "superseded" {
		t.Errorf("the turn ended as %s %s", end.Outcome, end.Reason)
	}
	s.completed("Heard.")
	if got, want := texts(s.recorder.last(t).Messages), "user go\nassistant Calling. call call\ntool ok\ntool superseded\nuser news"; got != want {
		t.Errorf("the model reads\n%s\nwant\n%s", got, want)
	}
}

func TestABurstOfMessagesBecomesOneTurn(t *testing.T) {
	const script = `
model: demo
pace: 0
rules:
  - {name: burst, match: one, steps: [{delay: 500, text: Heard.}]}
  - {name: talk, match: ., steps: [{pace: 20, text: "So it began, and it went on and on and on and on and on and on and on and on and on and on and on and on."}]}
`
	for name, c := range map[string]struct {
		arrival events.Arrival
		cancel  bool
		outcome events.Outcome // of the first turn
		turns   int
		reads   int // texts in the last user message
	}{
		"queued while the model speaks":                   {events.ArrivalQueue, false, events.OutcomeCompleted, 2, 3},
		"interrupting while the model speaks":             {events.ArrivalInterrupt, false, events.OutcomeCancelled, 2, 3},
		"a cancel at the end of the burst is what counts": {events.ArrivalInterrupt, true, events.OutcomeCancelled, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := play(t, script, &events.Settings{WhileRunning: c.arrival})
			s.send(&events.UserMessage{Text: "go"})
			s.until("the model to speak", func(e events.Event) bool { _, ok := e.(*events.TextChunk); return ok })
			for _, text := range []string{"one", "two", "three"} {
				s.sendNew(s.conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: text} })
			}
			if c.cancel {
				answered(t, s.send(&events.Cancel{}), events.AnswerAccepted)
				if s.state.Turn != "" || len(s.state.Queue) > 0 {
					t.Errorf("after the cancel there is %+v", s.state.State)
				}
				s.sendNew(s.conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "one more"} })
			}
			s.reach("the last turn", func() bool { return s.state.Turns == c.turns && s.state.Turn == "" })
			if turn := s.ended()[0]; turn.Outcome != c.outcome {
				t.Errorf("the first turn ended as %s %s", turn.Outcome, turn.Reason)
			}
			messages := s.recorder.last(t).Messages
			if got := len(messages[len(messages)-1].Parts); got != c.reads {
				t.Errorf("the model reads\n%s", texts(messages))
			}
			if c.outcome == events.OutcomeCancelled && !strings.Contains(texts(messages), "assistant So") {
				t.Errorf("the model reads of the interrupted turn\n%s", texts(messages))
			}
			s.endedWith("Heard.")
		})
	}
}
