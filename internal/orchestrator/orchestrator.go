package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/topology"
)

// Orchestrator owns shards and decides for the conversations in them.
type Orchestrator struct {
	Bus  *bus.Bus
	Name string // names the owner in leases and Decisions
	Log  *slog.Logger
	// Limits apply to turns whose Settings have none, and no Settings exceed them;
	// [DefaultLimits] fill in what is zero, which Settings may exceed.
	Limits events.Limits
	// Policy applies where Settings have none. Prices are the prices of
	// models.
	Policy *events.Policy
	Prices policy.Prices
	// Route is asked when Settings name none; when it is empty, one that workers
	// offer.
	Route string
	// Pools are lists of models that stand in for each other. A pool's name may
	// stand in Settings and in Route.
	Pools policy.Pools
	// Hooks are called for every turn; those without a function are called
	// on the bus.
	Hooks []Hook
	// Identities are those who sign inputs; nil when the deployment has none.
	Identities *identity.Book
	// Ceilings bound what others may make large; those that are 0 have their
	// default.
	Ceilings ceilings.Ceilings
	// Check returns the check of one decision: why arguments do not fit a tool's
	// schema. CheckTool returns why a tool cannot be offered; nil means that all can.
	// Both are called from several goroutines.
	Check     func() func(spec events.ToolSpec, arguments string) error
	CheckTool func(spec events.ToolSpec) error
	// Sweep configures how leftovers are removed.
	Sweep Sweep
	// Owned is called when a shard is owned and its log was read to the end;
	// may be nil.
	Owned func(shard int)

	// Held counts the conversations in memory: those with work in progress.
	// One that waits for a person is not in memory. May be nil.
	Held *atomic.Int64

	judge     *policy.Judge
	maxLimits events.Limits
	meter     meter
	large     *rate.Limiter // of the bytes of large inputs
	breakers  *breakers
}

// readsPerSecond bounds the consumers that an orchestrator creates for users, and
// readsAtOnce those at a moment.
const readsPerSecond, readsAtOnce = 500, 2000

