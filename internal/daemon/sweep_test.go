package daemon_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/orchestrator"
	"github.com/parleybus/parley/internal/topology"
)

// jobs counts what is in JOBS.
func (d *deployment) jobs() uint64 {
	d.t.Helper()
	_, js := d.Raw()
	s, err := js.Stream(d.t.Context(), topology.StreamJobs)
	if err != nil {
		d.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// A job that no worker has taken is purged with its turn.
func TestTheJobsOfACancelledTurnArePurged(t *testing.T) {
	d := serve(t)
	d.run(d.orchestrator("owner"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	follower := d.follow(ctx, newID(t))
	defer follower.stop()
	if err := follower.send(ctx, &events.Settings{Route: "nobody/m"}); err != nil {
		t.Fatal(err)
	}
	if err := follower.send(ctx, &events.UserMessage{Text: "go"}); err != nil {
		t.Fatal(err)
	}
	within(t, "the generation's job is not in its queue", func() bool { return d.jobs() == 1 })
	if err := follower.send(ctx, &events.Cancel{}); err != nil {
		t.Fatal(err)
	}
	within(t, "the job of the cancelled turn stays in its queue", func() bool { return d.jobs() == 0 })
}

func TestTheOwnerOfTheFirstShardRemovesLeftovers(t *testing.T) {
	d := serve(t)
	for i := range 20 {
		q, err := topology.ToolQueue(fmt.Sprintf("gone_%d", i))
		if err == nil {
			err = d.Jobs().EnsureQueue(t.Context(), q)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	quick := orchestrator.Sweep{Every: 20 * time.Millisecond, Unoffered: time.Millisecond, Grace: time.Nanosecond}
	d.run(daemon.Role{Name: "orchestrator", Start: func(_ context.Context, b *bus.Bus) (func(context.Context) error, error) {
		return (&orchestrator.Orchestrator{Bus: b, Name: "owner", Log: d.log, Sweep: quick}).Run, nil
	}})
	within(t, "queues of tools without a worker still exist", func() bool {
		all, err := d.Jobs().Queues(t.Context())
		return err == nil && len(all) == 0
	})
}
