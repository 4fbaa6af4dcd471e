package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

// Served is a provider and the model that is called when a conversation names the
// provider only.
type Served struct {
	Provider Provider
	// Model is that model's name, without the provider's.
	Model string
	// Idle is how long the provider may yield nothing before the request is cancelled
	// and the answer fails with class idle; 2 minutes when zero, no bound when
	// negative.
	Idle time.Duration
	// Default is whether this is the model of conversations that name none.
	Default bool
	// Slots is how many generations run at once in this program; 64 when zero.
	Slots int
}

// guarded is the provider with its watchdog.
func (s Served) guarded() Provider {
	return llm.Lenient(llm.Guard(llm.Fallback(s.Provider), max(cmp.Or(s.Idle, 2*time.Minute), 0)))
}

// check returns what is wrong with what is served.
func check(all []Served) error {
	if len(all) == 0 {
		return errors.New("serve models: there is no provider: give Serve at least one")
	}
	seen := map[string]bool{}
	for _, s := range all {
		if s.Provider == nil {
			return errors.New("serve models: a Served has no Provider")
		}
		name := s.Provider.Name()
		if err := topology.CheckToken("provider", name); err != nil {
			return fmt.Errorf("serve models: %w", err)
		}
		if seen[name] {
			return fmt.Errorf("serve models: two providers are called %s: give one of them another name", name)
		}
		seen[name] = true
	}
	return nil
}

// Serve announces providers and answers the generations that conversations request
// from them until ctx ends. Then it hands what runs back for other programs at once, and
// returns nil. It waits for a NATS server or a deployment that is not there yet. The
// error says which provider cannot be served, or that the server refuses the
// credentials.
func Serve(ctx context.Context, cfg parley.Config, providers ...Served) error {
	if err := check(providers); err != nil {
		return err
	}
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	name := worker.UniqueName("model")
	environment := bus.Environment(bus.Getenv)
	environment.Name = "llm-worker " + name
	b, err := bus.Wait(ctx, bus.Config(cfg).Or(environment), nil)
	if err != nil {
		return fmt.Errorf("serve models: %w", err)
	}
	defer b.Close()
	b.WithoutConsumers()
	g, run := errgroup.WithContext(ctx)
	for _, s := range providers {
		w := &worker.LLM{Bus: b, Name: name, Log: log, Slots: s.Slots,
			Routes: map[string]worker.Route{s.Provider.Name(): {Provider: s.guarded(), Model: s.Model}}}
		byDefault := ""
		if s.Default {
			byDefault = s.Provider.Name() + "/" + s.Model
		}
		g.Go(func() error { return w.Serve(run, byDefault) })
	}
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve models: %w", err)
	}
	return nil
}
