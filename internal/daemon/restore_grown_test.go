package daemon_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// logOn is the directory of the log of the first shard.
func logOn(dir string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", topology.ConvStream(0))
}

// replace puts a copy in the place of the log of a server that is stopped.
func replace(t *testing.T, dir, backup string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(logOn(dir)), os.CopyFS(logOn(dir), os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
}

// pausedTurn runs a turn until only an approval is pending, and returns the call.
func (d *deployment) pausedTurn(ctx context.Context, conversation string) (call events.CallState, at bus.Cursor) {
	d.t.Helper()
	v := d.view(ctx, conversation)
	d.sendNew(conversation, func(id string) events.Event { return &events.Settings{ID: id, Policy: threeCallsPolicy(time.Second)} })
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v.until("the pause", func(e events.Event) bool { _, ok := e.(*events.Paused); return ok })
	call = waiting(d.t, v.state, events.WaitApproval)
	for range 2 {
		v.until("a result", func(e events.Event) bool { _, ok := e.(*events.ToolResult); return ok })
	}
	return call, v.seen[len(v.seen)-1].Cursor(0)
}

// approve approves a call.
func (d *deployment) approve(conversation string, call events.CallState) {
	d.t.Helper()
	d.sendNew(conversation, func(id string) events.Event {
		return &events.Verdict{ID: id, Verdict: events.RulingApprove, Calls: []events.CallVerdict{{Call: call.Call, Digest: call.Digest}}}
	})
}

// isLost checks that a cursor in the lost end of a log is refused as one of another log.
func (d *deployment) isLost(conversation string, cursor bus.Cursor) {
	d.t.Helper()
	for _, err := range d.Conversation(conversation).Attach(d.t.Context(), bus.From{After: cursor, Ended: true}) {
		var gone *bus.ExpiredError
		if !errors.As(err, &gone) || !gone.OtherLog {
			d.t.Errorf("a cursor in the lost end: %v", err)
		}
	}
}

// TestALogThatGrewPastItsLostEndContinues: the log is an older copy, and others have
// written more to it than it had lost when an owner takes the shard.
func TestALogThatGrewPastItsLostEndContinues(t *testing.T) {
	dir, script := t.TempDir(), scriptFile(t, threeCalls)
	a, fresh := newID(t), newID(t)
	backup := olderCopy(t, dir, script)
	var call events.CallState
	var cursor bus.Cursor
	var lost uint64
	session(t, dir, script, func(d *deployment, start func() func()) {
		start()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		call, cursor = d.pausedTurn(ctx, a)
		var err error
		if lost, _, err = d.Shard(0).End(ctx); err != nil {
			t.Fatal(err)
		}
	})
	replace(t, dir, backup)
	session(t, dir, script, func(d *deployment, start func() func()) {
		d.sendNew(fresh, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
		d.approve(a, call)
		d.grow(lost + 20)
		start()
		if ended := d.endOf(a); ended.Outcome != events.OutcomeCompleted {
			t.Errorf("the turn that waited ended as %s %v", ended.Outcome, ended.Error)
		}
		if ended := d.endOf(fresh); ended.Outcome != events.OutcomeCompleted {
			t.Errorf("a conversation that started in the gap ended as %s %v", ended.Outcome, ended.Error)
		}
		d.isLost(a, cursor)
		if _, next := d.turn(fresh, "again"); next.Outcome != events.OutcomeCompleted {
			t.Errorf("the next turn: %s %v", next.Outcome, next.Error)
		}
	})
}

// grow writes settings until the log ends behind a sequence.
func (d *deployment) grow(past uint64) {
	d.t.Helper()
	filler := newID(d.t)
	for {
		end, _, err := d.Shard(0).End(d.t.Context())
		if err != nil {
			d.t.Fatal(err)
		}
		if end > past {
			return
		}
		d.sendNew(filler, func(id string) events.Event { return &events.Settings{ID: id, System: "filler"} })
	}
}

// TestALogThatIsReplacedUnderItsOwnerContinues: the server is stopped, and comes back
// with an older copy of the log before the lease of the owner has expired. All roles keep
// running.
func TestALogThatIsReplacedUnderItsOwnerContinues(t *testing.T) {
	dir, script := t.TempDir(), scriptFile(t, threeCalls)
	backup := olderCopy(t, dir, script)
	s, err := broker.Start(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b, err := bus.Connect(t.Context(), bus.Config{URL: s.URL(), Log: log}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	d := &deployment{b, t, log}
	t.Cleanup(func() { _ = s.Stop() })
	d.run(d.tools("tools", builtins(t)))
	d.run(d.models("models", script))
	d.run(d.orchestrator("orchestrator"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a := newID(t)
	call, _ := d.pausedTurn(ctx, a)
	lost, _, err := d.Shard(0).End(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d.copied(0)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	replace(t, dir, backup)
	if s, err = broker.Start(broker.Config{Dir: dir, Port: port}); err != nil {
		t.Fatal(err)
	}
	within(t, "the connection does not come back", b.Connected)
	d.approve(a, call)
	d.grow(lost + 20)
	if ended := d.endOf(a); ended.Outcome != events.OutcomeCompleted {
		t.Errorf("the turn that waited ended as %s %v", ended.Outcome, ended.Error)
	}
	if _, next := d.turn(newID(t), "again"); next.Outcome != events.OutcomeCompleted {
		t.Errorf("the next turn: %s %v", next.Outcome, next.Error)
	}
}
