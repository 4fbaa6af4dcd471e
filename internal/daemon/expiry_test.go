package daemon_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

// expire empties CONV like its MaxAge: sequences continue, HISTORY keeps its
// copies.
func (d *deployment) expire() {
	d.t.Helper()
	_, js := d.Raw()
	for shard := range d.Shards() {
		end, _, err := d.Shard(shard).End(d.t.Context())
		if err != nil {
			d.t.Fatal(err)
		}
		d.copied(shard)
		s, err := js.Stream(d.t.Context(), topology.ConvStream(shard))
		if err == nil {
			err = s.Purge(d.t.Context())
		}
		if err != nil {
			d.t.Fatal(err)
		}
		if info, err := s.Info(d.t.Context()); err != nil || info.State.FirstSeq <= end {
			d.t.Fatalf("CONV starts at %d after its messages up to %d expired: %v", info.State.FirstSeq, end, err)
		}
	}
}

// copied blocks until HISTORY holds a copy of every fact of a shard.
func (d *deployment) copied(shard int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	for {
		shards, err := d.Deployment().HistoryBehind(ctx)
		if err != nil {
			d.t.Fatal(err)
		}
		if shards[shard].Copied >= shards[shard].Fact {
			return
		}
	}
}

const expiryScript = `
model: demo
pace: 30
rules:
  - name: again
    match: again
    steps:
      - text: And again.
  - name: a tool
    match: .
    steps:
      - text: one two three four five six seven eight nine ten eleven twelve
        calls:
          - {tool: hold, arguments: {ms: 1}}
      - text: "Done: {{result 0}}."
`

// held is a tool that signals that it runs and ends when it is released.
type held struct {
	running chan struct{}
	release chan struct{}
}

func (h held) Spec() events.ToolSpec { return events.ToolSpec{Name: "hold", Effect: events.EffectOnce} }

func (h held) Run(ctx context.Context, _ tool.Input) (tool.Result, error) {
	h.running <- struct{}{}
	select {
	case <-h.release:
		return tool.Result{Content: "held"}, nil
	case <-ctx.Done():
		return tool.Result{}, ctx.Err()
	}
}

// expiry is one conversation whose log expires.
type expiry struct {
	*deployment
	*viewer
	t            *testing.T
	conversation string
	tool         held
	message      string // id of the message that the turn answers
	hook         chan struct{}
	ctx          context.Context
}

// awaited blocks until a call waits for w, and returns it.
func (e *expiry) awaited(w events.Wait) events.CallState {
	e.t.Helper()
	e.until("the pause", func(ev events.Event) bool { _, ok := ev.(*events.Paused); return ok })
	return waiting(e.t, e.viewer.state, w)
}

func (e *expiry) approve(c events.CallState) {
	e.sendNew(e.conversation, func(id string) events.Event {
		return &events.Verdict{ID: id, Verdict: events.RulingApprove, Calls: []events.CallVerdict{{Call: c.Call, Digest: c.Digest}}}
	})
}

func rule(action events.Action, deadline time.Duration) *events.Policy {
	return &events.Policy{Rules: []events.Rule{{Tool: "hold", Action: action, DeadlineMS: deadline.Milliseconds()}}}
}

