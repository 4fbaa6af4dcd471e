package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/bench"
	"github.com/parleybus/parley/internal/daemon"
)

// benchmark is the flags of bench.
type benchmark struct {
	bench.Options
	short  bool
	output string
}

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
--short about 10.`,
		Example: `  parley bench
  parley bench --conversations 200 --rate 20000,max --seconds 5`,
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
	f.BoolVar(&o.short, "short", false, "a quarter of everything, for CI")
	f.StringVar(&o.output, "output", "text", "text or json")
	f.StringVar(&o.Profile, "cpuprofile", "", "write a CPU profile of the rows to this file, for go tool pprof")
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
	if err := o.Check(); err != nil {
		return usage(err)
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
