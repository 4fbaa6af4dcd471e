package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/topology"
)

// Orchestrator owns shards and decides for the conversations in them.
type Orchestrator struct {
	Bus  *bus.Bus
	Name string // names the owner in leases and Decisions
	Log  *slog.Logger
	// Limits bound turns whose Settings say nothing; what they leave out is as in
	// [DefaultLimits].
	Limits events.Limits
	// Policy stands where Settings have none; Prices are what models cost.
	Policy *events.Policy
	Prices policy.Prices
	// Hooks are asked about every turn; those without a function on the bus.
	Hooks []Hook
	// Check reports why arguments do not fit a tool's schema. It is called from
	// several goroutines.
	Check func(spec events.ToolSpec, arguments string) error
	// Owned is told when a shard is owned and caught up; may be nil.
	Owned func(shard int)

	// Held counts the conversations in memory: those in which something is under
	// way. One that waits for somebody is not. May be nil.
	Held *atomic.Int64

	judge *policy.Judge
}

// Run owns every shard that is free, and takes over those that become free,
// until ctx ends.
func (o *Orchestrator) Run(ctx context.Context) error {
	o.judge = new(policy.Judge)
	if o.Held == nil {
		o.Held = new(atomic.Int64)
	}
	o.Limits = Env{Settings: events.Settings{Limits: o.Limits}, Limits: DefaultLimits()}.limits()
	roster := o.Bus.NewRoster()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.again(ctx, "the roster is read again", func() error { return roster.Run(ctx) }) })
	select {
	case <-roster.Ready():
	case <-ctx.Done():
		return g.Wait()
	}
	offers := newOfferings(roster)
	for n := range o.Bus.Shards() {
		g.Go(func() error { return o.own(ctx, n, offers) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("orchestrator: %w", err)
	}
	return nil
}

// rest is how long something that failed is left alone before it is tried
// again: a server that lost its leader needs a few seconds.
const rest = 200 * time.Millisecond

// again does something until ctx ends. Nothing that fails on the bus ends an
// orchestrator: it would only be started again.
func (o *Orchestrator) again(ctx context.Context, what string, do func() error) error {
	for {
		err := do()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		o.Log.Warn(what, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rest):
		}
	}
}

// own owns one shard, again and again.
func (o *Orchestrator) own(ctx context.Context, n int, offers *offerings) error {
	return o.again(ctx, fmt.Sprintf("shard %d is given up and taken again", n), func() error { return o.ownOnce(ctx, n, offers) })
}

// ownOnce owns a shard until its lease is lost or something fails.
func (o *Orchestrator) ownOnce(ctx context.Context, n int, offers *offerings) error {
	lease, err := o.Bus.TakeLease(ctx, n, o.Name)
	if err != nil {
		return err
	}
	s := newShard(o, n, offers)
	g, run := errgroup.WithContext(ctx)
	work, stop := context.WithCancelCause(run)
	defer stop(nil)
	keep, release := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		// The lease is given back when the work has stopped, not before.
		defer release()
		return s.run(work, stop)
	})
	g.Go(func() error {
		err := lease.Keep(keep)
		if errors.Is(err, bus.ErrLeaseLost) {
			stop(err)
		}
		return err
	})
	return g.Wait()
}

// env is what a decision in a conversation knows.
func (s *shard) env(now time.Time, settings events.Settings) Env {
	e := s.offers.env(now)
	e.Settings, e.Check, e.Judge = settings, s.o.Check, s.o.judge
	e.Limits, e.Policy, e.Prices = s.o.Limits, s.o.Policy, s.o.Prices
	for _, h := range s.o.Hooks {
		e.Hooks = append(e.Hooks, h.Hook)
	}
	return e
}

// stop is when a conversation's turn is stopped in the middle, as [hardStop] has
// it.
func (s *shard) stop(c *conversation) int64 {
	return hardStop(&c.state.State, Env{Settings: c.state.Transcript.Settings, Limits: s.o.Limits}.limits())
}

// publish puts the jobs in their queues that a Decision's events ask for. It
// may be called again: a doubled job is refused, or finds its lane ended.
func (s *shard) publish(ctx context.Context, c *conversation, es []events.Line) error {
	for _, l := range es {
		var err error
		switch e := l.Event.(type) {
		case *events.GenerationRequested:
			if e.Generation == c.state.Generation {
				err = s.publishGeneration(ctx, c, e)
			}
		case *events.ToolCallRequested:
			err = s.publishCall(ctx, c, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *shard) publishGeneration(ctx context.Context, c *conversation, e *events.GenerationRequested) error {
	queue, err := topology.LLMQueue(e.Route)
	if err != nil {
		return err
	}
	if err := s.o.Bus.EnsureQueue(ctx, queue); err != nil {
		return err
	}
	settings := c.state.Transcript.Settings
	env := s.env(time.Now(), settings)
	a := topology.At(s.o.Bus.Shards(), c.id, events.ChannelGen)
	job := &events.GenerationJob{
		Conversation: c.id, Subject: a.Subject(topology.Conv), LaneSequence: c.requestedAt, Decision: c.state.TurnLane,
		Turn: e.Turn, Generation: e.Generation, Step: e.Step, Route: e.Route, NotBefore: e.NotBefore,
		System: strings.Join(slices.Concat(nonEmpty(settings.System), c.state.Transcript.Context(e.Turn)), "\n\n"), Messages: c.state.Transcript.Messages(), Parameters: settings.Parameters,
	}
	for _, name := range sortedNames(env.Tools) {
		if chosen(settings.Tools, name) {
			job.Tools = append(job.Tools, env.Tools[name])
		}
	}
	subject, err := topology.GenerationJob(e.Route, e.Generation)
	if err != nil {
		return err
	}
	return s.o.Bus.PublishJob(ctx, c.id, subject, e.Generation, job)
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func (s *shard) publishCall(ctx context.Context, c *conversation, e *events.ToolCallRequested) error {
	queueOf, subjectOf := topology.ToolQueue, topology.ToolJob
	if c.state.Transcript.Settings.Priority == events.PriorityLow && s.offers.low(e.Tool) {
		queueOf, subjectOf = topology.LowQueue, topology.LowToolJob
	}
	queue, err := queueOf(e.Tool)
	if err != nil {
		return err
	}
	if err := s.o.Bus.EnsureQueue(ctx, queue); err != nil {
		return err
	}
	shards := s.o.Bus.Shards()
	job := &events.ToolJob{
		Conversation: c.id, Turn: e.Turn, Call: e.Call, Tool: e.Tool, Effect: e.Effect, Decision: c.state.TurnLane,
		Subject:   topology.OfCall(shards, c.id, events.ChannelCall, e.Call).Subject(topology.Conv),
		Output:    topology.OfCall(shards, c.id, events.ChannelOut, e.Call).Subject(topology.Conv),
		Arguments: events.Arguments(c.state.Transcript.Arguments(e.Call)),
	}
	if stop := s.stop(c); stop > 0 {
		job.TimeoutMS = max(stop-time.Now().UnixMilli(), 1)
	}
	subject, err := subjectOf(e.Tool, e.Call)
	if err != nil {
		return err
	}
	return s.o.Bus.PublishJob(ctx, c.id, subject, e.Call, job)
}
