// Package toolworker builds the role that runs tools, for cmd/tool-worker and
// for processes that run several roles.
package toolworker

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/jobs/metrics"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/worker"
)

// Role returns the role that runs tools, including those of MCP servers. It
// does not serve a tool whose name another worker serves with another
// definition, and logs that. It counts in stats, which may be nil.
func Role(cfg daemon.Config, log *slog.Logger, tools *tool.Registry, servers []*mcp.Server, stats *worker.Stats) daemon.Role {
	return daemon.Role{Name: "tool-worker", Start: func(ctx context.Context, b *bus.Bus) (func(context.Context) error, error) {
		if err := tools.Set("parley", worker.NewResultReader(b)); err != nil {
			return nil, err
		}
		w := &worker.Tool{Bus: b, Name: worker.UniqueName(cfg.Name), Log: log, Slots: cfg.Slots, MaxCalls: cfg.MaxCalls, Tools: tools, Drain: cfg.Drain, Stats: stats, Secrets: cfg.Secrets}
		ctx, stop := context.WithCancel(ctx)
		box := newServers(b, tools, servers, log)
		w.Servers, box.follow = box.missing, box.following(cfg)
		wait := box.serve(ctx, cfg.MCPWait)
		err := b.Presence().Announce(ctx, w.Offers())
		if err != nil && !bus.Unserved(err) {
			stop()
			return nil, errors.Join(err, wait())
		}
		return func(ctx context.Context) error {
			defer stop()
			g, ctx := errgroup.WithContext(ctx)
			defer context.AfterFunc(ctx, stop)() // also if the worker fails
			g.Go(wait)                           // its error stops the worker
			g.Go(func() error { return w.Run(ctx) })
			return g.Wait()
		}, nil
	}}
}

// Names returns the names of the tools that come with Parley, configured or not.
func Names() []string { return append(tool.BuiltinNames(), worker.ReadResult) }

// Service is cmd/tool-worker.
func Service() daemon.Service {
	return daemon.Service{
		Name: "tool-worker", Short: "Run the tools that models call in Parley's conversations",
		Flags: func(cfg *daemon.Config, cmd *cobra.Command) { cfg.Calling(cmd.Flags()); cfg.Working(cmd.Flags()) },
		Role: func(_ context.Context, cfg daemon.Config, log *slog.Logger, health *daemon.Health, ready func()) (daemon.Role, error) {
			tools, servers, err := Toolbox(cfg, log)
			if err != nil {
				return daemon.Role{}, err
			}
			for _, spec := range tools.Specs() {
				log.Info("serves", "tool", spec.Name, "effect", spec.Effect)
			}
			stats := &worker.Stats{Jobs: metrics.Prometheus(health.Registry())}
			health.Count("calls_total", "Calls ended.", &stats.Calls)
			health.Count("calls_failed_total", "Calls that did not end well.", &stats.CallsFailed)
			ready()
			return Role(cfg, log, tools, servers, stats), nil
		},
	}
}
