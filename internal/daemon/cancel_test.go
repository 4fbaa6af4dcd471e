package daemon_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// kinds returns the kinds of cancelled turns, each named by the first word of the
// message. Each lasts longer than the latest cancel, except short.
func kinds() []string {
	return []string{"text", "reasoning", "arguments", "silent", "tools", "approval", "deferred", "app", "several", "asks", "attempts", "queued", "hooks", "short"}
}

// momentScript answers the kinds; finish is the turn after the cancelled one.
func momentScript() string {
	words := strings.TrimSpace(strings.Repeat("word ", 300))
	raw := fmt.Sprintf(`{"as":"run","pad":"%s"}`, strings.Repeat("padding_", 300))
	call := func(as ...string) string {
		s := "{pace: 0, text: Calling., calls: ["
		for _, a := range as {
			s += "{tool: hold, arguments: {as: " + a + "}},"
		}
		return s + "]}"
	}
	s := "model: demo\npace: 20\nrules:\n"
	for _, r := range []struct{ word, steps string }{
		{"text", "{text: " + words + "}"},
		{"reasoning", "{reasoning: " + words + ", text: x}"},
		{"arguments", "{text: Calling., calls: [{tool: hold, raw: '" + raw + "'}]}"},
		{"silent", "{delay: 8000, text: x}"},
		{"tools", call("run", "run")},
		{"approval", call("ask")},
		{"deferred", call("later")},
		{"app", call("app")},
		{"several", call("run", "quick", "ask", "later", "app") + ", {pace: 0, text: All ended.}"},
		{"asks", "{delay: 100, error: {class: overloaded}}"},
		{"attempts", "{pace: 0, text: one two three, after: 2, error: {class: overloaded}}"},
		{"queued", "{text: x}"},
		{"hooks", "{text: x}"},
		{"short", "{pace: 0, text: Done.}"},
		{"finish", call("quick") + ", {pace: 0, text: 'Finished: {{result 0}}.'}"},
	} {
		s += fmt.Sprintf("  - {name: %s, match: '^%s', steps: [%s]}\n", r.word, r.word, r.steps)
	}
	return s
}

// momentPolicy decides by the argument "as" of hold.
func momentPolicy() *events.Policy {
	return &events.Policy{Rules: []events.Rule{
		{When: `args.as == "ask"`, Action: events.ActionApprove},
		{When: `args.as == "later"`, Action: events.ActionDefer, DelayMS: time.Hour.Milliseconds()},
		{When: `args.as == "app"`, Action: events.ActionDefer},
	}}
}

// cancelling is one conversation whose turn is cancelled at a moment.
type cancelling struct {
	*deployment
	id, kind string
	moment   time.Duration // after the message is sent; below 0 before
	// The inputs.
	message, cancel, after string
	answer                 *events.InputAnswered // of the cancel
}

func (c *cancelling) run(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 60*time.Second)
	defer stop()
	settings := &events.Settings{Policy: momentPolicy()}
	switch c.kind {
	case "queued":
		settings.Route = "absent/model"
	case "hooks":
		settings.Hooks = []events.Hook{{Name: "slow", When: events.HookBefore, DeadlineMS: 1500}}
	}
	t := c.follow(ctx, c.id)
	defer t.stop()
	if err := t.send(ctx, settings); err != nil {
		return err
	}
	c.message, c.cancel = newID(c.t), newID(c.t)
	message, cancel := &events.UserMessage{ID: c.message, Text: c.kind + " " + c.id}, &events.Cancel{ID: c.cancel, From: "ann"}
	first, second, secondID := events.Event(message), events.Event(cancel), c.cancel
	if c.moment < 0 {
		first, second, secondID = cancel, message, c.message
	}
	moment := time.After(c.moment.Abs())
	if err := t.publish(ctx, first); err != nil {
		return err
	}
	select {
	case <-moment:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := t.publish(ctx, second); err != nil {
		return fmt.Errorf("input %s: %w", secondID, err)
	}
	err := t.until("the answer to the cancel", func(e events.Event) bool { return t.answers[c.cancel] != nil })
	if err != nil {
		return err
	}
	c.answer = t.answers[c.cancel]
	if err := c.endNextTurn(ctx, t); err != nil {
		return err
	}
	if c.kind == "queued" {
		if err := t.send(ctx, &events.Settings{Policy: momentPolicy(), Route: "scripted/demo"}); err != nil {
			return err
		}
	}
	c.after = newID(c.t)
	if err := t.publish(ctx, &events.UserMessage{ID: c.after, Text: "finish " + c.id}); err != nil {
		return err
	}
	return t.until("the end of the turn after", func(e events.Event) bool { return t.state.Turns == 2 && t.state.Turn == "" })
}

// endNextTurn ends a turn that started after the cancel.
func (c *cancelling) endNextTurn(ctx context.Context, t *follower) error {
	if err := t.until("the turn", func(events.Event) bool { return t.state.Turns == 1 }); err != nil {
		return err
	}
	if t.state.Turn == "" {
		return nil
	}
	return t.send(ctx, &events.Cancel{Turn: t.state.Turn, Reason: "swept up"})
}

