package host

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/policy"
)

// startTimeout is how long another process may have the data directory without
// running a server that can be joined.
const startTimeout = 3 * time.Second

// Embed runs a server on the data directory and connects to it inside the process:
// port 0 picks a free port, -1 listens nowhere. Other processes do not find it. The
// leases in its data are broken, because their owners stopped with their server.
func (h *Host) Embed(ctx context.Context, port int) (*Session, error) {
	server, err := h.startServer(ctx, port)
	if err != nil {
		return nil, err
	}
	h.Config.Secrets.Add(server.Token())
	cfg := parley.Config(bus.Config{Name: h.Connection, Log: h.Log, Version: daemon.Version}.InProcess(server.InProcess()))
	s, err := h.roleSession(ctx, cfg)
	if err == nil {
		if err = s.bus.Deployment().BreakLeases(ctx); err != nil {
			s.Client.Close()
			s.bus.Close()
		}
	}
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	s.server, s.dir = server, h.Dir
	return s, nil
}

// Start runs a server where other processes find it, on the first of ports that is
// not taken. It fails when a server runs on the data directory already.
func (h *Host) Start(ctx context.Context, ports ...int) (*Session, error) {
	if at := Running(h.Dir); at != "" {
		return nil, fmt.Errorf("a server runs on %s already, at %s: use it, stop it, or give another --data", h.Dir, at)
	}
	return h.start(ctx, ports)
}

func (h *Host) start(ctx context.Context, ports []int) (s *Session, err error) {
	for _, port := range ports {
		if s, err = h.Embed(ctx, port); !errors.Is(err, broker.ErrPort) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if err := writeAddress(h.Dir, s.server); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// startServer starts a server; it waits for a process that only reads the data
// directory, such as `parley ls`.
func (h *Host) startServer(ctx context.Context, port int) (*broker.Broker, error) {
	for until := time.Now().Add(startTimeout); ; {
		s, err := broker.Start(broker.Config{Dir: h.Dir, Port: port, Token: rand.Text(), SyncAlways: h.SyncAlways, Log: h.Log})
		var path *os.PathError
		if !errors.Is(err, broker.ErrInUse) && errors.As(err, &path) {
			err = fmt.Errorf("the data directory %s cannot be used: %w: give another with --data or PARLEY_DATA", h.Dir, err)
		}
		if !errors.Is(err, broker.ErrInUse) || time.Now().After(until) || Running(h.Dir) != "" || !bus.Pause(ctx, takeoverEvery) {
			return s, err
		}
	}
}

// serve runs a server where other processes find it, on the first of ports that is
// not taken, and all roles.
func (h *Host) serve(ctx context.Context, ports ...int) (*Session, error) {
	roles, models, err := h.Roles(ctx, nil, map[string]int{"tool-worker": 1, "llm-worker": 1, "orchestrator": 1})
	if err != nil {
		return nil, err
	}
	s, err := h.start(ctx, ports)
	if err != nil {
		return nil, err
	}
	s.Models = models
	if err := s.Begin(ctx, roles); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Catalog returns the providers that are configured. Of the models of cfg it leaves out
// those that name a pool: a pool is no worker's default.
func Catalog(ctx context.Context, cfg daemon.Config, pools policy.Pools) (*catalog.Catalog, error) {
	cfg.Models = pools.WithoutPools(cfg.Models)
	return llmworker.Catalog(ctx, cfg)
}

// Roles returns roles, as many of each as counts says by name (tool-worker,
// llm-worker, orchestrator), and the models of an llm-worker; nil without one. Workers
// come first, so that the orchestrator knows what they offer when it starts. It fails
// with [parley.CodeInvalid] for a configuration that cannot be used. health may be nil.
func (h *Host) Roles(ctx context.Context, health *daemon.Health, counts map[string]int) ([]daemon.Role, *catalog.Catalog, error) {
	var models *catalog.Catalog
	rules, err := policy.Load(h.Config.Rules)
	if counts["orchestrator"] == 0 {
		rules, err = policy.Defaults{}, nil // the file is another process's
	}
	if err == nil && counts["llm-worker"] > 0 {
		models, err = Catalog(ctx, h.Config, rules.Pools)
	}
	if err != nil {
		return nil, nil, &parley.Error{Code: parley.CodeInvalid, Err: err}
	}
	roles := []daemon.Role{daemon.Keeper(health)}
	for _, name := range []string{"tool-worker", "llm-worker", "orchestrator"} {
		for i := range counts[name] {
			cfg := h.Config
			if counts[name] > 1 {
				cfg.Name = fmt.Sprintf("%s-%d", h.Config.Name, i+1)
			}
			r, err := h.role(name, cfg, models)
			if err != nil {
				return nil, nil, &parley.Error{Code: parley.CodeInvalid, Err: err}
			}
			roles = append(roles, r)
		}
	}
	return roles, models, nil
}

// ToolsFile returns the file of tools of a data directory, which is read when no
// other is configured.
func ToolsFile(dir string) string { return filepath.Join(dir, "tools.yaml") }

// WithTools returns a configuration with the file of tools of the data directory,
// if it names no other and the server is not elsewhere.
func (h *Host) WithTools(cfg daemon.Config) daemon.Config {
	if cfg.ToolsFile == "" && cfg.NATS.URL == "" && h.Dir != "" {
		cfg.ToolsFile, cfg.ToolsOptional = ToolsFile(h.Dir), true
	}
	return cfg
}

func (h *Host) role(name string, cfg daemon.Config, models *catalog.Catalog) (daemon.Role, error) {
	switch name {
	case "orchestrator":
		return orchestrator.Role(cfg, h.Log, nil, nil), nil
	case "llm-worker":
		return llmworker.Role(cfg, h.Log, models, nil), nil
	}
	cfg = h.WithTools(cfg)
	tools, servers, err := toolworker.Toolbox(cfg, h.Log)
	if err != nil {
		return daemon.Role{}, err
	}
	return toolworker.Role(cfg, h.Log, tools, servers, nil), nil
}

// Run runs roles until ctx ends or one fails, and calls started when all have
// started. The session is one of [Host.JoinForRoles], [Host.Start] or [Host.Embed].
func (s *Session) Run(ctx context.Context, roles []daemon.Role, started func()) error {
	return daemon.RunRoles(ctx, s.bus, roles, started)
}

// Begin runs roles until the session is closed, and returns when all have started.
// The session is one as for [Session.Run].
func (s *Session) Begin(ctx context.Context, roles []daemon.Role) error {
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, roles, func() { close(started) }) }()
	select {
	case <-started:
		s.roles = ended
		return nil
	case err := <-ended:
		return err
	}
}
