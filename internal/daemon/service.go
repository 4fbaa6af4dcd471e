package daemon

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/worker"
)

// OrchestratorService is cmd/orchestrator.
func OrchestratorService() Service {
	return Service{
		Name: "orchestrator", Short: "Decides what happens next in Parley's conversations", Setup: true,
		Flags: func(cfg *Config, cmd *cobra.Command) { cfg.Layout(cmd.Flags()); cfg.Deciding(cmd.Flags()) },
		Role: func(_ context.Context, cfg Config, log *slog.Logger, health *Health, ready func()) (Role, error) {
			var owned atomic.Int64
			health.Gauge("shards_taken_total", "Shards this process has taken since it started.", func() float64 { return float64(owned.Load()) })
			held := new(atomic.Int64)
			health.Gauge("conversations_held", "Conversations in memory: those in which something is under way, not those that wait for somebody.", func() float64 { return float64(held.Load()) })
			role := Orchestrator(cfg, log, func(shard int) {
				owned.Add(1)
				log.Info("owns a shard", "shard", shard)
			}, held)
			ready() // one without a shard waits for one: it is ready to take over
			return role, nil
		},
	}
}

// LLMWorkerService is cmd/llm-worker.
func LLMWorkerService() Service {
	return Service{
		Name: "llm-worker", Short: "Asks models and streams their answers to Parley's conversations",
		Flags: func(cfg *Config, cmd *cobra.Command) { cfg.Asking(cmd.Flags()); cfg.Working(cmd.Flags()) },
		Role: func(ctx context.Context, cfg Config, log *slog.Logger, health *Health, ready func()) (Role, error) {
			c, err := cfg.Catalog(ctx)
			if err != nil {
				return Role{}, err
			}
			log.Info("models", "providers", c.Names(), "default", c.Default, "why", c.Why)
			stats := new(worker.Stats)
			count(health, "generations_total", "Generations ended.", &stats.Generations)
			count(health, "generations_failed_total", "Generations that ended in an error.", &stats.GenerationsFailed)
			count(health, "events_total", "Events published.", &stats.Events)
			count(health, "input_tokens_total", "Tokens read, as providers counted.", &stats.TokensIn)
			count(health, "output_tokens_total", "Tokens written, as providers counted.", &stats.TokensOut)
			ready()
			return LLMWorker(cfg, log, c, stats), nil
		},
	}
}

// ToolWorkerService is cmd/tool-worker.
func ToolWorkerService() Service {
	return Service{
		Name: "tool-worker", Short: "Runs the tools that models call in Parley's conversations",
		Flags: func(cfg *Config, cmd *cobra.Command) { cfg.Calling(cmd.Flags()); cfg.Working(cmd.Flags()) },
		Role: func(_ context.Context, cfg Config, log *slog.Logger, health *Health, ready func()) (Role, error) {
			tools, servers, err := cfg.Toolbox(log)
			if err != nil {
				return Role{}, err
			}
			for _, spec := range tools.Specs() {
				log.Info("serves", "tool", spec.Name, "effect", spec.Effect)
			}
			stats := new(worker.Stats)
			count(health, "calls_total", "Calls ended.", &stats.Calls)
			count(health, "calls_failed_total", "Calls that did not end well.", &stats.CallsFailed)
			ready()
			return ToolWorker(cfg, log, tools, servers, stats), nil
		},
	}
}

func count(h *Health, name, help string, n *atomic.Int64) {
	h.Count(name, help, func() float64 { return float64(n.Load()) })
}