// found returns the state of a conversation before the cancel in its log.
func (c *cancelling) found(log []bus.Message) (state string, before *accumulator.Conversation) {
	at := slices.IndexFunc(log, func(m bus.Message) bool { return m.Channel == events.ChannelIn && inputOf(m) == c.cancel })
	s := fold(c.id, log[:at])
	switch seen := slices.ContainsFunc(s.Inputs, func(in accumulator.Input) bool { return in.ID == c.message }); {
	case s.Turns == 0 && !seen:
		return "before the turn", s
	case s.Turns == 0:
		return "before the message was decided on", s
	case s.Turn == "":
		return "after the turn", s
	}
	switch s.Phase {
	case events.PhasePreparing:
		return "hooks pending", s
	case events.PhaseGenerating:
		return generating(s, c.kind), s
	case events.PhasePaused:
		return pausedFor(s), s
	}
	if len(s.Started) == 0 {
		return "tools requested", s
	}
	return "tools running", s
}

func generating(s *accumulator.Conversation, kind string) string {
	switch {
	case s.Open == nil && s.Try > 1:
		return "between attempts"
	case s.Open == nil:
		return "before the generation began"
	case s.Open.Ended != nil:
		return "generation ended"
	case s.Open.Empty() && kind == "asks":
		return "in an attempt that fails before the first word"
	case s.Open.Empty():
		return "before the first word"
	}
	parts := s.Open.Message().Parts
	return "mid-" + string(parts[len(parts)-1].Kind)
}

func pausedFor(s *accumulator.Conversation) string {
	var waits []events.Wait
	for _, call := range s.Calls {
		if call.Waiting() {
			waits = append(waits, call.Waits)
		}
	}
	if len(waits) != 1 {
		return "waiting for several, tools running"
	}
	return "waiting for " + string(waits[0])
}

// states returns the states in which every run must have cancelled.
func states() []string {
	return []string{"before the turn", "before the generation began", "before the first word", "mid-text", "mid-reasoning", "mid-call", "tools running",
		"waiting for approval", "waiting for time", "waiting for result", "waiting for several, tools running",
		"in an attempt that fails before the first word", "between attempts", "hooks pending", "after the turn"}
}

// check checks a conversation's whole log.
func (c *cancelling) check(log []bus.Message) (string, error) {
	state, before := c.found(log)
	if err := audit(c.id, log); err != nil {
		return state, err
	}
	var started *events.TurnStarted
	var ended *events.TurnEnded
	at := -1 // the message that ends the first turn
	for i, m := range log {
		each(m, func(e events.Event) {
			switch e := e.(type) {
			case *events.TurnStarted:
				if started == nil {
					started = e
				}
			case *events.TurnEnded:
				if ended == nil {
					ended, at = e, i
				} else if e.Outcome != events.OutcomeCompleted {
					at = -1
				}
			}
		})
	}
	final := fold(c.id, log)
	switch runs := before.Turn != ""; {
	case at < 0:
		return state, fmt.Errorf("the turn after did not complete")
	case c.answer.Answer == events.AnswerAccepted && (ended.Outcome != events.OutcomeCancelled || ended.Reason != "cancelled" || c.answer.Turn != started.Turn):
		return state, fmt.Errorf("the cancel was accepted (%+v), and the turn ended as %s %s", c.answer, ended.Outcome, ended.Reason)
	case c.answer.Answer != events.AnswerAccepted && c.answer.Answer != events.AnswerAlreadyEnded:
		return state, fmt.Errorf("the cancel was answered %+v", c.answer)
	case c.answer.Answer == events.AnswerAlreadyEnded && (runs && state != "generation ended" || state == "before the message was decided on"):
		// The state at the cancel's position in the log is authoritative. But the
		// Decision that completes a turn may have been in flight when the cancel was
		// stored.
		return state, fmt.Errorf("the cancel found a turn (%s) and was answered %+v", state, c.answer)
	}
	if err := c.partial(log, at, before); err != nil {
		return state, err
	}
	atEnd := fold(c.id, log[:at+1]).Transcript.Messages()
	if now := final.Transcript.Messages(); !same(atEnd, now[:min(len(atEnd), len(now))]) {
		return state, fmt.Errorf("messages after the end changed the turn from\n%+v\nto\n%+v", atEnd, now)
	}
	parts := final.Transcript.Messages()[len(final.Transcript.Messages())-1].Parts
	if got := parts[len(parts)-1].Text; got != "Finished: quick." {
		return state, fmt.Errorf("the answer of the turn after is %q", got)
	}
	return state, late(log, at, started.Turn)
}

