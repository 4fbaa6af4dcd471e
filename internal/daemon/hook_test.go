package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	orchestratorrole "github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/orchestrator"
	"github.com/parleybus/parley/internal/tool"
)

// hook answers a hook on the bus until stop is called or the test ends.
func (d *deployment) hook(when events.HookTime, name string, fn func(context.Context, *events.HookCall) (*events.HookAnswered, error)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Hooks().Serve(ctx, when, name, fn) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			d.t.Errorf("hook %s: %v", name, err)
		}
	})
	d.t.Cleanup(stop)
	return stop
}

// follower follows a conversation from its beginning, for one goroutine of many.
type follower struct {
	d       *deployment
	id      string
	next    func() (bus.Message, error, bool)
	stop    func()
	state   *accumulator.Conversation
	answers map[string]*events.InputAnswered
}

func (d *deployment) follow(ctx context.Context, conversation string) *follower {
	t := &follower{d: d, id: conversation, state: fold(conversation, nil), answers: map[string]*events.InputAnswered{}}
	t.next, t.stop = iter.Pull2(d.Conversation(conversation).Attach(ctx, bus.From{}))
	return t
}

// until reads until fits returns true, for nil before the first read or for an
// event.
func (t *follower) until(what string, fits func(events.Event) bool) error {
	for found := fits(nil); !found; {
		m, err, ok := t.next()
		if err != nil || !ok {
			return fmt.Errorf("waiting for %s: %w; the state is %+v", what, errors.Join(err, context.Cause(t.d.t.Context())), t.state.State)
		}
		t.state.Apply(m.Folded())
		each(m, func(e events.Event) {
			if a, ok := e.(*events.InputAnswered); ok {
				t.answers[a.Input] = a
			}
			found = fits(e) || found
		})
	}
	return nil
}

// publish publishes an input that has an id.
func (t *follower) publish(ctx context.Context, e events.Event) error {
	_, err := t.d.Conversation(t.id).Publish(ctx, identify(t.d, e), e)
	return err
}

// send publishes an input and waits for its answer.
func (t *follower) send(ctx context.Context, e events.Event) error {
	if err := t.publish(ctx, e); err != nil {
		return err
	}
	id := identify(t.d, e)
	return t.until("the answer to a "+e.Type(), func(events.Event) bool { return t.answers[id] != nil })
}

// each calls fn for the events of a message, including those inside a Decision. A
// Decision in another channel than its own is ignored.
func each(m bus.Message, fn func(events.Event)) {
	for _, l := range m.Lines {
		fn(l.Event)
		if d, ok := l.Event.(*events.Decision); ok && m.Channel == events.ChannelTurn {
			for _, l := range d.Events {
				fn(l.Event)
			}
		}
	}
}

// inputOf returns the id of an input.
func inputOf(m bus.Message) (id string) {
	each(m, func(e events.Event) {
		switch e := e.(type) {
		case *events.Settings:
			id = e.ID
		case *events.UserMessage:
			id = e.ID
		case *events.Verdict:
			id = e.ID
		case *events.Cancel:
			id = e.ID
		}
	})
	return id
}

// logs returns the whole logs of all conversations.
func (d *deployment) logs() map[string][]bus.Message {
	d.t.Helper()
	all := map[string][]bus.Message{}
	for shard := range d.Shards() {
		if err := d.Shard(shard).Read(d.t.Context(), 0, "", func(m bus.Message) error {
			all[m.Conversation] = append(all[m.Conversation], m)
			return nil
		}); err != nil {
			d.t.Fatal(err)
		}
	}
	return all
}

// formatLog formats a log for the message of a failed test.
func formatLog(log []bus.Message) string {
	var b strings.Builder
	for _, m := range log {
		if len(m.Data) > 600 {
			m.Data = m.Data[:600]
		}
		fmt.Fprintf(&b, "%d %s %s\n", m.Sequence, m.Channel, m.Data)
	}
	return b.String()
}

// holder is a tool that is controlled by its argument "as": "quick" ends at once,
// "run" runs until it is cancelled, "gate" until the gate opens. It records its
// arguments.
type holder struct {
	gate chan struct{}

	mu      sync.Mutex
	ran     map[string][]string // arguments by call
	running int                 // calls
	ended   chan struct{}       // closed, and another one made, when none runs any more
}

func newHolder() *holder {
	return &holder{gate: make(chan struct{}), ran: map[string][]string{}, ended: make(chan struct{})}
}

