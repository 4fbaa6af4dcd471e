package daemon_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// threeCalls makes a call that runs, one that needs approval and one that is
// deferred.
const threeCalls = `
model: demo
pace: 0
rules:
  - name: three calls
    match: .
    steps:
      - text: Three at once.
        calls:
          - {tool: calculate, arguments: {expression: "1+1"}}
          - {tool: calculate, arguments: {expression: "2+2"}}
          - {tool: calculate, arguments: {expression: "3+3"}}
      - text: "Done: {{result 0}} {{result 1}} {{result 2}}."
`

func threeCallsPolicy(deferred time.Duration) *events.Policy {
	return &events.Policy{Rules: []events.Rule{
		{When: `args.expression == "2+2"`, Action: events.ActionApprove, Reason: "twos matter"},
		{When: `args.expression == "3+3"`, Action: events.ActionDefer, DelayMS: deferred.Milliseconds()},
	}}
}

// viewer follows a conversation from its beginning.
type viewer struct {
	t     *testing.T
	next  func() (bus.Message, error, bool)
	seen  []bus.Message
	state *accumulator.Conversation
}

func (d *deployment) view(ctx context.Context, conversation string) *viewer {
	v := &viewer{t: d.t, state: &accumulator.Conversation{ID: conversation, Transcript: accumulator.NewTranscript()}}
	messages := make(chan bus.Message)
	failed := make(chan error, 1)
	go func() {
		defer close(messages)
		for m, err := range d.Conversation(conversation).Attach(ctx, bus.From{}) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case messages <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	v.next = func() (bus.Message, error, bool) {
		m, ok := <-messages
		if !ok {
			select {
			case err := <-failed:
				return m, err, false
			default:
				return m, ctx.Err(), false
			}
		}
		return m, nil, true
	}
	return v
}

// until reads until fits returns true for an event, in a Decision or not.
func (v *viewer) until(what string, fits func(events.Event) bool) {
	v.t.Helper()
	for {
		m, err, ok := v.next()
		if !ok {
			v.t.Fatalf("waiting for %s: the log ended: %v; state %+v", what, err, v.state.State)
		}
		v.seen = append(v.seen, m)
		v.state.Apply(m.Folded())
		found := false
		for _, l := range m.Lines {
			found = found || fits(l.Event)
			if d, ok := l.Event.(*events.Decision); ok {
				for _, l := range d.Events {
					found = found || fits(l.Event)
				}
			}
		}
		if found {
			return
		}
	}
}

// sendNew publishes an input and returns its id.
func (d *deployment) sendNew(conversation string, make func(id string) events.Event) string {
	d.t.Helper()
	id := newID(d.t)
	if _, err := d.Conversation(conversation).Publish(d.t.Context(), id, make(id)); err != nil {
		d.t.Fatal(err)
	}
	return id
}

// waiting returns the call that waits for w.
func waiting(t *testing.T, s *accumulator.Conversation, w events.Wait) events.CallState {
	t.Helper()
	for _, c := range s.Calls {
		if c.Waiting() && c.Waits == w {
			return c
		}
	}
	t.Fatalf("no call waits for %s: %+v", w, s.Calls)
	return events.CallState{}
}

// TestThreeCallsRunWaitAndAreDeferred is the first conversation of issue 3,
// without and with a restart of every process while it waits.
func TestThreeCallsRunWaitAndAreDeferred(t *testing.T) {
	for name, restart := range map[string]bool{"nothing restarts": false, "every process is started anew while it waits": true} {
		t.Run(name, func(t *testing.T) {
			d := serve(t)
			script := scriptFile(t, threeCalls)
			roles := func() (stop func()) {
				tools, models, orchestrator := d.run(d.tools("tools", builtins(t))), d.run(d.models("models", script)), d.run(d.orchestrator("orchestrator"))
				return func() { orchestrator(); models(); tools() }
			}
			stop := roles()
			conversation := newID(t)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			d.sendNew(conversation, func(id string) events.Event {
				return &events.Settings{ID: id, Policy: threeCallsPolicy(3 * time.Second)}
			})
			d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
			v := d.view(ctx, conversation)
			var paused *events.Paused
			v.until("the pause", func(e events.Event) bool {
				p, ok := e.(*events.Paused)
				if ok {
					paused = p
				}
				return ok
			})
			if len(paused.Awaiting) != 2 || paused.Awaiting[0].For != events.WaitApproval || paused.Awaiting[1].For != events.WaitTime || paused.Awaiting[0].Reason != "twos matter" {
				t.Fatalf("awaited: %+v", paused.Awaiting)
			}
			v.until("the result of the first call", func(e events.Event) bool { _, ok := e.(*events.ToolResult); return ok })
			if restart {
				stop()
				roles()
			}
			call := waiting(t, v.state, events.WaitApproval)
			d.sendNew(conversation, func(id string) events.Event {
				return &events.Verdict{ID: id, Verdict: events.RulingApprove, From: "ann", Calls: []events.CallVerdict{{Call: call.Call, Digest: call.Digest}}}
			})
			v.until("the result of the approved call", func(e events.Event) bool { r, ok := e.(*events.ToolResult); return ok && r.Call == call.Call })
			deferred := waiting(t, v.state, events.WaitTime)
			v.until("the result of the deferred call", func(e events.Event) bool { r, ok := e.(*events.ToolResult); return ok && r.Call == deferred.Call })
			var end *events.TurnEnded
			v.until("the end", func(e events.Event) (ok bool) { end, ok = e.(*events.TurnEnded); return ok })
			if _, text := v.state.Transcript.Ended(end.Turn); end.Outcome != events.OutcomeCompleted || !strings.Contains(text, "Done: 2 4 6.") {
				t.Errorf("%s %s: %q", end.Outcome, end.Reason, text)
			}
			for _, m := range v.seen {
				if m.Channel == events.ChannelCall && m.Call == deferred.Call && m.Time.UnixMilli() < deferred.DueMS {
					t.Errorf("the deferred call ran at %d, it was due at %d", m.Time.UnixMilli(), deferred.DueMS)
				}
			}
			if left, err := d.Timers().List(ctx); err != nil || len(left) > 0 {
				t.Errorf("timers are left: %v %v", left, err)
			}
		})
	}
}
