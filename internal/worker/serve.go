package worker

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/topology"
)

// Run announces the tools and takes their calls until ctx ends, then lets running
// calls continue for Drain. Tools that are added or removed meanwhile are announced or
// withdrawn; calls of a tool that is removed run to their end. A tool whose name
// another worker serves with another schema is logged, not served, and tried again
// for as long as the worker runs.
func (w *Tool) Run(ctx context.Context) error {
	w.defaults()
	g, ctx := errgroup.WithContext(ctx)
	s := serving{w: w, g: g, presence: w.Bus.Presence().NewAnnouncement(), queues: map[string]queue{}, running: new(jobs.Running)}
	if n := w.MaxCalls; n > 0 {
		all, low := jobs.NewSemaphore(n), jobs.NewSemaphore(max(1, n/4))
		s.normal, s.low = []jobs.Semaphore{all}, []jobs.Semaphore{low, all}
	}
	g.Go(func() error { return s.run(ctx) })
	return g.Wait()
}

func (w *Tool) defaults() {
	if w.Slots == 0 {
		w.Slots = 16
	}
	if w.Timeout == 0 {
		w.Timeout = 2 * time.Minute
	}
}

// serving is what a worker serves now.
type serving struct {
	w        *Tool
	g        *errgroup.Group
	presence *bus.Announcement
	queues   map[string]queue // by tool
	reported string           // the last problem, logged once
	// What all tools share; calls of low priority have a quarter at most.
	normal, low []jobs.Semaphore
	running     *jobs.Running // a tool that changes has a new pool while the one before drains
}

// queue is one that calls are taken from.
type queue struct {
	spec events.ToolSpec
	stop context.CancelFunc
}

func (s *serving) run(ctx context.Context) error {
	defer s.presence.Leave(ctx)
	for {
		changed := s.w.Tools.Changed()
		announced, err := s.presence.Set(ctx, s.w.Offers())
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.report(err)
		// A tool that could not be announced again is still served: the server is away
		// for a moment, and running calls must not end. When nothing could be announced
		// at all, nothing changes.
		if err == nil || len(announced) > 0 || bus.Unserved(err) {
			if err := s.serve(ctx, announced); err != nil {
				return err
			}
		}
		if !s.presence.Wait(ctx, changed) {
			return context.Cause(ctx)
		}
	}
}

// report logs what is wrong with the announcement, once.
func (s *serving) report(err error) {
	text := fmt.Sprint(err)
	if err != nil && text != s.reported {
		s.w.Log.Error("not every tool can be announced, trying again", "error", err)
	}
	s.reported = text
}

// serve takes calls of the tools that are announced, and of no others.
func (s *serving) serve(ctx context.Context, announced []bus.Offer) error {
	now := map[string]bool{}
	for _, o := range announced {
		now[o.Name] = true
		if q, ok := s.queues[o.Name]; ok {
			if reflect.DeepEqual(q.spec, *o.Tool) {
				continue
			}
			q.stop()
		}
		if err := s.start(ctx, *o.Tool); err != nil {
			return err
		}
	}
	for name, q := range s.queues {
		if !now[name] {
			q.stop()
			delete(s.queues, name)
		}
	}
	return nil
}

// start takes the calls of a tool. Calls of low priority have a queue of their own,
// and a quarter of the slots at most.
func (s *serving) start(ctx context.Context, spec events.ToolSpec) error {
	normal, err := topology.ToolQueue(spec.Name)
	if err != nil {
		return err
	}
	low, err := topology.LowQueue(spec.Name)
	if err != nil {
		return err
	}
	slots := s.w.Slots
	if spec.Concurrency > 0 {
		slots = spec.Concurrency
	}
	own, stop := context.WithCancel(ctx)
	s.queues[spec.Name] = queue{spec, stop}
	run := limit(slots, s.w.handle)
	pool := jobs.WorkerPool{Bus: s.w.Bus, Log: s.w.Log, Drain: s.w.Drain, Running: s.running, Metrics: s.w.Stats.jobs(), Queues: map[topology.Queue]jobs.Work{
		normal: {Handle: run, Slots: slots, Semaphores: s.normal},
		low:    {Handle: run, Slots: max(1, slots/4), Semaphores: s.low},
	}}
	s.g.Go(func() error {
		defer stop()
		if err := pool.Run(own); err != nil && own.Err() == nil {
			return err
		}
		return nil
	})
	return nil
}

// limit bounds how many jobs run at once, whichever queue they come from.
func limit(slots int, run jobs.Handler) jobs.Handler {
	free := jobs.NewSemaphore(slots)
	return func(ctx context.Context, j jobs.Job) error {
		if err := free.Acquire(ctx); err != nil {
			return jobs.RetryAfter(err, 0)
		}
		defer free.Release()
		return run(ctx, j)
	}
}
