package daemon_test

import (
	"context"
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

// olderCopy returns a copy of the log after one turn.
func olderCopy(t *testing.T, dir, script string) (backup string) {
	t.Helper()
	backup = filepath.Join(t.TempDir(), "conv")
	session(t, dir, script, func(d *deployment, start func() func()) {
		start()
		d.turn(newID(t), "before")
	})
	if err := os.CopyFS(backup, os.DirFS(logOn(dir))); err != nil {
		t.Fatal(err)
	}
	return backup
}

// TestALogThatLostItsEndContinues: CONV is restored from an older copy of its
// volume, while HISTORY, the checkpoint, jobs and timers are newer.
func TestALogThatLostItsEndContinues(t *testing.T) {
	dir, script := t.TempDir(), scriptFile(t, threeCalls)
	a, fresh := newID(t), newID(t)
	backup := olderCopy(t, dir, script)
	var call events.CallState
	var cursor bus.Cursor
	session(t, dir, script, func(d *deployment, start func() func()) {
		start()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		call, cursor = d.pausedTurn(ctx, a)
	})
	replace(t, dir, backup)
	session(t, dir, script, func(d *deployment, start func() func()) {
		end, _, err := d.Shard(0).End(t.Context())
		if err != nil || end >= cursor.Sequence {
			t.Fatalf("the log ends at %d, want an end before %d: %v", end, cursor.Sequence, err)
		}
		// No orchestrator runs: these messages reuse the lost sequences.
		d.sendNew(fresh, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
		d.approve(a, call)
		start()
		if ended := d.endOf(fresh); ended.Outcome != events.OutcomeCompleted {
			t.Errorf("a conversation that started in the gap ended as %s %v", ended.Outcome, ended.Error)
		}
		if ended := d.endOf(a); ended.Outcome != events.OutcomeCompleted {
			t.Errorf("the turn that waited ended as %s %v", ended.Outcome, ended.Error)
		}
		d.isLost(a, cursor)
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