// inState returns the states of a turn: how to reach each, and what ends the turn
// after the log has expired.
func inState() map[string]struct {
	settings events.Settings
	reach    func(e *expiry) (then func())
	status   events.Status // of the call
} {
	run := func(e *expiry) func() { return func() { <-e.tool.running; e.tool.release <- struct{}{} } }
	auto := events.Settings{Policy: rule(events.ActionAuto, 0)}
	return map[string]struct {
		settings events.Settings
		reach    func(e *expiry) (then func())
		status   events.Status
	}{
		"generating": {auto, func(e *expiry) func() {
			e.until("a chunk", func(ev events.Event) bool { _, ok := ev.(*events.TextChunk); return ok })
			return run(e)
		}, events.StatusOK},
		"a tool runs": {auto, func(e *expiry) func() {
			e.until("the start of the call", func(ev events.Event) bool { _, ok := ev.(*events.ToolStarted); return ok })
			<-e.tool.running
			return func() { e.tool.release <- struct{}{} }
		}, events.StatusOK},
		"waiting for approval": {events.Settings{Policy: rule(events.ActionApprove, 0)}, func(e *expiry) func() {
			call := e.awaited(events.WaitApproval)
			return func() { e.approve(call); run(e)() }
		}, events.StatusOK},
		"waiting until a deadline": {events.Settings{Policy: rule(events.ActionApprove, 3*time.Second)}, func(e *expiry) func() {
			e.awaited(events.WaitApproval)
			return func() {}
		}, events.StatusExpired},
		"deferred": {events.Settings{Policy: &events.Policy{Rules: []events.Rule{{Tool: "hold", Action: events.ActionDefer, DelayMS: 3000}}}}, func(e *expiry) func() {
			e.awaited(events.WaitTime)
			return run(e)
		}, events.StatusOK},
		"waiting for a result from outside": {events.Settings{Policy: rule(events.ActionDefer, 0)}, func(e *expiry) func() {
			call := e.awaited(events.WaitResult)
			return func() {
				frame, err := events.AppendFrame(nil, &events.ToolResult{Call: call.Call, Status: events.StatusOK, Content: "held"})
				if err == nil {
					_, err = e.Lane(topology.OfCall(e.Shards(), e.conversation, events.ChannelCall, call.Call)).Append(e.ctx, 0, frame)
				}
				if err != nil {
					e.t.Error(err)
				}
			}
		}, events.StatusOK},
		"with a message in the queue": {auto, func(e *expiry) func() {
			<-e.tool.running
			id := e.sendNew(e.conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "again"} })
			e.until("the answer to the second message", func(ev events.Event) bool {
				a, ok := ev.(*events.InputAnswered)
				return ok && a.Input == id
			})
			return func() { e.tool.release <- struct{}{} }
		}, events.StatusOK},
		"hooks pending": {events.Settings{Policy: rule(events.ActionAuto, 0), Hooks: []events.Hook{{Name: "slow", When: events.HookBefore, DeadlineMS: 30_000}}}, func(e *expiry) func() {
			e.until("the request of the hook", func(ev events.Event) bool { _, ok := ev.(*events.HooksRequested); return ok })
			return func() { close(e.hook); run(e)() }
		}, events.StatusOK},
	}
}

// TestATurnContinuesAfterItsLogExpired: in each state of a turn all messages of
// CONV expire, under the same owner or before a takeover. The turn continues and
// ends once; a writer with the old position is fenced.
func TestATurnContinuesAfterItsLogExpired(t *testing.T) {
	for name, state := range inState() {
		for owner, restart := range map[string]bool{"same owner": false, "takeover": true} {
			t.Run(strings.ReplaceAll(name+"/"+owner, " ", "_"), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				defer cancel()
				e := &expiry{deployment: serve(t), t: t, conversation: newID(t), hook: make(chan struct{}), ctx: ctx,
					tool: held{running: make(chan struct{}, 8), release: make(chan struct{}, 8)}}
				tools, err := tool.New(e.tool)
				if err != nil {
					t.Fatal(err)
				}
				hooks := make(chan error, 1)
				go func() {
					hooks <- e.Hooks().Serve(ctx, events.HookBefore, "slow", func(ctx context.Context, _ *events.HookCall) (*events.HookAnswered, error) {
						select {
						case <-e.hook:
						case <-ctx.Done():
						}
						return &events.HookAnswered{}, nil
					})
				}()
				defer func() { cancel(); <-hooks }()
				e.run(e.tools("tools", tools))
				e.run(e.models("models", scriptFile(t, expiryScript)))
				stop := e.run(e.orchestrator("orchestrator"))
				e.viewer = e.view(ctx, e.conversation)
				e.sendNew(e.conversation, func(id string) events.Event { s := state.settings; s.ID = id; return &s })
				e.message = e.sendNew(e.conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
				then := state.reach(e)
				if restart {
					stop()
				}
				e.expire()
				lane := topology.At(e.Shards(), e.conversation, events.ChannelTurn)
				if _, err := e.Lane(lane).Append(ctx, 1, []byte(`{"type":"Nonsense"}`)); !errors.Is(err, bus.ErrFenced) {
					t.Errorf("a writer with an old position of the lane got %v", err)
				}
				if restart {
					e.run(e.orchestrator("another"))
				}
				then()
				e.ends(state.status)
				// Between turns.
				e.expire()
				if _, end := e.turn(e.conversation, "again"); end.Outcome != events.OutcomeCompleted {
					t.Errorf("the next turn: %s %v", end.Outcome, end.Error)
				}
			})
		}
	}
}

// ends blocks until the turn ends, and checks its end.
func (e *expiry) ends(status events.Status) {
	e.t.Helper()
	var end *events.TurnEnded
	e.until("the end", func(ev events.Event) (ok bool) { end, ok = ev.(*events.TurnEnded); return ok })
	calls := e.viewer.state.Transcript.Calls(end.Turn)
	if end.Outcome != events.OutcomeCompleted || len(calls) != 1 || calls[0].Status != status {
		e.t.Errorf("the turn ended as %s (%s, %v) with the calls %+v", end.Outcome, end.Reason, end.Error, calls)
	}
}