// Run owns every shard that is free, and takes over those that become free,
// until ctx ends.
func (o *Orchestrator) Run(ctx context.Context) error {
	o.Ceilings = o.Ceilings.WithDefaults()
	o.judge = &policy.Judge{Ceilings: o.Ceilings}
	o.large = rate.NewLimiter(largeRate, ceilings.MostInputBytes)
	o.breakers = newBreakers(o.Pools, o.Log)
	if o.Held == nil {
		o.Held = new(atomic.Int64)
	}
	o.maxLimits = o.Limits
	o.Limits = Env{Settings: events.Settings{Limits: o.Limits}, Limits: DefaultLimits(), MaxLimits: o.maxLimits, Ceilings: o.Ceilings}.limits()
	roster := o.Bus.Presence().NewRoster()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { o.Bus.Deployment().KeepCopying(ctx); return nil })
	g.Go(func() error {
		return o.retryForever(ctx, "the roster cannot be read, retrying", func() error { return roster.Run(ctx) })
	})
	reads := rate.NewLimiter(readsPerSecond, readsAtOnce)
	g.Go(func() error {
		return o.retryForever(ctx, "requests of users cannot be answered, retrying", func() error { return o.Bus.Deployment().ServeUsers(ctx, reads.Allow) })
	})
	select {
	case <-roster.Ready():
	case <-ctx.Done():
		return g.Wait()
	}
	offers := newOfferings(o.Bus, roster, o.Log, func(tool string) events.Effect { return policy.Effect(o.Policy, tool) })
	offers.refuse = o.refuseTool
	g.Go(func() error {
		return o.retryForever(ctx, "the known tools cannot be read, retrying", func() error { return offers.run(ctx) })
	})
	select {
	case <-offers.ready:
	case <-ctx.Done():
		return g.Wait()
	}
	for n := range o.Bus.Shards() {
		g.Go(func() error { return o.own(ctx, n, offers) })
	}
	if len(o.Pools) > 0 {
		g.Go(func() error { return o.Bus.Presence().Stay(ctx, PoolOffers(o.Name, o.Pools)) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("orchestrator: %w", err)
	}
	return nil
}

// retryBackoff is the time between tries of what failed on the bus: a server
// that lost its leader needs a few seconds.
const retryBackoff = 200 * time.Millisecond

// retryForever calls do until ctx ends. No failure on the bus ends an
// orchestrator: it would only be restarted.
func (o *Orchestrator) retryForever(ctx context.Context, what string, do func() error) error {
	for {
		err := do()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		o.Log.Warn(what, "error", err)
		o.backoff(ctx)
	}
}

// backoff waits for [retryBackoff], or until ctx ends.
func (o *Orchestrator) backoff(ctx context.Context) {
	t := time.NewTimer(retryBackoff)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// own owns one shard, and takes it again after each loss, until ctx ends.
func (o *Orchestrator) own(ctx context.Context, n int, offers *offerings) error {
	return o.retryForever(ctx, fmt.Sprintf("the ownership of shard %d ended, retrying", n), func() error { return o.ownOnce(ctx, n, offers) })
}

// ownOnce owns a shard until its lease is lost or something fails.
func (o *Orchestrator) ownOnce(ctx context.Context, n int, offers *offerings) error {
	lease, err := o.Bus.Shard(n).TakeLease(ctx, o.Name)
	if err != nil {
		return err
	}
	s := newShard(o, n, offers)
	// Who takes the shard again reads, sets timers and publishes jobs again.
	conv, timers, jobs := o.Bus.Remade(topology.ConvStream(n)), o.Bus.Remade(topology.StreamTimers), o.Bus.Remade(topology.StreamJobs)
	g, run := errgroup.WithContext(ctx)
	work, stop := context.WithCancelCause(run)
	defer stop(nil)
	keep, release := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		// The lease is released after the work has stopped, not before.
		defer release()
		return s.run(work, stop)
	})
	g.Go(func() error {
		select {
		case <-work.Done():
		case <-conv:
			stop(fmt.Errorf("stream %s was recreated", topology.ConvStream(n)))
		case <-timers:
			stop(fmt.Errorf("stream %s was recreated", topology.StreamTimers))
		case <-jobs:
			stop(fmt.Errorf("stream %s was recreated", topology.StreamJobs))
		}
		return nil
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

// env returns the input of a decision in a conversation besides its state.
func (s *shard) env(settings events.Settings) Env {
	e := s.offers.env(time.Now())
	e.Settings, e.Check, e.CheckSchema, e.Judge = settings, s.o.Check(), s.o.CheckTool, s.o.judge
	e.Limits, e.Policy, e.Prices, e.Ceilings, e.Identities = s.o.Limits, s.o.Policy, s.o.Prices, s.o.Ceilings, s.o.Identities
	e.Route, e.Pools = cmp.Or(s.o.Route, e.Route), s.o.Pools
	e.MaxLimits = s.o.maxLimits
	for _, h := range s.o.Hooks {
		e.Hooks = append(e.Hooks, h.Hook)
	}
	return e
}

// PoolOffers returns an orchestrator's announcement of its pools, for people.
func PoolOffers(name string, pools policy.Pools) []bus.Offer {
	var all []bus.Offer
	for _, pool := range pools.Names() {
		all = append(all, bus.Offer{Kind: offer.Pool, Name: pool, Worker: name, Models: pools[pool].Models()})
	}
	return all
}

// stop returns when a conversation's turn is stopped in the middle of a
// step, as [hardStop] does.
func (s *shard) stop(c *conversation) int64 {
	return hardStop(&c.state.State, Env{Settings: c.state.Transcript.Settings, Limits: s.o.Limits, MaxLimits: s.o.maxLimits, Ceilings: s.o.Ceilings}.limits())
}
