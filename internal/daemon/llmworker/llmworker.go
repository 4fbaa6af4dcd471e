// Package llmworker builds the role that calls models and streams their
// answers, for cmd/llm-worker and for processes that run several roles.
package llmworker

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/jobs/metrics"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/worker"
)

// Catalog opens the configured providers.
func Catalog(ctx context.Context, cfg daemon.Config) (*catalog.Catalog, error) {
	for _, text := range cfg.Providers {
		if e, err := catalog.ParseEndpoint(text); err == nil {
			cfg.Secrets.Add(cfg.Lookup()(e.KeyVariable()))
		}
	}
	return catalog.Open(ctx, catalog.Options{Endpoints: cfg.Providers, Getenv: cfg.Lookup(), Models: cfg.Models, Script: cfg.Script, Idle: cfg.Idle,
		NoTools: cfg.NoTools, NoToolStream: cfg.NoToolStream, NoImages: cfg.NoImages, TellReasoning: cfg.TellReasoning})
}

// Role returns the role that calls the models of c. It counts in stats, which
// may be nil. The worker announces its models before it runs and withdraws them
// afterwards.
func Role(cfg daemon.Config, log *slog.Logger, c *catalog.Catalog, stats *worker.Stats) daemon.Role {
	return daemon.Role{Name: "llm-worker", Start: func(ctx context.Context, b *bus.Bus) (func(context.Context) error, error) {
		w := &worker.LLM{Bus: b, Name: worker.UniqueName(cfg.Name), Log: log, Slots: cfg.Slots, Stats: stats, Secrets: cfg.Secrets, Routes: map[string]worker.Route{}}
		for name, e := range c.Entries {
			w.Routes[name] = worker.Route{Provider: e.Provider, Model: e.Model}
		}
		if err := b.Presence().Announce(ctx, w.Offers(c.Default)); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return w.Serve(ctx, c.Default) }, nil
	}}
}

// Service is cmd/llm-worker.
func Service() daemon.Service {
	return daemon.Service{
		Name: "llm-worker", Short: "Call models and stream their answers to Parley's conversations",
		Flags: func(cfg *daemon.Config, cmd *cobra.Command) { cfg.Generating(cmd.Flags()); cfg.Working(cmd.Flags()) },
		Role: func(ctx context.Context, cfg daemon.Config, log *slog.Logger, health *daemon.Health, ready func()) (daemon.Role, error) {
			c, err := Catalog(ctx, cfg)
			if err != nil {
				return daemon.Role{}, err
			}
			log.Info("models", "providers", c.Names(), "default", c.Default, "why", c.Why)
			stats := &worker.Stats{Jobs: metrics.Prometheus(health.Registry())}
			health.Count("generations_total", "Generations ended.", &stats.Generations)
			health.Count("generations_failed_total", "Generations that ended in an error.", &stats.GenerationsFailed)
			health.Count("events_total", "Events published.", &stats.Events)
			health.Count("input_tokens_total", "Tokens read, as providers counted.", &stats.TokensIn)
			health.Count("output_tokens_total", "Tokens written, as providers counted.", &stats.TokensOut)
			ready()
			return Role(cfg, log, c, stats), nil
		},
	}
}
