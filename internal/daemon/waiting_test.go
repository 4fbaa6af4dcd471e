package daemon_test

import (
	"cmp"
	"context"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/events"
)

// oneCall makes a call that a person must approve.
const oneCall = `
model: demo
pace: 0
rules:
  - name: one call
    match: .
    steps:
      - calls:
          - {tool: calculate, arguments: {expression: "2+2"}}
      - text: "It is {{result 0}}."
`

func approveEverything() *events.Policy {
	return &events.Policy{Rules: []events.Rule{{Action: events.ActionApprove}}}
}

// TestConversationsThatWaitCostNothing makes many conversations wait for approval:
// they must use no memory, and answering one must take no longer than if it waits
// alone. PARLEY_WAITING is their number; make chaos uses 10,000.
func TestConversationsThatWaitCostNothing(t *testing.T) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("PARLEY_WAITING"), "300"))
	if err != nil {
		t.Fatal(err)
	}
	d, held := serve(t), new(atomic.Int64)
	for _, r := range []daemon.Role{d.tools("tools", builtins(t)), d.models("models", scriptFile(t, oneCall)), orchestrator.Role(daemon.Config{Name: "orchestrator"}, d.log, nil, held)} {
		d.run(r)
	}
	const tries = 9
	// The server looks at what lies between a conversation's messages, up to a block of
	// them; the race detector makes that three to four times as long as all else.
	const slower = 8
	few := d.pauseMany(tries)
	released := func() bool { return held.Load() == 0 }
	within(t, "the orchestrator holds a few conversations that only wait", released) // as with many: each is read from the log
	alone := d.fastest(few)
	runtime.GC()
	before := inUse()
	all := d.pauseMany(n + tries)
	within(t, "the orchestrator holds conversations that only wait", released)
	runtime.GC()
	grown := float64(inUse()-before) / float64(n+tries)
	among, answered := d.fastest(all[:tries]), tries
	// Another process may have had the processor: what is slow stays slow.
	for among > slower*alone && answered < 10*tries {
		among = min(among, d.fastest(all[answered:answered+tries]))
		answered += tries
	}
	t.Logf("%d conversations wait and %d are held; the process grew by %.0f bytes for each, most of it the embedded server's index; answered in %v when few wait, in %v among them", n, held.Load(), grown, alone, among)
	if waits, err := d.Timers().List(t.Context()); err != nil || len(waits) != len(all)-answered {
		t.Errorf("%d conversations have a timer, %d wait: %v", len(waits), len(all)-answered, err)
	}
	if among > slower*alone {
		t.Errorf("answering one of %d took %v, %v when few wait", n, among, alone)
	}
}

// within blocks until ok returns true.
func within(t *testing.T, otherwise string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for end := time.After(20 * time.Second); !ok(); {
		select {
		case <-look.C:
		case <-end:
			t.Fatal(otherwise)
		}
	}
}

// fastest answers all conversations and returns the shortest time.
func (d *deployment) fastest(ids []string) time.Duration {
	d.t.Helper()
	best := time.Duration(math.MaxInt64)
	for _, id := range ids {
		best = min(best, d.answerTimes(id))
	}
	return best
}

// inUse returns the memory in use, in bytes.
func inUse() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// pauseMany starts conversations and blocks until they wait for approval.
func (d *deployment) pauseMany(n int) []string {
	d.t.Helper()
	ids := make([]string, n)
	g, ctx := errgroup.WithContext(d.t.Context())
	g.SetLimit(64)
	for i := range ids {
		ids[i] = newID(d.t)
		g.Go(func() error { return d.pauseOne(ctx, ids[i]) })
	}
	if err := g.Wait(); err != nil {
		d.t.Fatal(err)
	}
	return ids
}

func (d *deployment) pauseOne(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	settings, question := newID(d.t), newID(d.t)
	if _, err := d.Conversation(id).Publish(ctx, settings, &events.Settings{ID: settings, Policy: approveEverything()}); err != nil {
		return err
	}
	if _, err := d.Conversation(id).Publish(ctx, question, &events.UserMessage{ID: question, Text: "go"}); err != nil {
		return err
	}
	for m, err := range d.Conversation(id).Attach(ctx, bus.From{}) {
		if err != nil {
			return err
		}
		if paused(m) {
			return nil
		}
	}
	return ctx.Err()
}

func paused(m bus.Message) bool {
	return slices.ContainsFunc(m.Lines, func(l events.Line) bool {
		d, ok := l.Event.(*events.Decision)
		return ok && d.State.Phase == events.PhasePaused
	})
}

// answerTimes approves a conversation's call and returns the time until the
// Decision was stored.
func (d *deployment) answerTimes(id string) time.Duration {
	d.t.Helper()
	c, err := d.Conversation(id).Describe(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	call := waiting(d.t, &accumulator.Conversation{State: c.State}, events.WaitApproval)
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	v := d.view(ctx, id)
	v.until("the pause", func(e events.Event) bool { _, ok := e.(*events.Paused); return ok })
	began := time.Now()
	d.sendNew(id, func(input string) events.Event {
		return &events.Verdict{ID: input, Verdict: events.RulingApprove, Calls: []events.CallVerdict{{Call: call.Call, Digest: call.Digest}}}
	})
	v.until("the answer", func(e events.Event) bool { a, ok := e.(*events.InputAnswered); return ok && len(a.Calls) == 1 })
	took := time.Since(began)
	v.until("the end", func(e events.Event) bool { _, ok := e.(*events.TurnEnded); return ok })
	return took
}
