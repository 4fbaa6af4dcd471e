package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/daemon"
)

// benchOptions are what bench is told.
type benchOptions struct {
	conversations []int
	rates         []string // events per second, or max
	seconds       float64  // each row is measured
	turns         int
	raw           bool
	short         bool
	output        string
	profile       string
}

func benchCommand() *cobra.Command {
	var o benchOptions
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
	f.IntSliceVar(&o.conversations, "conversations", []int{1, 100, 1000}, "how many at once, a row each")
	f.StringSliceVar(&o.rates, "rate", []string{"5000", "30000", "max"}, "events per second of all together, a row each; max is as fast as it goes")
	f.Float64Var(&o.seconds, "seconds", 1, "how long each row is measured")
	f.IntVar(&o.turns, "turns", 300, "turns to measure decisions on; 0 for none")
	f.BoolVar(&o.raw, "raw", true, "measure raw publishing beside each row")
	f.BoolVar(&o.short, "short", false, "a quarter of everything, for CI")
	f.StringVar(&o.output, "output", "text", "text or json")
	f.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of the rows to this file, for go tool pprof")
	return cmd
}

// benchReport is what --output json prints.
type benchReport struct {
	Go            string          `json:"go"`
	CPUs          int             `json:"cpus"`
	LoadBefore    string          `json:"load_before,omitempty"`
	Rows          []benchResult   `json:"rows"`
	Ratios        []benchRatio    `json:"ratios"`
	Decisions     *benchDecisions `json:"decisions,omitempty"`
	EventsInFrame int             `json:"parts_events_per_frame"`
	Parts         []benchPart     `json:"parts"`
	OthersShare   float64         `json:"others_cpu_share"`
	Seconds       float64         `json:"seconds"`
}

// benchRatio compares the rows that go as fast as they can.
type benchRatio struct {
	Conversations int     `json:"conversations"`
	OverRaw       float64 `json:"parley_over_raw"`
	OverReader    float64 `json:"parley_over_raw_reader"`
}

// benchMost bounds what can be asked for.
const (
	benchMostConversations = 5000
	benchMostRate          = 1_000_000
	benchMostSeconds       = 60
	benchMostTurns         = 10_000
)

// settle applies --short and checks the bounds. changed reports whether a flag
// was given.
func (o *benchOptions) settle(changed func(string) bool) ([]float64, error) {
	if o.short {
		for flag, shorten := range map[string]func(){
			"conversations": func() { o.conversations = []int{1, 100} },
			"rate":          func() { o.rates = []string{"5000", "max"} },
			"seconds":       func() { o.seconds = 0.5 },
			"turns":         func() { o.turns = 100 },
		} {
			if !changed(flag) {
				shorten()
			}
		}
	}
	usage := func(format string, args ...any) ([]float64, error) {
		return nil, &exitError{exitUsage, fmt.Errorf(format, args...)}
	}
	if o.output != "text" && o.output != "json" {
		return usage("--output %q is neither text nor json", o.output)
	}
	if !(o.seconds >= 0.1 && o.seconds <= benchMostSeconds) {
		return usage("--seconds %g must be from 0.1 to %d", o.seconds, benchMostSeconds)
	}
	if o.turns < 0 || o.turns > benchMostTurns {
		return usage("--turns %d must be from 0 to %d", o.turns, benchMostTurns)
	}
	if len(o.conversations) == 0 || len(o.rates) == 0 || len(o.conversations)*len(o.rates) > 40 {
		return usage("--conversations and --rate ask for %d rows; give 1 to 40", len(o.conversations)*len(o.rates))
	}
	for _, n := range o.conversations {
		if n < 1 || n > benchMostConversations {
			return usage("--conversations %d must be from 1 to %d", n, benchMostConversations)
		}
	}
	rates := make([]float64, len(o.rates))
	for i, r := range o.rates {
		if r == "max" {
			continue
		}
		n, err := strconv.Atoi(r)
		if err != nil || n < 1 || n > benchMostRate {
			return usage("--rate %q must be max or from 1 to %d", r, benchMostRate)
		}
		rates[i] = float64(n)
	}
	return rates, nil
}

func (o *benchOptions) run(ctx context.Context, out io.Writer, changed func(string) bool) (err error) {
	rates, err := o.settle(changed)
	if err != nil {
		return err
	}
	text := out
	if o.output == "json" {
		text = io.Discard
	}
	meter := startBenchMeter()
	stage, err := openBenchStage(ctx, slices.Max(o.conversations)+8)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	r := &benchReport{Go: runtime.Version(), CPUs: runtime.NumCPU(), LoadBefore: benchLoad()}
	r.printHead(text)
	if err := o.rows(ctx, stage, rates, r, text); err != nil {
		return err
	}
	if o.turns > 0 {
		d, err := stage.decisions(ctx, o.turns)
		if err != nil {
			return err
		}
		r.Decisions = &d
	}
	if err := stage.stopRoles(); err != nil {
		return err
	}
	budget := 200 * time.Millisecond
	if o.short {
		budget /= 2
	}
	r.EventsInFrame = benchFrame(r.Rows)
	if r.Parts, err = stage.parts(ctx, r.EventsInFrame, budget); err != nil {
		return err
	}
	cost := meter.stop()
	r.OthersShare, r.Seconds = cost.Others, cost.Wall.Seconds()
	r.printRest(text)
	if o.output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return outputError(enc.Encode(r))
	}
	return nil
}

// rows measures each row with Parley and without, one right after the other.
func (o *benchOptions) rows(ctx context.Context, stage *benchStage, rates []float64, r *benchReport, text io.Writer) error {
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return fmt.Errorf("write the profile: %w", err)
		}
		defer func() {
			pprof.StopCPUProfile()
			_ = f.Close() // what is missing of the profile shows when it is read
		}()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
	}
	window := time.Duration(o.seconds * float64(time.Second))
	for _, n := range o.conversations {
		for _, rate := range rates {
			var row []benchResult
			for _, measure := range []func() (benchResult, error){
				func() (benchResult, error) { return stage.parley(ctx, n, rate, window) },
				func() (benchResult, error) { return stage.publishRaw(ctx, n, rate, window, false) },
				func() (benchResult, error) { return stage.publishRaw(ctx, n, rate, window, true) },
			} {
				if !o.raw && len(row) == 1 || rate > 0 && len(row) == 2 {
					break // the reader matters where the machine is full
				}
				res, err := measure()
				if err != nil {
					return err
				}
				row = append(row, res)
				res.print(text)
			}
			r.Rows = append(r.Rows, row...)
			if len(row) == 3 {
				r.Ratios = append(r.Ratios, benchRatio{n, row[0].over(row[1]), row[0].over(row[2])})
			}
		}
	}
	return nil
}

// benchFrame is how many events a frame held where most was going on.
func benchFrame(rows []benchResult) int {
	frame := 1.0
	for _, r := range rows {
		if r.Path == benchParley {
			frame = r.EventsPerMessage
		}
	}
	return int(math.Round(min(max(frame, 1), 256)))
}
