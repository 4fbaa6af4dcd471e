package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

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
	found, failed := []doctor.Finding{}, false
	for f := range a.examine(ctx, h, fix) {
		f.Says, f.Fixed = a.cfg.Secrets.Message(f.Says), a.cfg.Secrets.Message(f.Fixed)
		failed = failed || !f.OK
		found = append(found, f)
		if asJSON {
			continue
		}
		if _, err := fmt.Fprintln(stdout(), findingLine(f)); err != nil {
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

func findingLine(f doctor.Finding) string {
	mark := "ok  "
	if !f.OK {
		mark = "FAIL"
	}
	line := fmt.Sprintf("%s  %-12s %s", mark, f.Check, plainLine(f.Says))
	if f.Fixed != "" {
		line += "\nfixed " + f.Check + ": " + plainLine(f.Fixed)
	}
	return line
}

// examine makes every check that this process can make, and yields each result as soon
// as it is known.
func (a *app) examine(ctx context.Context, h *host.Host, fix bool) iter.Seq[doctor.Finding] {
	return func(yield func(doctor.Finding) bool) {
		x := &doctor.Examination{Fix: fix, Tolerance: doctor.DefaultTolerance()}
		for f := range a.examineHere(ctx, h, x) {
			if !yield(f) {
				return
			}
		}
		s, err := h.Connect(ctx)
		if parley.CodeOf(err) == parley.CodeNotSetUp && fix {
			if s, err = h.JoinForRoles(ctx); err == nil && !yield(doctor.Finding{Check: "set-up", OK: true, Says: "the streams exist", Fixed: "made the streams that were missing"}) {
				_ = s.Close() // nothing was examined there
				return
			}
		}
		if errors.Is(err, host.ErrNoData) {
			yield(finding("data", doctor.Writable(a.data), a.data+" is empty: `parley ask` or `parley up` fills it"))
			return
		}
		if err != nil {
			yield(finding("server", err, ""))
			return
		}
		defer func() { _ = s.Close() }() // what was found is what counts
		if x.Bus, err = s.Bus(ctx); err != nil {
			yield(finding("server", err, ""))
			return
		}
		x.Where, x.Alone = s.Server(), s.Embedded()
		if a.cfg.NATS.URL == "" {
			x.Dir = a.data
		}
		for f := range x.Run(ctx) {
			if !yield(f) {
				return
			}
		}
	}
}

// examineHere examines what needs no server, and notes it for the other checks.
func (a *app) examineHere(ctx context.Context, h *host.Host, x *doctor.Examination) iter.Seq[doctor.Finding] {
	return func(yield func(doctor.Finding) bool) {
		rules, badRules := policy.Load(a.cfg.Rules)
		models, err := host.Catalog(ctx, a.cfg, rules.Pools)
		if err != nil {
			if !yield(finding("models", err, "")) {
				return
			}
		} else {
			x.Providers = models.Names()
			for _, f := range doctor.Models(ctx, models) {
				if !yield(f) {
					return
				}
			}
		}
		switch {
		case badRules != nil:
			if !yield(finding("rules", badRules, "")) {
				return
			}
		case a.cfg.Rules != "":
			x.Rules = rules
		}
		if _, x.Servers, err = toolworker.Toolbox(h.WithTools(a.cfg), h.Log); err != nil {
			yield(finding("tools-file", err, ""))
		}
	}
}

func finding(check string, err error, says string) doctor.Finding {
	if err != nil {
		says = err.Error()
	}
	return doctor.Finding{Check: check, OK: err == nil, Says: says}
}
