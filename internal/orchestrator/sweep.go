package orchestrator

import (
	"cmp"
	"context"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Sweep configures how leftovers are removed: queues of tools and routes
// without workers, objects of finished jobs, jobs of turns that have ended.
// The zero value has the defaults.
type Sweep struct {
	Every     time.Duration // 5 minutes when zero
	Unoffered time.Duration // how long a queue stays without a worker; an hour when zero
	Grace     time.Duration // how old a job and its object must be; 15 minutes when zero
}

// sweep removes leftovers periodically. The owner of shard 0 does it for
// all.
func (s *shard) sweep(ctx context.Context) {
	cfg := s.o.Sweep
	sweeper := &bus.Sweeper{Bus: s.o.Bus, Unoffered: cmp.Or(cfg.Unoffered, time.Hour), Grace: cmp.Or(cfg.Grace, 15*time.Minute)}
	t := time.NewTicker(cmp.Or(cfg.Every, 5*time.Minute))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		// Another orchestrator may have deleted queues.
		s.o.Bus.Jobs().ForgetQueues()
		if s.n != 0 {
			continue
		}
		n, err := sweeper.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.o.Log.Warn("some leftovers could not be removed, retrying later", "error", err)
		}
		if n != (bus.Swept{}) {
			s.o.Log.Info("leftovers removed", "queues", n.Queues, "jobs", n.Jobs, "objects", n.Objects)
		}
	}
}

// dropJobs purges jobs that a Decision made obsolete before a worker started
// them. If that fails, the sweep removes the job, or its worker finds it
// stale.
func (s *shard) dropJobs(ctx context.Context, c *conversation, open []events.Line) {
	if c.state.Gone() {
		return // the purge counts them
	}
	for _, l := range open {
		switch e := l.Event.(type) {
		case *events.GenerationRequested:
			if c.state.Generation == e.Generation {
				continue
			}
		case *events.ToolCallRequested:
			if c.state.Awaits(e.Call) {
				continue
			}
		}
		for _, subject := range topology.JobsOf(l.Event) {
			if err := s.o.Bus.Jobs().Drop(ctx, subject); err != nil && ctx.Err() == nil {
				s.o.Log.Warn("an obsolete job could not be removed from its queue yet", "job", subject, "error", err)
			}
		}
	}
}
