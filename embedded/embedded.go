// Package embedded runs a whole Parley deployment inside a Go program: the NATS
// server, the orchestrator, workers for models and tools, and a client.
//
//	p, err := embedded.Start(ctx, embedded.Options{Dir: dir})
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	turn, err := p.Conversation(parley.NewID()).Send(ctx, "What is 17% of 2,340?")
//
// It links the server and the providers' libraries. A program that connects to a
// deployment elsewhere imports package parley only.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/model"
	"github.com/parleybus/parley/tool"
)

// Options of a deployment. The zero value keeps everything in a temporary directory
// that Close removes.
type Options struct {
	// Dir is the data directory. One process uses it at a time.
	Dir string
	// Port is where the server listens on 127.0.0.1 for other programs: -1 picks a
	// free one, 0 is nowhere.
	Port int
	// Models are your own; the first is asked by default. Without any, models are
	// those that the environment configures (OPENAI_API_KEY, ANTHROPIC_API_KEY,
	// OLLAMA_HOST), and a scripted demo that needs no key.
	Models []model.Served
	// Tools are your own, beside the built-in ones unless NoBuiltins is set.
	Tools      []tool.Tool
	NoBuiltins bool
	// Rules is the path of a YAML file with the deployment's policy, limits, prices
	// and hooks; none when empty.
	Rules string
	// SyncAlways writes every message to disk before it is acknowledged. Otherwise a
	// loss of power may lose the last second.
	SyncAlways bool
	// Log receives what happens; discarded when nil.
	Log *slog.Logger
}

// Parley is a running deployment and a client of it.
type Parley struct {
	*parley.Client
	server *broker.Broker
	stop   context.CancelFunc
	roles  *errgroup.Group
	remove string // temporary directory
}

// Start starts a deployment and returns when it answers: the streams exist, and all
// models and tools are offered. It runs until Close; ctx only bounds the start.
func Start(ctx context.Context, o Options) (*Parley, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Parley{stop: func() {}, roles: new(errgroup.Group)}
	if err := p.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start the embedded deployment: %w", err), p.Close())
	}
	return p, nil
}

func (p *Parley) start(ctx context.Context, o Options) error {
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "parley-")
		if err != nil {
			return err
		}
		o.Dir, p.remove = dir, dir
	}
	cfg, err := daemon.Defaults(bus.Getenv)
	if err != nil {
		return err
	}
	cfg.Rules = cmp.Or(o.Rules, cfg.Rules)
	if p.server, err = broker.Start(broker.Config{Dir: o.Dir, Port: port(o.Port), SyncAlways: o.SyncAlways, Log: o.Log}); err != nil {
		return err
	}
	b, err := bus.Connect(ctx, bus.Config{Name: "parley embedded", Log: o.Log}.InProcess(p.server.InProcess()), &cfg.Plan)
	if err != nil {
		return err
	}
	if err := p.run(ctx, o, cfg, b); err != nil {
		return err
	}
	connection := parley.Config{Name: "parley embedded client", Log: o.Log, Options: p.Options()}
	if p.Client, err = parley.Connect(ctx, connection); err != nil {
		return err
	}
	return p.offered(ctx, o)
}

// port is the port as the server takes it.
func port(wanted int) int {
	switch wanted {
	case 0:
		return -1 // nowhere
	case -1:
		return 0 // a free one
	}
	return wanted
}

// run starts the roles. They run until p.stop, and close b then.
func (p *Parley) run(ctx context.Context, o Options, cfg daemon.Config, b *bus.Bus) error {
	// The owners of before died with their server.
	if err := b.BreakLeases(ctx); err != nil {
		b.Close()
		return err
	}
	roles, err := roles(ctx, o, cfg)
	if err != nil {
		b.Close()
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	started, ended := make(chan struct{}), make(chan error, 1)
	p.roles.Go(func() error {
		defer b.Close()
		err := daemon.RunRoles(running, b, roles, func() { close(started) })
		ended <- err
		return err
	})
	inProcess := p.Options()
	if len(o.Tools) > 0 {
		p.roles.Go(func() error {
			return tool.Server{Options: inProcess, Log: o.Log}.Serve(running, o.Tools...)
		})
	}
	if len(o.Models) > 0 {
		models := slices.Clone(o.Models)
		if !slices.ContainsFunc(models, func(s model.Served) bool { return s.Default }) {
			models[0].Default = true
		}
		p.roles.Go(func() error {
			return model.Serve(running, parley.Config{Options: inProcess, Log: o.Log}, models...)
		})
	}
	select {
	case <-started:
		return nil
	case err := <-ended:
		return err
	}
}

// roles puts the roles together; those that announce something come first, so that
// the orchestrator knows them when it starts.
func roles(ctx context.Context, o Options, cfg daemon.Config) ([]daemon.Role, error) {
	all := []daemon.Role{daemon.Keeper(nil)}
	if !o.NoBuiltins {
		tools, servers, err := toolworker.Toolbox(cfg, o.Log)
		if err != nil {
			return nil, err
		}
		all = append(all, toolworker.Role(cfg, o.Log, tools, servers, nil))
	}
	if len(o.Models) == 0 {
		models, err := llmworker.Catalog(ctx, cfg)
		if err != nil {
			return nil, err
		}
		all = append(all, llmworker.Role(cfg, o.Log, models, nil))
	}
	return append(all, orchestrator.Role(cfg, o.Log, nil, nil)), nil
}

// offered waits until everything that was given is offered.
func (p *Parley) offered(ctx context.Context, o Options) error {
	missing := func(offers []parley.Offer) string {
		for _, s := range o.Models {
			name := s.Provider.Name()
			if !slices.ContainsFunc(offers, func(f parley.Offer) bool { return f.Kind == "llm" && f.Name == name }) {
				return "model " + name
			}
		}
		for _, t := range o.Tools {
			if parley.SpecOf(offers, t.Name()) == nil {
				return "tool " + t.Name()
			}
		}
		return ""
	}
	offers, found, err := p.AwaitOffers(ctx, func(offers []parley.Offer) bool { return missing(offers) == "" })
	if err == nil && !found {
		err = fmt.Errorf("%s is not offered; see the log", missing(offers))
	}
	return err
}

// Server is the URL of the server for other programs; empty when it listens nowhere.
func (p *Parley) Server() string { return p.server.URL() }

// Options connect other parts of this program to the server without a socket: give
// them to [tool.Server] or [parley.Config].
func (p *Parley) Options() []nats.Option { return []nats.Option{p.server.InProcess()} }

// Close stops the roles, which hand their jobs back, then the client and the server.
// Turns that were running continue at the next Start on the same directory.
func (p *Parley) Close() error {
	p.stop()
	err := p.roles.Wait()
	if p.Client != nil {
		p.Client.Close()
	}
	if p.server != nil {
		err = errors.Join(err, p.server.Stop())
	}
	if p.remove != "" {
		err = errors.Join(err, os.RemoveAll(p.remove))
	}
	return err
}
