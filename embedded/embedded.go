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
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/host"
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
	// Models are your own; the first is the default. Without any, models are
	// those that the environment configures (OPENAI_API_KEY, ANTHROPIC_API_KEY,
	// GEMINI_API_KEY, OLLAMA_HOST), and a scripted demo that needs no key.
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
	session *host.Session
	stop    context.CancelFunc
	own     errgroup.Group // serves tools and models that were given
	remove  string         // temporary directory
}

// Start starts a deployment and returns when it answers: the streams exist, and all
// models and tools are offered. It runs until Close; ctx only bounds the start.
func Start(ctx context.Context, o Options) (*Parley, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Parley{stop: func() {}}
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
	o.Log = slog.New(cfg.Secrets.Handler(o.Log.Handler()))
	h := &host.Host{Dir: o.Dir, Config: cfg, Connection: "parley embedded", SyncAlways: o.SyncAlways, Log: o.Log}
	if p.session, err = h.Embed(ctx, port(o.Port)); err != nil {
		return err
	}
	p.Client = p.session.Client
	counts := map[string]int{"orchestrator": 1}
	if !o.NoBuiltins {
		counts["tool-worker"] = 1
	}
	if len(o.Models) == 0 {
		counts["llm-worker"] = 1
	}
	roles, _, err := h.Roles(ctx, nil, counts)
	if err != nil {
		return err
	}
	if err := p.session.Begin(ctx, roles); err != nil {
		return err
	}
	p.serve(ctx, o)
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

// serve serves the tools and models that were given until p.stop.
func (p *Parley) serve(ctx context.Context, o Options) {
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	if len(o.Tools) > 0 {
		p.own.Go(func() error {
			return tool.Server{Options: p.Options(), Log: o.Log}.Serve(ctx, o.Tools...)
		})
	}
	if len(o.Models) > 0 {
		models := slices.Clone(o.Models)
		if !slices.ContainsFunc(models, func(s model.Served) bool { return s.Default }) {
			models[0].Default = true
		}
		p.own.Go(func() error {
			return model.Serve(ctx, parley.Config{Options: p.Options(), Log: o.Log}, models...)
		})
	}
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

// Server is the URL of the server for other programs, with its token; empty when it
// listens nowhere.
func (p *Parley) Server() string { return p.session.Address() }

// Options connect other parts of this program to the server without a socket: give
// them to [tool.Server] or [parley.Config].
func (p *Parley) Options() []nats.Option { return p.session.Options() }

// Close stops the roles, which hand their jobs back, then the client and the server.
// Turns that were running continue at the next Start on the same directory.
func (p *Parley) Close() error {
	p.stop()
	err := p.own.Wait()
	if p.session != nil {
		err = errors.Join(err, p.session.Close())
	}
	if p.remove != "" {
		err = errors.Join(err, os.RemoveAll(p.remove))
	}
	return err
}
