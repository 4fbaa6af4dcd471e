package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
)

// deployment is what up is told.
type deployment struct {
	app      *app
	only     []string
	replicas map[string]string
	port     int
}

// naturalPort is where a NATS server is looked for.
const naturalPort = 4222

func (a *app) upCommand() *cobra.Command {
	u := &deployment{app: a}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything: server, orchestrator, workers",
		Example: `  parley up
  parley up --replicas tool-worker=4
  NATS_URL=nats://127.0.0.1:4222 parley up --only tool-worker`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return u.run(cmd.Context(), cmd.Flags().Changed("port")) },
	}
	f := cmd.Flags()
	a.cfg.Service(f)
	a.cfg.Asking(f)
	a.cfg.Calling(f)
	a.cfg.Deciding(f)
	a.cfg.Layout(f)
	a.cfg.Working(f)
	f.StringSliceVar(&u.only, "only", nil, "run these only: broker, orchestrator, llm-worker, tool-worker")
	f.StringToStringVar(&u.replicas, "replicas", nil, "workers to run, such as tool-worker=4")
	f.IntVar(&u.port, "port", naturalPort, "port of the embedded server on 127.0.0.1; 0 picks a free one")
	f.StringVar(&a.sync, "sync", "", "always: each message is on disk before it counts")
	return cmd
}

var roleNames = [...]string{"broker", "orchestrator", "llm-worker", "tool-worker"}

func (u *deployment) wants(role string) bool {
	return len(u.only) == 0 || slices.Contains(u.only, role)
}

func (u *deployment) count(role string) (int, error) {
	v, ok := u.replicas[role]
	if !ok {
		return 1, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 100 {
		return 0, &exitError{exitUsage, fmt.Errorf("--replicas %s=%s must be a number from 1 to 100", role, v)}
	}
	return n, nil
}

func (u *deployment) check() error {
	for _, names := range [][]string{u.only, keys(u.replicas)} {
		for _, name := range names {
			if !slices.Contains(roleNames[:], name) {
				return &exitError{exitUsage, fmt.Errorf("there is no role %q; the roles are %s", name, strings.Join(roleNames[:], ", "))}
			}
		}
	}
	if s := u.app.sync; s != "" && s != "always" {
		return &exitError{exitUsage, fmt.Errorf("--sync %q is not always", s)}
	}
	return nil
}

func keys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (u *deployment) run(ctx context.Context, portGiven bool) (err error) {
	if err := u.check(); err != nil {
		return err
	}
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	log, err := u.app.logger()
	if err != nil {
		return err
	}
	s, err := u.open(ctx, log, portGiven)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	health := daemon.NewHealth()
	roles, err := u.roles(ctx, s, log)
	if err != nil {
		return err
	}
	health.Ready(func() error {
		if !s.Connected() {
			return errors.New("not connected to NATS")
		}
		return nil
	})
	g, run := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, health.Draining)()
	if http := u.app.cfg.HTTP; http != "" {
		g.Go(func() error {
			return health.Serve(run, http, func(a net.Addr) { log.Info("health and metrics", "address", a.String()) })
		})
	}
	g.Go(func() error {
		return daemon.RunRoles(run, s.bus, append([]daemon.Role{daemon.Keeper(health)}, roles...), func() { u.banner(run, s) })
	})
	return g.Wait()
}

// open starts the server, or connects to the one that is named.
func (u *deployment) open(ctx context.Context, log *slog.Logger, portGiven bool) (*session, error) {
	a := u.app
	if !u.wants("broker") || a.cfg.NATS.URL != "" {
		if slices.Contains(u.only, "broker") {
			return nil, &exitError{exitUsage, errors.New("NATS_URL names a server, and --only broker would start another: unset one of them")}
		}
		cfg := parley.Config(a.cfg.NATS)
		if cfg.URL == "" {
			if cfg.URL = runningServer(a.data); cfg.URL == "" {
				return nil, &parley.Error{Code: parley.CodeNoServer, Err: fmt.Errorf("no server runs on %s: start one with `parley up --only broker`, or set NATS_URL", a.data)}
			}
			cfg.Dial = a.dial
		}
		cfg.Name, cfg.Log = "parley up "+a.cfg.Name, log
		s, err := a.roleSession(ctx, cfg)
		if err != nil {
			return nil, &parley.Error{Code: parley.CodeNoServer, Err: err}
		}
		return s, nil
	}
	if url := runningServer(a.data); url != "" {
		return nil, fmt.Errorf("a server runs on %s already, at %s: use it, stop it, or give another --data", a.data, url)
	}
	s, err := a.embed(ctx, log, u.port)
	if errors.Is(err, broker.ErrPort) && !portGiven {
		// Nobody asked for this very port.
		s, err = a.embed(ctx, log, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := rememberServer(a.data, s.server.URL()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// roles are the roles that were asked for; workers first, so that the
// orchestrator knows them when it begins.
func (u *deployment) roles(ctx context.Context, s *session, log *slog.Logger) ([]daemon.Role, error) {
	a := u.app
	models, err := llmworker.Catalog(ctx, a.cfg)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	s.Models = models
	if u.wants("orchestrator") {
		if err := a.checkRules(); err != nil {
			return nil, err
		}
	}
	var roles []daemon.Role
	for _, role := range []string{"tool-worker", "llm-worker", "orchestrator"} {
		n, err := u.count(role)
		if err != nil {
			return nil, err
		}
		for i := range n {
			if !u.wants(role) {
				break
			}
			cfg := a.cfg
			if n > 1 {
				cfg.Name = fmt.Sprintf("%s-%d", a.cfg.Name, i+1)
			}
			r, err := a.role(role, cfg, log, models)
			if err != nil {
				return nil, err
			}
			roles = append(roles, r)
		}
	}
	return roles, nil
}

// banner says what runs and what to do next.
func (u *deployment) banner(ctx context.Context, s *session) {
	p := profile()
	say := func(name, value, note string) {
		line := fmt.Sprintf("  %-12s %s", name, value)
		switch {
		case note == "":
		case p.Width == 0 || len(line)+2+len(note) <= p.Width:
			line += p.Dim("  " + note)
		default:
			line += "\n" + p.Dim(wrapped(note, 4, p.Width))
		}
		fmt.Fprintln(os.Stdout, line)
	}
	fmt.Fprintf(os.Stdout, "Parley %s\n\n", daemon.Version)
	nats := s.URL()
	if s.server != nil {
		nats = s.server.URL()
		say("server", nats, "(embedded, this machine only)")
		say("data", s.dir, "")
	} else {
		say("server", nats, "")
	}
	if u.app.cfg.HTTP != "" {
		say("health", u.app.cfg.HTTP, "/healthz /readyz /metrics")
	}
	var models, tools []string
	if offers, err := s.Offers(ctx); err == nil {
		models = parley.Models(offers)
		for _, t := range parley.ToolsIn(offers) {
			tools = append(tools, t.Name)
		}
	}
	if s.Models != nil && u.wants("llm-worker") {
		say("model", s.Models.Default, "("+s.Models.Why+")")
	}
	say("models", cmp.Or(strings.Join(models, ", "), "none yet"), "")
	say("tools", cmp.Or(strings.Join(tools, ", "), "none yet"), "")
	next := `parley ask "What time is it in Oslo, and what is 17% of 2,340?"`
	if u.app.data != dataDir() {
		next = "NATS_URL=" + nats + " " + next
	}
	fmt.Fprintf(os.Stdout, "\nNext, in another terminal:\n\n  %s\n\nCtrl-C stops everything; the data stays.\n", next)
}