// Spec implements [tool.Tool].
func (h *holder) Spec() events.ToolSpec {
	return events.ToolSpec{Name: "hold", Description: "holds on", Effect: events.EffectPure,
		Schema: json.RawMessage(`{"type":"object","properties":{"as":{"type":"string"}},"required":["as"]}`)}
}

// Run implements [tool.Tool].
func (h *holder) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	var args struct{ As string }
	if err := in.Decode(&args); err != nil {
		return tool.Result{}, err
	}
	h.mu.Lock()
	h.ran[in.Call] = append(h.ran[in.Call], string(in.Arguments))
	h.mu.Unlock()
	var gate chan struct{} // never opens
	switch args.As {
	case "run":
	case "gate":
		gate = h.gate
	default:
		return tool.Result{Content: args.As}, nil
	}
	h.count(1)
	defer h.count(-1)
	select {
	case <-gate:
		return tool.Result{Content: args.As}, nil
	case <-ctx.Done():
		return tool.Result{}, ctx.Err()
	}
}

// count counts a call that begins to run, or ends.
func (h *holder) count(by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running += by; h.running == 0 {
		close(h.ended)
		h.ended = make(chan struct{})
	}
}

// wait blocks until no call runs; all must have been cancelled.
func (h *holder) wait(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	running, ended := h.running, h.ended
	h.mu.Unlock()
	if running == 0 {
		return
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("a call that is over is still running")
	}
}

// runs returns the arguments of each run of a call.
func (h *holder) runs(call string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.ran[call]...)
}

// recorder is a provider that records its requests.
type recorder struct {
	llm.Provider
	mu       sync.Mutex
	requests []llm.Request
}

// Stream implements [llm.Provider].
func (r *recorder) Stream(ctx context.Context, req llm.Request) llm.Stream {
	r.mu.Lock()
	r.requests = append(r.requests, req)
	r.mu.Unlock()
	return r.Provider.Stream(ctx, req)
}

// last returns the last request.
func (r *recorder) last(t *testing.T) llm.Request {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.requests) == 0 {
		t.Fatal("no model was called")
	}
	return r.requests[len(r.requests)-1]
}

// check checks that a strict provider would accept every request.
func (r *recorder) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, req := range r.requests {
		if err := strictly(req.Messages); err != nil {
			t.Errorf("a strict provider refuses this request: %v\n%+v", err, req.Messages)
		}
	}
}

// recorded returns a worker that plays a script, and the recorder of its requests.
func (d *deployment) recorded(name, script string) (daemon.Role, *recorder) {
	d.t.Helper()
	c, err := catalog.Open(d.t.Context(), catalog.Options{Getenv: func(string) string { return "" }, Script: scriptFile(d.t, script), Idle: time.Minute})
	if err != nil {
		d.t.Fatal(err)
	}
	e := c.Entries[catalog.Scripted]
	r := &recorder{Provider: e.Provider}
	e.Provider = r
	c.Entries[catalog.Scripted] = e
	return llmworker.Role(daemon.Config{Name: name, Slots: 256}, d.log, c, nil), r
}

// hooking returns an orchestrator with built-in hooks.
func (d *deployment) hooking(hooks ...orchestrator.Hook) daemon.Role {
	return orchestratorrole.Role(daemon.Config{Name: "owner-" + newID(d.t)[24:]}, d.log, nil, nil, hooks...)
}

// hookCalls counts the calls of hooks, by time, name and turn.
type hookCalls struct {
	mu    sync.Mutex
	times map[string]int
	calls []events.HookCall
}

func (a *hookCalls) note(call *events.HookCall) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.times == nil {
		a.times = map[string]int{}
	}
	a.times[string(call.When)+" "+call.Hook+" "+call.Turn]++
	a.calls = append(a.calls, *call)
}

func (a *hookCalls) all() (map[string]int, []events.HookCall) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.times), slices.Clone(a.calls)
}

// hookAnswers counts the answers of hooks in a log, by time, name and turn.
func hookAnswers(log []bus.Message) map[string]int {
	all := map[string]int{}
	for _, m := range log {
		each(m, func(e events.Event) {
			if a, ok := e.(*events.HookAnswered); ok {
				all[string(a.When)+" "+a.Hook+" "+a.Turn]++
			}
		})
	}
	return all
}

// hooksOver reads until no hook is pending.
func (s *stage) hooksOver() {
	s.t.Helper()
	s.reach("the hooks' answers", func() bool { return len(s.state.Hooks) == 0 })
}

