package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/bench"
	"github.com/parleybus/parley/internal/daemon"
)

// benchmark is the flags of bench.
type benchmark struct {
	bench.Options
	short     bool
	processes bool
	output    string
	against   string // path of an earlier report
}

// compareTries is how often is measured, at most, before a ratio counts as lost.
const compareTries = 3

func benchCommand() *cobra.Command {
	var o benchmark
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure events per second and latency on this machine",
		Long: `Measure events per second and latency on this machine: from a provider's byte to
a viewer's callback, through decoder, worker, server and log, beside raw
JetStream publishing on the same streams in the same run; what each part costs;
how long decisions take. Everything runs in this process, on a server of its own
in a temporary directory that is removed. It takes about 40 seconds, with
--short about 10.

With --processes the server, the workers and the viewers have a process each, as in
a deployment, and only the rows are measured, with numbers as rates.`,
		Example: `  parley bench
  parley bench --conversations 200 --rate 20000,max --seconds 5
  parley bench --processes --conversations 1 --viewers 1000 --rate 200
  parley bench --short --output json >before.json; parley bench --short --against before.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := daemon.Signals(cmd.Context())
			defer stop()
			return o.run(ctx, cmd.OutOrStdout(), cmd.Flags().Changed)
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&o.Conversations, "conversations", []int{1, 100, 1000}, "how many at once, a row each")
	f.StringSliceVar(&o.Rates, "rate", []string{"5000", "30000", "max"}, "events per second of all together, a row each; max is as fast as it goes")
	f.Float64Var(&o.Seconds, "seconds", 1, "how long each row is measured")
	f.IntVar(&o.Turns, "turns", 300, "turns to measure decisions on; 0 for none")
	f.BoolVar(&o.Raw, "raw", true, "measure raw publishing beside each row")
	f.BoolVar(&o.processes, "processes", false, "measure with the server, the workers and the viewers in a process each")
	f.IntVar(&o.Viewers, "viewers", 1, "viewers of each conversation, with --processes")
	f.BoolVar(&o.Stall, "stall", false, "one viewer stands still for the row, with --viewers: it must see all afterwards")
	f.IntSliceVar(&o.CatchUp, "catch-up", nil, "also read conversations of so many events from their beginning, with --processes")
	f.BoolVar(&o.short, "short", false, "a quarter of everything, for CI")
	f.StringVar(&o.output, "output", "text", "text or json")
	f.StringVar(&o.against, "against", "", "an earlier report of --output json: fails if over 30 percent of a ratio to raw is lost, of the best of three runs")
	f.StringVar(&o.Profile, "cpuprofile", "", "write a CPU profile of the rows to this file, for go tool pprof")
	cmd.AddCommand(&cobra.Command{
		Use: "process", Hidden: true, Args: cobra.NoArgs, Short: "A process of parley bench --processes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.Child(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), nil)
		},
	})
	return cmd
}

// shorten applies --short. changed reports whether a flag was given.
func (o *benchmark) shorten(changed func(flag string) bool) {
	o.Part = 100 * time.Millisecond
	for flag, shorten := range map[string]func(){
		"conversations": func() { o.Conversations = []int{1, 100} },
		"rate":          func() { o.Rates = []string{"5000", "max"} },
		"seconds":       func() { o.Seconds = 0.5 },
		"turns":         func() { o.Turns = 100 },
	} {
		if !changed(flag) {
			shorten()
		}
	}
}

func (o *benchmark) run(ctx context.Context, out io.Writer, changed func(flag string) bool) error {
	o.Part = 200 * time.Millisecond
	if o.short {
		o.shorten(changed)
	}
	if o.output != "text" && o.output != "json" {
		return usagef("--output %q is neither text nor json", o.output)
	}
	if o.against != "" && o.output != "text" {
		return usagef("--against prints a comparison: leave --output %s out", o.output)
	}
	if o.processes {
		own, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the program to start it again: %w", err)
		}
		if o.Processes = []string{own, "bench", "process"}; !changed("rate") {
			o.Rates = []string{"5000", "30000"}
		}
	}
	if err := o.Check(); err != nil {
		return usage(err)
	}
	if o.against != "" {
		return o.compare(ctx, out)
	}
	if o.output == "text" {
		_, err := o.Run(ctx, out)
		return err
	}
	r, err := o.Run(ctx, io.Discard)
	if r == nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return errors.Join(outputError(enc.Encode(r)), err)
}

// compare measures, again while a ratio is lost, and prints the ratios beside those of the
// earlier report.
func (o *benchmark) compare(ctx context.Context, out io.Writer) error {
	before, err := bench.ReadReport(o.against)
	if err != nil {
		return usage(err)
	}
	var runs []*bench.Report
	for {
		r, err := o.Run(ctx, out)
		if err != nil {
			return err
		}
		runs = append(runs, r)
		changes, err := bench.Compare(before, runs...)
		if err != nil {
			return usage(err)
		}
		lost := slices.ContainsFunc(changes, bench.Change.Lost)
		if lost && len(runs) < compareTries {
			continue
		}
		fmt.Fprintf(out, "\nRatios to raw, the best of %d runs, and those of %s:\n", len(runs), o.against)
		for _, c := range changes {
			fmt.Fprintln(out, "  "+c.String())
		}
		if lost {
			return fmt.Errorf("slower than in %s, in each of %d runs", o.against, len(runs))
		}
		return nil
	}
}
