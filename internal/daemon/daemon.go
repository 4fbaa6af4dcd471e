// Package daemon provides the parts that all binaries share: flags and
// environment, log, signals, health and metrics, and running roles. The
// packages below it build one role each.
//
// After SIGINT or SIGTERM a process reports draining on /readyz, takes no more
// work, lets running calls end within the drain timeout, and exits with 0. A
// second signal ends it at once.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/visible"
)

// Version is the version of the binaries. The linker may set it: make build
// VERSION=1.2.3.
var Version = "0.1.0"

// Logger returns the configured logger. It redacts the secrets, and those that flags
// have added since [Defaults].
func (cfg Config) Logger(w io.Writer) (*slog.Logger, error) {
	cfg.learn()
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmp.Or(cfg.LogLevel, "info"))); err != nil {
		return nil, fmt.Errorf("log level %q is none of debug, info, warn, error", cfg.LogLevel)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch cmp.Or(cfg.LogFormat, "text") {
	case "text":
		return slog.New(cfg.Secrets.Handler(slog.NewTextHandler(w, opts))), nil
	case "json":
		return slog.New(cfg.Secrets.Handler(slog.NewJSONHandler(visible.JSONWriter{W: w}, opts))), nil
	}
	return nil, fmt.Errorf("log format %q is neither text nor json", cfg.LogFormat)
}

// Signals returns a context that ends at the first SIGINT or SIGTERM. The
// second signal ends the process.
func Signals(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Service is a binary with one role.
type Service struct {
	Name, Short string
	// Flags adds the role's own flags.
	Flags func(*Config, *cobra.Command)
	// Setup makes this role create the streams. Without it the role is a worker,
	// which reads without consumers.
	Setup bool
	// Role returns the role. It may call ready more than once.
	Role func(ctx context.Context, cfg Config, log *slog.Logger, health *Health, ready func()) (Role, error)
}

// Main runs a service's command line and returns the exit code: 0 after a stop
// signal, 1 for a failure, 2 for wrong usage.
func Main(s Service) int {
	Protect()
	cfg, err := Defaults(TakeEnvironment())
	if err != nil {
		fmt.Fprintln(os.Stderr, s.Name+": "+visible.String(err.Error()))
		return 2
	}
	started := false
	cmd := &cobra.Command{
		Use: s.Name, Short: s.Short, Version: Version, Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			started = true
			return s.run(cmd.Context(), cfg)
		},
	}
	cfg.Connection(cmd.Flags())
	cfg.Logging(cmd.Flags())
	cfg.Service(cmd.Flags())
	s.Flags(&cfg, cmd)
	ctx, stop := Signals(context.Background())
	defer stop()
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, s.Name+": "+visible.String(strings.TrimSpace(cfg.Secrets.Message(err.Error()))))
		if !started {
			return 2
		}
		return 1
	}
	return 0
}

func (s Service) run(ctx context.Context, cfg Config) error {
	log, err := cfg.Logger(os.Stderr)
	if err != nil {
		return err
	}
	if cfg.NATS.URL == "" {
		return errors.New("no NATS server is named: set NATS_URL or --nats, such as nats://127.0.0.1:4222")
	}
	if err := topology.CheckToken("process", cfg.Name); err != nil {
		return err
	}
	cfg.NATS.Name, cfg.NATS.Log, cfg.NATS.Version = s.Name+" "+cfg.Name, log, Version
	health := NewHealth()
	health.Secrets = cfg.Secrets
	g, run := errgroup.WithContext(ctx)
	if cfg.HTTP != "" { // also while the process waits for NATS
		g.Go(func() error {
			return health.Serve(run, cfg.HTTP, func(a net.Addr) { log.Info("health and metrics", "address", a.String()) })
		})
	}
	g.Go(func() error { return s.serve(run, cfg, log, health) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// serve connects and runs the role until ctx ends.
func (s Service) serve(ctx context.Context, cfg Config, log *slog.Logger, health *Health) error {
	var plan *topology.Plan
	if s.Setup {
		plan = &cfg.Plan
	}
	health.Require(func() error { return errors.New("waiting for NATS, see the log") })
	b, err := bus.Wait(ctx, cfg.NATS, plan)
	if err != nil {
		return err
	}
	defer b.Close()
	health.Require(func() error { return nil })
	if s.Setup {
		health.Queues(b, log)
	} else {
		b.WithoutConsumers()
	}
	ready := func() {
		health.Ready(func() error {
			if !b.Connected() {
				return errors.New("not connected to NATS")
			}
			return nil
		})
		log.Info("ready", "role", s.Name, "name", cfg.Name, "nats", b.URL())
	}
	stopping := context.AfterFunc(ctx, func() { fault.Point(fault.Draining); health.Draining(); log.Info("stopping", "role", s.Name) })
	defer stopping()
	role, err := s.Role(ctx, cfg, log, health, ready)
	if err != nil {
		return err
	}
	return RunRoles(ctx, b, []Role{Keeper(health), role}, nil)
}