// partial checks that the answer before the cancel is kept.
func (c *cancelling) partial(log []bus.Message, at int, before *accumulator.Conversation) error {
	if before.Phase != events.PhaseGenerating || before.Open == nil || before.Open.Empty() || before.Open.Ended != nil {
		return nil
	}
	if open := fold(c.id, log[:at]).Open; open == nil || open.Ended != nil {
		return nil // it ended before the owner had read the cancel
	}
	var kept *events.AssistantMessage
	each(log[at], func(e events.Event) {
		if m, ok := e.(*events.AssistantMessage); ok {
			kept = m
		}
	})
	if kept == nil || !kept.Partial {
		return fmt.Errorf("the partial answer is not kept: %+v", kept)
	}
	was, is := before.Open.Message().Parts, kept.Message.Parts
	for i, p := range was {
		if i >= len(is) || is[i].Kind != p.Kind || !strings.HasPrefix(is[i].Text, p.Text) || !strings.HasPrefix(is[i].Arguments, p.Arguments) {
			return fmt.Errorf("the answer was\n%+v\nthe kept part is\n%+v", was, is)
		}
	}
	return nil
}

// late checks that the turn's workers have stopped: only messages in flight at
// the end of the turn, and the events of their stop, may follow.
func late(log []bus.Message, at int, turn string) error {
	generations := map[string]bool{}
	for _, m := range log[:at+1] {
		each(m, func(e events.Event) {
			if r, ok := e.(*events.GenerationRequested); ok && r.Turn == turn {
				generations[r.Generation] = true
			}
		})
	}
	pieces, ours := 0, true
	for _, m := range log[at+1:] {
		each(m, func(e events.Event) {
			switch e := e.(type) {
			case *events.GenerationStarted:
				ours = generations[e.Generation]
			case *events.TextChunk, *events.ReasoningChunk, *events.ToolCallDelta:
				if ours && m.Time.Sub(log[at].Time) > 2*time.Second {
					pieces++
				}
			}
		})
	}
	if pieces > 0 {
		return fmt.Errorf("the model continued: %d pieces came more than 2 s after the end", pieces)
	}
	return nil
}

// cancels is the number of random moments.
const cancels = 500

// scene returns a deployment with a tool and a model for cancels.
func scene(t *testing.T) (*deployment, *holder, *recorder) {
	t.Helper()
	d := serve(t)
	hold := newHolder()
	tools, err := tool.New(hold)
	if err != nil {
		t.Fatal(err)
	}
	models, recorder := d.recorded("models", momentScript())
	d.run(d.tools("tools", tools))
	d.run(models)
	d.run(d.orchestrator("orchestrator"))
	d.hook(events.HookBefore, "slow", func(ctx context.Context, call *events.HookCall) (*events.HookAnswered, error) {
		if strings.HasPrefix(call.Message.Parts[0].Text, "hooks") {
			<-ctx.Done()
		}
		return nil, nil
	})
	return d, hold, recorder
}

func TestCancelAtAnyMomentIsAnsweredAndEndsTheTurnOnce(t *testing.T) {
	d, hold, recorder := scene(t)
	found := map[string]int{}
	missing := func(state string) bool { return found[state] == 0 }
	// On a busy machine turns take longer, so the moments are spread wider.
	for n, window := cancels, 550*time.Millisecond; ; n, window = cancels/4, 2*window {
		d.cancelAtRandom(t, n, window, found)
		if t.Failed() || !slices.ContainsFunc(states(), missing) || window > 8*time.Second {
			break
		}
	}
	hold.wait(t)
	for _, s := range slices.Sorted(maps.Keys(found)) {
		t.Logf("%4d %s", found[s], s)
	}
	for _, s := range states() {
		if missing(s) {
			t.Errorf("no cancel came %s", s)
		}
	}
	recorder.check(t)
}

// cancelAtRandom cancels n turns at random moments within a window, checks each
// result, and counts the states at the cancels.
func (d *deployment) cancelAtRandom(t *testing.T, n int, window time.Duration, found map[string]int) {
	t.Helper()
	all := make([]*cancelling, n)
	for i := range all {
		// The moments of each kind are spread over the window.
		slot, slots := i/len(kinds()), (n+len(kinds())-1)/len(kinds())
		at := (float64(slot) + rand.Float64()) / float64(slots)
		all[i] = &cancelling{deployment: d, id: newID(t), kind: kinds()[i%len(kinds())],
			moment: -50*time.Millisecond + time.Duration(at*float64(window))}
	}
	rand.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	var g errgroup.Group
	g.SetLimit(40)
	for _, c := range all {
		g.Go(func() error {
			if err := c.run(t.Context()); err != nil {
				t.Errorf("%s at %s, conversation %s: %v", c.kind, c.moment, c.id, err)
			}
			return nil
		})
	}
	_ = g.Wait() // the functions report their errors
	if t.Failed() {
		return
	}
	logs := d.logs()
	for _, c := range all {
		state, err := c.check(logs[c.id])
		if err != nil {
			t.Errorf("%s at %s, %s, conversation %s: %v\n%s", c.kind, c.moment, state, c.id, err, formatLog(logs[c.id]))
		}
		found[state]++
	}
}