// TestHooksAreCalledOncePerTurn: One pair of hooks is built into the
// orchestrator, one is an app's. The orchestrator is restarted twice, the first
// time while the turn waits.
func TestHooksAreCalledOncePerTurn(t *testing.T) {
	var called hookCalls
	answer := func(say string) func(context.Context, *events.HookCall) (*events.HookAnswered, error) {
		return func(_ context.Context, call *events.HookCall) (*events.HookAnswered, error) {
			called.note(call)
			return &events.HookAnswered{Context: say}, nil
		}
	}
	own := []orchestrator.Hook{
		{Hook: events.Hook{Name: "memory", When: events.HookBefore}, Ask: answer("You have met before.")},
		{Hook: events.Hook{Name: "diary", When: events.HookAfter}, Ask: answer("")}}
	s := setStage(t, calls("{as: ask}", "{as: app}"))
	s.orchestrator = func() daemon.Role { return s.hooking(own...) }
	s.hook(events.HookBefore, "mood", answer("Be kind."))
	s.hook(events.HookAfter, "bell", answer(""))
	s.begin(&events.Settings{System: "You are a model.", Policy: momentPolicy(), Hooks: []events.Hook{{Name: "mood", When: events.HookBefore}, {Name: "bell", When: events.HookAfter}}})
	s.send(&events.UserMessage{Text: "go"})
	s.pause()
	s.restart()
	answered(t, s.decide(events.RulingApprove, waiting(t, s.state, events.WaitApproval), ""), events.AnswerAccepted)
	s.restart()
	answered(t, s.decide(events.RulingAnswer, waiting(t, s.state, events.WaitResult), ""), events.AnswerAccepted)
	s.completed("Done: ask an answer.")
	s.hooksOver()
	s.restart()
	times, calls := called.all()
	turn := calls[0].Turn
	want := map[string]int{"before memory " + turn: 1, "before mood " + turn: 1, "after diary " + turn: 1, "after bell " + turn: 1}
	if !maps.Equal(times, want) {
		t.Errorf("the calls of the hooks are %v", times)
	}
	if got := hookAnswers(s.logs()[s.conversation]); !maps.Equal(got, want) {
		t.Errorf("the log holds the answers %v", got)
	}
	for _, c := range calls {
		before := c.When == events.HookBefore
		if c.Conversation != s.conversation || before && c.Message.Parts[0].Text != "go" || !before && (c.Ended.Outcome != events.OutcomeCompleted || c.Answer != "Done: ask an answer.") {
			t.Errorf("the hook %s got %+v", c.Hook, c)
		}
	}
	if got := s.recorder.last(t).System; got != "You are a model.\n\nYou have met before.\n\nBe kind." {
		t.Errorf("the model reads %q", got)
	}
}

// TestPendingHooksAreCalledAgainByTheNextOwner: a hook is repeated unless its
// answer is in the log. The log holds one answer.
func TestPendingHooksAreCalledAgainByTheNextOwner(t *testing.T) {
	for _, when := range []events.HookTime{events.HookBefore, events.HookAfter} {
		t.Run(string(when), func(t *testing.T) {
			var called hookCalls
			started := make(chan struct{}, 1)
			hook := orchestrator.Hook{Hook: events.Hook{Name: "slow", When: when, DeadlineMS: 20_000}}
			hook.Ask = func(ctx context.Context, call *events.HookCall) (*events.HookAnswered, error) {
				called.note(call)
				if times, _ := called.all(); times[string(when)+" slow "+call.Turn] > 1 {
					return &events.HookAnswered{Context: "at last"}, nil
				}
				started <- struct{}{}
				<-ctx.Done() // with its orchestrator
				return nil, ctx.Err()
			}
			s := setStage(t, calls("{as: quick}"))
			s.orchestrator = func() daemon.Role { return s.hooking(hook) }
			s.begin(&events.Settings{Policy: momentPolicy()})
			s.send(&events.UserMessage{Text: "go"})
			<-started
			s.restart()
			s.completed("Done: quick.")
			if when == events.HookAfter {
				s.hooksOver()
			}
			turn := called.calls[0].Turn
			if got := hookAnswers(s.logs()[s.conversation]); !maps.Equal(got, map[string]int{string(when) + " slow " + turn: 1}) {
				t.Errorf("the log holds the answers %v", got)
			}
			s.send(&events.UserMessage{Text: "and on"}) // a hook after a turn delays no turn
			<-started
		})
	}
}

