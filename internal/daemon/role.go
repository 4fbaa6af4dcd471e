package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/orchestrator"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/worker"
)

// Role is one of the services, ready to run on a bus.
type Role struct {
	Name string
	// Start makes the service known (workers announce themselves) and returns
	// what runs it.
	Start func(ctx context.Context, b *bus.Bus) (run func(ctx context.Context) error, err error)
}

// Orchestrator is the role that decides. ready is told of each shard that is
// owned, held counts the conversations in memory; both may be nil.
func Orchestrator(cfg Config, log *slog.Logger, ready func(shard int), held *atomic.Int64) Role {
	return Role{Name: "orchestrator", Start: func(_ context.Context, b *bus.Bus) (func(context.Context) error, error) {
		rules, err := cfg.rules()
		if err != nil {
			return nil, err
		}
		var v tool.Validator
		o := &orchestrator.Orchestrator{Bus: b, Name: cfg.Name, Log: log, Check: v.Validate, Owned: ready, Held: held,
			Limits: rules.Limits, Policy: rules.Policy, Prices: rules.Prices, Hooks: cfg.Hooks}
		for _, h := range rules.Hooks {
			o.Hooks = append(o.Hooks, orchestrator.Hook{Hook: h})
		}
		return o.Run, nil
	}}
}

// rules are those of the deployment.
func (cfg Config) rules() (policy.Defaults, error) {
	if cfg.Rules == "" {
		return policy.Defaults{}, nil
	}
	return policy.Load(cfg.Rules)
}

// LLMWorker is the role that asks models.
func LLMWorker(cfg Config, log *slog.Logger, c *catalog.Catalog, stats *worker.Stats) Role {
	return Role{Name: "llm-worker", Start: func(ctx context.Context, b *bus.Bus) (func(context.Context) error, error) {
		w := &worker.LLM{Bus: b, Name: worker.UniqueName(cfg.Name), Log: log, Slots: cfg.Slots, Stats: stats, Routes: map[string]worker.Route{}}
		for name, e := range c.Entries {
			w.Routes[name] = worker.Route{Provider: e.Provider, Model: e.Model}
		}
		return present(ctx, b, w.Offers(c.Default), w.Run)
	}}
}

// ToolWorker is the role that runs tools, those of MCP servers among them. A
// tool whose name another worker serves otherwise is said in the log and not
// served.
func ToolWorker(cfg Config, log *slog.Logger, tools *tool.Registry, servers []*mcp.Server, stats *worker.Stats) Role {
	return Role{Name: "tool-worker", Start: func(ctx context.Context, b *bus.Bus) (func(context.Context) error, error) {
		if err := tools.Set("parley", worker.NewResultReader(b)); err != nil {
			return nil, err
		}
		w := &worker.Tool{Bus: b, Name: worker.UniqueName(cfg.Name), Log: log, Slots: cfg.Slots, MaxCalls: cfg.MaxCalls, Tools: tools, Drain: cfg.Drain, Stats: stats}
		ctx, stop := context.WithCancel(ctx)
		wait := serveMCP(ctx, tools, servers)
		err := b.Announce(ctx, w.Offers())
		if _, taken := errors.AsType[*bus.TakenError](err); err != nil && !taken {
			stop()
			return nil, errors.Join(err, wait())
		}
		return func(ctx context.Context) error {
			defer stop()
			g, ctx := errgroup.WithContext(ctx)
			defer context.AfterFunc(ctx, stop)() // also when the worker fails
			g.Go(wait)                           // an error ends the worker
			g.Go(func() error { return w.Run(ctx) })
			return g.Wait()
		}, nil
	}}
}

// listPatience is how long a worker waits at its start for MCP servers to tell
// their tools. Those of one that takes longer come when they come.
const listPatience = 5 * time.Second

// serveMCP runs servers until ctx ends and waits for them to tell their tools.
// The function it returns waits for their end.
func serveMCP(ctx context.Context, tools *tool.Registry, servers []*mcp.Server) (wait func() error) {
	g, ctx := errgroup.WithContext(ctx)
	told := make(chan struct{}, len(servers))
	for _, s := range servers {
		tell := sync.OnceFunc(func() { told <- struct{}{} })
		g.Go(func() error {
			return s.Run(ctx, func(t ...tool.Tool) error {
				defer tell()
				return tools.Set("mcp "+s.Name, t...)
			})
		})
	}
	enough := time.NewTimer(listPatience)
	defer enough.Stop()
	for range servers {
		select {
		case <-told:
		case <-enough.C:
			return g.Wait
		case <-ctx.Done():
			return g.Wait
		}
	}
	return g.Wait
}

// present announces a worker before it runs and takes the announcement back
// after.
func present(ctx context.Context, b *bus.Bus, offers []bus.Offer, run func(context.Context) error) (func(context.Context) error, error) {
	if err := b.Announce(ctx, offers); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return b.StayPresent(ctx, offers) })
		g.Go(func() error { return run(ctx) })
		return g.Wait()
	}, nil
}

// RunRoles starts roles in their order and runs them until ctx ends or one
// fails. started is called when all have started; it may be nil.
func RunRoles(ctx context.Context, b *bus.Bus, roles []Role, started func()) error {
	g, run := errgroup.WithContext(ctx)
	for _, r := range roles {
		service, err := r.Start(run, b)
		if err != nil {
			err = fmt.Errorf("%s: %w", r.Name, err)
			g.Go(func() error { return err })
			break
		}
		g.Go(func() error {
			if err := service(run); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			if ctx.Err() == nil {
				return run.Err() // one of the others failed
			}
			return nil
		})
	}
	if started != nil && run.Err() == nil {
		started()
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
