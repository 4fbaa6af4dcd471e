// Package orchestrator builds the role that writes Decisions, for
// cmd/orchestrator and for processes that run several roles.
package orchestrator

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/orchestrator"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/tool"
)

// Role returns the orchestrator's role. It calls owned for each shard that it
// takes over, and stores the number of conversations in memory in held; both
// may be nil. hooks run in addition to those of cfg.Rules, whose file is read
// when the role starts, and again when it changes: see [ruled].
func Role(cfg daemon.Config, log *slog.Logger, owned func(shard int), held *atomic.Int64, hooks ...orchestrator.Hook) daemon.Role {
	return daemon.Role{Name: "orchestrator", Start: func(ctx context.Context, b *bus.Bus) (func(context.Context) error, error) {
		file := daemon.NewFollowedFile(cfg.Rules)
		rules, err := policy.Load(cfg.Rules)
		if err != nil {
			return nil, err
		}
		if err := b.Presence().Announce(ctx, orchestrator.PoolOffers(cfg.Name, rules.Pools)); err != nil {
			log.Warn("the pools cannot be announced yet: they can be asked, and commands do not list them", "error", err)
		}
		r := &ruled{file: file, log: log, run: func(ctx context.Context, rules policy.Defaults) error {
			v := tool.Validator{Ceilings: &rules.Ceilings}
			o := &orchestrator.Orchestrator{Bus: b, Name: cfg.Name, Log: log, Check: v.Decision, CheckTool: v.Check, Owned: owned, Held: held,
				Limits: rules.Limits, Policy: rules.Policy, Prices: rules.Prices, Ceilings: rules.Ceilings, Route: rules.Route, Pools: rules.Pools, Hooks: slices.Clone(hooks), Identities: rules.Book}
			for _, h := range rules.Hooks {
				o.Hooks = append(o.Hooks, orchestrator.Hook{Hook: h})
			}
			return o.Run(ctx)
		}}
		return func(ctx context.Context) error { return r.follow(ctx, rules, daemon.FollowInterval) }, nil
	}}
}

// Service is cmd/orchestrator.
func Service() daemon.Service {
	return daemon.Service{
		Name: "orchestrator", Short: "Decide what happens next in Parley's conversations", Setup: true,
		Flags: func(cfg *daemon.Config, cmd *cobra.Command) { cfg.Layout(cmd.Flags()); cfg.Deciding(cmd.Flags()) },
		Role: func(_ context.Context, cfg daemon.Config, log *slog.Logger, health *daemon.Health, ready func()) (daemon.Role, error) {
			var taken atomic.Int64
			health.Gauge("shards_taken_total", "Shards this process has taken since it started.", &taken)
			held := new(atomic.Int64)
			health.Gauge("conversations_held", "Conversations in memory: those with work in progress, not those that wait for a person.", held)
			role := Role(cfg, log, func(shard int) {
				taken.Add(1)
				log.Info("owns a shard", "shard", shard)
			}, held)
			ready() // without a shard it is ready to take one over
			return role, nil
		},
	}
}
