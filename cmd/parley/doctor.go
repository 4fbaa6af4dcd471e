package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/doctor"
	"github.com/parleybus/parley/internal/host"
	"github.com/parleybus/parley/internal/policy"
)

func (a *app) doctorCommand() *cobra.Command {
	fix := false
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check keys, server, workers and tools, and name the remedy of each failure",
		Long: `Check what Parley needs: keys, server, streams, space, clock, replicas,
orchestrator, workers, queues, tools, MCP servers. Each line that fails names the
remedy. --fix applies the remedies that lose nothing, such as making a missing
stream again.

Exit codes: 0 all is well, 1 something fails.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), fix) },
	}
	f := cmd.Flags()
	f.BoolVar(&fix, "fix", false, "apply the remedies that lose nothing")
	a.cfg.Generating(f)
	a.cfg.Calling(f)
	a.cfg.Deciding(f)
	a.outputFlag(cmd)
	return cmd
}

func (a *app) doctor(ctx context.Context, fix bool) error {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	h, err := a.host()
	if err != nil {
		return err
	}
	found := a.examine(ctx, h, fix)
	failed := false
	for i := range found {
		f := &found[i]
		f.Says, f.Fixed = a.cfg.Secrets.Message(f.Says), a.cfg.Secrets.Message(f.Fixed)
		failed = failed || !f.OK
		if asJSON {
			continue
		}
		mark := "ok  "
		if !f.OK {
			mark = "FAIL"
		}
		line := fmt.Sprintf("%s  %-12s %s", mark, f.Check, plainLine(f.Says))
		if f.Fixed != "" {
			line += "\nfixed " + f.Check + ": " + plainLine(f.Fixed)
		}
		if _, err := fmt.Fprintln(stdout(), line); err != nil {
			return outputError(err)
		}
	}
	if asJSON {
		err = printJSON(found)
	}
	if err == nil && failed {
		err = errors.New("something fails; see above")
	}
	return err
}

// examine makes every check that this process can make.
func (a *app) examine(ctx context.Context, h *host.Host, fix bool) []doctor.Finding {
	var found []doctor.Finding
	note := func(check string, err error, says string) {
		if err != nil {
			says = err.Error()
		}
		found = append(found, doctor.Finding{Check: check, OK: err == nil, Says: says})
	}
	x := &doctor.Examination{Fix: fix, Tolerance: doctor.DefaultTolerance()}
	rules, badRules := policy.Load(a.cfg.Rules)
	models, err := host.Catalog(ctx, a.cfg, rules.Pools)
	if err != nil {
		note("models", err, "")
	} else {
		found = append(found, doctor.Models(ctx, models)...)
		x.Providers = models.Names()
	}
	if badRules != nil {
		note("rules", badRules, "")
	} else if a.cfg.Rules != "" {
		x.Rules = rules
	}
	if _, x.Servers, err = toolworker.Toolbox(h.WithTools(a.cfg), h.Log); err != nil {
		note("tools-file", err, "")
	}
	s, err := h.Connect(ctx)
	if parley.CodeOf(err) == parley.CodeNotSetUp && fix {
		if s, err = h.JoinForRoles(ctx); err == nil {
			found = append(found, doctor.Finding{Check: "set-up", OK: true, Says: "the streams exist", Fixed: "made the streams that were missing"})
		}
	}
	if errors.Is(err, host.ErrNoData) {
		err := doctor.Writable(a.data)
		note("data", err, a.data+" is empty: `parley ask` or `parley up` fills it")
		return found
	}
	if err != nil {
		note("server", err, "")
		return found
	}
	defer func() { _ = s.Close() }() // what was found is what counts
	if x.Bus, err = s.Bus(ctx); err != nil {
		note("server", err, "")
		return found
	}
	x.Where, x.Alone = s.Server(), s.Embedded()
	if a.cfg.NATS.URL == "" {
		x.Dir = a.data
	}
	return append(found, x.Run(ctx)...)
}
