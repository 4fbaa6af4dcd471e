package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/host"
)

// deployment is the flags of up.
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
  parley up --only tool-worker   # beside one that runs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return u.run(cmd.Context(), cmd.Flags().Changed("port")) },
	}
	f := cmd.Flags()
	a.cfg.Service(f)
	a.cfg.Generating(f)
	a.cfg.Calling(f)
	a.cfg.Deciding(f)
	a.cfg.Layout(f)
	a.cfg.Working(f)
	f.StringSliceVar(&u.only, "only", nil, "run these only: broker, orchestrator, llm-worker, tool-worker")
	f.StringToStringVar(&u.replicas, "replicas", nil, "workers to run, such as tool-worker=4")
	f.IntVar(&u.port, "port", naturalPort, "port of the embedded server on 127.0.0.1; 0 picks a free one")
	f.StringVar(&a.sync, "sync", "", "\"always\" writes each message to disk before it is acknowledged")
	return cmd
}

var roleNames = [...]string{"broker", "orchestrator", "llm-worker", "tool-worker"}

func (u *deployment) wants(role string) bool {
	return len(u.only) == 0 || slices.Contains(u.only, role)
}

// counts returns how many of each role run.
func (u *deployment) counts() (map[string]int, error) {
	counts := map[string]int{}
	for _, role := range roleNames[1:] { // there is one broker
		n := 1
		if v, ok := u.replicas[role]; ok {
			var err error
			if n, err = strconv.Atoi(v); err != nil || n < 1 || n > 100 {
				return nil, usagef("--replicas %s=%s must be a number from 1 to 100", role, v)
			}
		}
		if u.wants(role) {
			counts[role] = n
		}
	}
	return counts, nil
}

func (u *deployment) check() error {
	for _, names := range [][]string{u.only, slices.Sorted(maps.Keys(u.replicas))} {
		for _, name := range names {
			if !slices.Contains(roleNames[:], name) {
				return usagef("there is no role %q; the roles are %s", name, strings.Join(roleNames[:], ", "))
			}
		}
	}
	if s := u.app.sync; s != "" && s != "always" {
		return usagef("--sync must be \"always\" or left out, not %q", s)
	}
	return nil
}

func (u *deployment) run(ctx context.Context, portGiven bool) (err error) {
	if err := u.check(); err != nil {
		return err
	}
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	h, err := u.app.host()
	if err != nil {
		return err
	}
	counts, err := u.counts()
	if err != nil {
		return err
	}
	s, err := u.open(ctx, h, portGiven)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	health := daemon.NewHealth()
	health.Secrets = h.Config.Secrets
	roles, models, err := h.Roles(ctx, health, counts)
	if err != nil {
		return err
	}
	s.Models = models
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
			return health.Serve(run, http, func(a net.Addr) { h.Log.Info("health and metrics", "address", a.String()) })
		})
	}
	g.Go(func() error {
		return s.Run(run, roles, func() { u.banner(run, s) })
	})
	return g.Wait()
}

// open starts the server, or connects to the one that is named.
func (u *deployment) open(ctx context.Context, h *host.Host, portGiven bool) (*host.Session, error) {
	if !u.wants("broker") || h.Config.NATS.URL != "" {
		if slices.Contains(u.only, "broker") {
			return nil, usagef("NATS_URL names a server, and --only broker would start another: unset one of them")
		}
		h.Connection = "parley up " + h.Config.Name
		return h.JoinForRoles(ctx)
	}
	ports := []int{u.port}
	if !portGiven {
		ports = append(ports, 0)
	}
	return h.Start(ctx, ports...)
}

// banner prints what runs and what to do next.
func (u *deployment) banner(ctx context.Context, s *host.Session) {
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
		fmt.Fprintln(stdout(), line)
	}
	fmt.Fprintf(stdout(), "Parley %s\n\n", daemon.Version)
	if nats := s.Server(); s.Embedded() {
		say("server", nats, "(embedded, this machine only)")
		say("data", u.app.data, "")
	} else {
		say("server", nats, "")
	}
	if u.app.cfg.HTTP != "" {
		say("health", u.app.cfg.HTTP, "/healthz /readyz /metrics")
	}
	var models, pools, tools []string
	if offers, err := s.Offers(ctx); err == nil {
		models = parley.Models(offers)
		of := parley.Pools(offers)
		for _, name := range slices.Sorted(maps.Keys(of)) {
			pools = append(pools, name+": "+strings.Join(of[name], ", "))
		}
		for _, t := range parley.ToolsIn(offers) {
			tools = append(tools, t.Name)
		}
	}
	if s.Models != nil {
		say("model", s.Models.Default, "("+s.Models.Why+")")
	}
	say("models", cmp.Or(strings.Join(models, ", "), "none yet"), "")
	if len(pools) > 0 {
		say("pools", strings.Join(pools, "; "), "")
	}
	say("tools", cmp.Or(strings.Join(tools, ", "), "none yet"), "")
	next := "  " + u.app.commandLine("ask", `"What time is it in Oslo, and what is 17% of 2,340?"`)
	if s.Embedded() {
		next += fmt.Sprintf("\n\nAny other NATS client connects after\n\n  eval \"$(%s)\"", u.app.commandLine("env"))
	}
	fmt.Fprintf(stdout(), "\nNext, in another terminal:\n\n%s\n\nCtrl-C stops everything; the data stays.\n", next)
}
