package daemon_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// session starts a server on a directory, runs do, and stops everything. do starts
// the roles with start.
func session(t *testing.T, dir, script string, do func(d *deployment, start func() (stop func()))) {
	t.Helper()
	s, err := broker.Start(broker.Config{Dir: dir, Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b, err := bus.Connect(t.Context(), bus.Config{Log: log}.InProcess(s.InProcess()), &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{b, t, log}
	stops := []func(){}
	do(d, func() func() {
		for _, r := range []func() (stop func()){
			func() func() { return d.run(d.tools("tools", builtins(t))) },
			func() func() { return d.run(d.models("models", script)) },
			func() func() { return d.run(d.orchestrator("orchestrator")) },
		} {
			stops = append(stops, r())
		}
		return func() {}
	})
	slices.Reverse(stops)
	for _, stop := range stops {
		stop()
	}
	d.copied(0)
	b.Close()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
}

// TestALogThatLostItsEndContinues: CONV is restored from an older copy of its
// volume, while HISTORY, the checkpoint, jobs and timers are newer.
func TestALogThatLostItsEndContinues(t *testing.T) {
	dir, script := t.TempDir(), scriptFile(t, threeCalls)
	a, fresh := newID(t), newID(t)
	conv := filepath.Join(dir, "jetstream", "$G", "streams", topology.ConvStream(0))
	backup := filepath.Join(t.TempDir(), "conv")
	session(t, dir, script, func(d *deployment, start func() func()) {
		start()
		d.turn(newID(t), "before")
	})
	if err := os.CopyFS(backup, os.DirFS(conv)); err != nil {
		t.Fatal(err)
	}
	var call events.CallState
	var cursor bus.Cursor
	session(t, dir, script, func(d *deployment, start func() func()) {
		start()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		v := d.view(ctx, a)
		d.sendNew(a, func(id string) events.Event { return &events.Settings{ID: id, Policy: threeCallsPolicy(time.Second)} })
		d.sendNew(a, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
		v.until("the pause", func(e events.Event) bool { _, ok := e.(*events.Paused); return ok })
		call = waiting(t, v.state, events.WaitApproval)
		// Its other calls end; only the approval is pending.
		results := 0
		for results < 2 {
			v.until("a result", func(e events.Event) bool { _, ok := e.(*events.ToolResult); return ok })
			results++
		}
		cursor = v.seen[len(v.seen)-1].Cursor(0)
	})
	if err := errors.Join(os.RemoveAll(conv), os.CopyFS(conv, os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	session(t, dir, script, func(d *deployment, start func() func()) {
		end, _, err := d.Shard(0).End(t.Context())
		if err != nil || end >= cursor.Sequence {
			t.Fatalf("the log ends at %d, want an end before %d: %v", end, cursor.Sequence, err)
		}
		// No orchestrator runs: these messages reuse the lost sequences.
		d.sendNew(fresh, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
		d.sendNew(a, func(id string) events.Event {
			return &events.Verdict{ID: id, Verdict: events.RulingApprove, Calls: []events.CallVerdict{{Call: call.Call, Digest: call.Digest}}}
		})
		start()
		if ended := d.endOf(fresh); ended.Outcome != events.OutcomeCompleted {
			t.Errorf("a conversation that started in the gap ended as %s %v", ended.Outcome, ended.Error)
		}
		if ended := d.endOf(a); ended.Outcome != events.OutcomeCompleted {
			t.Errorf("the turn that waited ended as %s %v", ended.Outcome, ended.Error)
		}
		for _, err := range d.Conversation(a).Attach(t.Context(), bus.From{After: cursor, Ended: true}) {
			var gone *bus.ExpiredError
			if !errors.As(err, &gone) || !gone.OtherLog {
				t.Errorf("a cursor in the lost end: %v", err)
			}
		}
		_, next := d.turn(fresh, "again")
		if next.Outcome != events.OutcomeCompleted {
			t.Errorf("the next turn: %s %v", next.Outcome, next.Error)
		}
		d.copied(0)
	})
}

// endOf blocks until the facts of a conversation hold the end of its only turn.
func (d *deployment) endOf(conversation string) (end *events.TurnEnded) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	for end == nil {
		if err := d.Conversation(conversation).Facts(ctx, 0, func(m bus.Message) error {
			for _, l := range m.Lines {
				if dec, ok := l.Event.(*events.Decision); ok {
					for _, l := range dec.Events {
						if e, ok := l.Event.(*events.TurnEnded); ok {
							end = e
						}
					}
				}
			}
			return nil
		}); err != nil {
			d.t.Fatalf("waiting for the end of %s: %v", conversation, err)
		}
	}
	return end
}

// TestTimersThatAreLostAreSetAgain deletes TIMERS while a call is deferred and no
// orchestrator holds its conversation in memory.
func TestTimersThatAreLostAreSetAgain(t *testing.T) {
	d := start(t, scriptFile(t, threeCalls), builtins(t))
	ctx, stop := d.kept()
	defer stop()
	conversation := newID(t)
	d.sendNew(conversation, func(id string) events.Event {
		return &events.Settings{ID: id, Policy: &events.Policy{Rules: []events.Rule{{Action: events.ActionDefer, DelayMS: 4000}}}}
	})
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v := d.view(ctx, conversation)
	v.until("the pause", func(e events.Event) bool { _, ok := e.(*events.Paused); return ok })
	_, js := d.Raw()
	if err := js.DeleteStream(ctx, topology.StreamTimers); err != nil {
		t.Fatal(err)
	}
	var end *events.TurnEnded
	v.until("the end", func(e events.Event) (ok bool) { end, ok = e.(*events.TurnEnded); return ok })
	if end.Outcome != events.OutcomeCompleted {
		t.Errorf("%s %v", end.Outcome, end.Error)
	}
}