func TestHooksHoldATurnUpOrEndItByTheirAnswers(t *testing.T) {
	silent := func(ctx context.Context, _ *events.HookCall) (*events.HookAnswered, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	refuse := func(context.Context, *events.HookCall) (*events.HookAnswered, error) {
		return &events.HookAnswered{Refuse: "not today", Context: "never read"}, nil
	}
	breaks := func(context.Context, *events.HookCall) (*events.HookAnswered, error) {
		return nil, errors.New("it broke")
	}
	for name, c := range map[string]struct {
		answer   func(context.Context, *events.HookCall) (*events.HookAnswered, error) // nil: no answer
		optional bool
		outcome  events.Outcome
		reason   string
	}{
		"one that refuses ends the turn":                         {refuse, false, events.OutcomeFailed, "refused_by_hook"},
		"one that refuses ends the turn also if it is optional":  {refuse, true, events.OutcomeFailed, "refused_by_hook"},
		"one that is silent ends the turn at its deadline":       {silent, false, events.OutcomeFailed, "hook_failed"},
		"one that is silent holds the turn up if it is optional": {silent, true, events.OutcomeCompleted, "stop"},
		"one that breaks ends the turn":                          {breaks, false, events.OutcomeFailed, "hook_failed"},
		"one that breaks does nothing if it is optional":         {breaks, true, events.OutcomeCompleted, "stop"},
		"one without an answer ends the turn":                    {nil, false, events.OutcomeFailed, "hook_failed"},
		"one without an answer is skipped if it is optional":     {nil, true, events.OutcomeCompleted, "stop"},
	} {
		hook := events.Hook{Name: "judge", When: events.HookBefore, DeadlineMS: 250, Optional: c.optional}
		t.Run(name+", on the bus", func(t *testing.T) { holdUp(t, c.answer, hook, false, c.outcome, c.reason) })
		if c.answer != nil {
			t.Run(name+", in the orchestrator", func(t *testing.T) { holdUp(t, c.answer, hook, true, c.outcome, c.reason) })
		}
	}
}

// TestAHookThatIgnoresItsDeadlineDelaysNothing: the turn continues without it.
func TestAHookThatIgnoresItsDeadlineDelaysNothing(t *testing.T) {
	s := setStage(t, calls("{as: quick}"))
	release := make(chan struct{})
	s.orchestrator = func() daemon.Role {
		return s.hooking(orchestrator.Hook{Hook: events.Hook{Name: "deaf", When: events.HookBefore, DeadlineMS: 250}, Ask: func(context.Context, *events.HookCall) (*events.HookAnswered, error) {
			<-release
			return nil, nil
		}})
	}
	s.begin(&events.Settings{Policy: momentPolicy()})
	t.Cleanup(func() { close(release) })
	s.send(&events.UserMessage{Text: "go"})
	if end := s.end(); end.Reason != "hook_failed" {
		t.Errorf("the turn ended as %s %s: %v", end.Outcome, end.Reason, end.Error)
	}
}

// holdUp runs a turn with a hook, built into the orchestrator or an app's.
func holdUp(t *testing.T, answer func(context.Context, *events.HookCall) (*events.HookAnswered, error), hook events.Hook, own bool, outcome events.Outcome, reason string) {
	s := setStage(t, calls("{as: quick}"))
	settings := &events.Settings{Policy: momentPolicy()}
	if own {
		s.orchestrator = func() daemon.Role { return s.hooking(orchestrator.Hook{Hook: hook, Ask: answer}) }
	} else {
		settings.Hooks = []events.Hook{hook}
		if answer != nil {
			s.hook(hook.When, hook.Name, answer)
		}
	}
	s.begin(settings)
	s.send(&events.UserMessage{Text: "go"})
	end := s.end()
	if end.Outcome != outcome || end.Reason != reason {
		t.Errorf("the turn ended as %s %s: %v", end.Outcome, end.Reason, end.Error)
	}
	s.recorder.mu.Lock()
	n := len(s.recorder.requests)
	s.recorder.mu.Unlock()
	if (n > 0) != (outcome == events.OutcomeCompleted) {
		t.Errorf("the model was called %d times", n)
	}
	if n > 0 && s.recorder.last(t).System != "" {
		t.Errorf("the model reads %q", s.recorder.last(t).System)
	}
	if err := audit(s.conversation, s.logs()[s.conversation]); err != nil {
		t.Error(err)
	}
}
