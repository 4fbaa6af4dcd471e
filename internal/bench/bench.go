// Package bench measures events per second and latency on this machine: from a
// provider's byte to a viewer's callback, beside raw JetStream publishing on the
// same streams in the same run, what each part costs, and how long decisions
// take. Everything runs in this process, on a server of its own in a temporary
// directory that is removed.
package bench

import (
	"cmp"
	"context"
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

	"github.com/parleybus/parley/internal/bench/meter"
)

// Options select what is measured.
type Options struct {
	// Conversations is the number of concurrent conversations, 1 to 5,000. Rates
	// are total events per second, 1 to 1,000,000, or "max" for no limit. Each pair
	// is a row, at most 40.
	Conversations []int
	Rates         []string
	// Seconds is the duration of each row, 0.1 to 60.
	Seconds float64
	// Turns is the number of turns for the latency of decisions, at most 10,000; 0
	// skips it.
	Turns int
	// Busy is the number of events per second beside which decisions are measured a second
	// time; 0 means 5,000.
	Busy int
	// Raw also measures raw publishing for each row.
	Raw bool
	// Part is the duration for which each part is measured alone.
	Part time.Duration
	// Viewers is the number of viewers of each conversation, 1 to 10,000; only with
	// Processes.
	Viewers int
	// Processes is a command that runs [Child]: the server, the roles and the viewers are
	// in a process each then, rates have a limit, and decisions and parts are not measured.
	// Empty: all in this process.
	Processes []string
	// Peer is measured beside each row, with Processes; nil for none.
	Peer *Peer
	// Stall has the last viewer of the first conversation stand still for the row, and fails
	// if it has not seen all events afterwards; only with more than one viewer.
	Stall bool
	// CatchUp are lengths of conversations, in events of a message each, at most 100,000, that are read
	// from their beginning to their end; only with Processes.
	CatchUp []int
	// Profile is a file for a CPU profile of the rows, with Processes of the viewers;
	// empty means none.
	Profile string
}

// Report is the result of a benchmark.
type Report struct {
	Go            string     `json:"go"`
	CPUs          int        `json:"cpus"`
	LoadBefore    string     `json:"load_before,omitempty"`
	Rows          []Result   `json:"rows"`
	CatchUps      []CatchUp  `json:"catch_ups,omitempty"`
	Ratios        []Ratio    `json:"ratios"`
	Decisions     *Decisions `json:"decisions,omitempty"`      // on a deployment that does nothing else
	BusyDecisions *Decisions `json:"busy_decisions,omitempty"` // beside 100 conversations with 5,000 events per second
	EventsInFrame int        `json:"parts_events_per_frame"`
	Parts         []Part     `json:"parts"`
	OthersShare   float64    `json:"others_cpu_share"`
	Seconds       float64    `json:"seconds"`
	Processes     bool       `json:"processes,omitempty"`
	Peer          string     `json:"peer,omitempty"` // name of what else was measured beside
}

// Ratio compares the rows without a rate limit.
type Ratio struct {
	Conversations int     `json:"conversations"`
	OverRaw       float64 `json:"parley_over_raw"`
	OverReader    float64 `json:"parley_over_raw_reader"`
}

// Bounds of the options.
const (
	maxConversations = 5000
	maxRate          = 1_000_000
	maxSeconds       = 60
	maxTurns         = 10_000
	maxViewers       = 10_000
	maxRows          = 40
	maxCatchUp       = 100_000
)

// Check returns an error for an option out of bounds, by the name of the
// command's flag.
func (o Options) Check() error {
	if !(o.Seconds >= 0.1 && o.Seconds <= maxSeconds) {
		return fmt.Errorf("--seconds %g must be from 0.1 to %d", o.Seconds, maxSeconds)
	}
	if o.Turns < 0 || o.Turns > maxTurns {
		return fmt.Errorf("--turns %d must be from 0 to %d", o.Turns, maxTurns)
	}
	if rows := len(o.Conversations) * len(o.Rates); rows == 0 || rows > maxRows {
		return fmt.Errorf("--conversations and --rate ask for %d rows; give 1 to %d", rows, maxRows)
	}
	for _, n := range o.Conversations {
		if n < 1 || n > maxConversations {
			return fmt.Errorf("--conversations %d must be from 1 to %d", n, maxConversations)
		}
	}
	for _, r := range o.Rates {
		switch n, err := perSecond(r); {
		case err != nil:
			return err
		case n == 0 && len(o.Processes) > 0:
			return errors.New("--rate max cannot be measured with --processes: give numbers")
		}
	}
	if o.Viewers < 0 || o.Viewers > maxViewers || o.Viewers > 1 && len(o.Processes) == 0 {
		return fmt.Errorf("--viewers %d must be from 1 to %d, and goes with --processes", o.Viewers, maxViewers)
	}
	if len(o.Processes) == 0 && (o.Stall || o.Peer != nil || len(o.CatchUp) > 0) {
		return errors.New("--stall, --catch-up and peers go with --processes")
	}
	if o.Stall && o.Viewers < 2 {
		return errors.New("--stall needs more than one viewer: give --viewers")
	}
	for _, n := range o.CatchUp {
		if n < 1 || n > maxCatchUp {
			return fmt.Errorf("--catch-up %d must be from 1 to %d", n, maxCatchUp)
		}
	}
	return nil
}

// perSecond parses a rate; 0 means no limit.
func perSecond(rate string) (float64, error) {
	if rate == "max" {
		return 0, nil
	}
	n, err := strconv.Atoi(rate)
	if err != nil || n < 1 || n > maxRate {
		return 0, fmt.Errorf("--rate %q must be max or from 1 to %d", rate, maxRate)
	}
	return float64(n), nil
}

// Run measures and prints text for people to text as it proceeds. It fails on
// options that [Options.Check] refuses. If it returns a report and an error,
// the cleanup failed.
func (o Options) Run(ctx context.Context, text io.Writer) (_ *Report, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if len(o.Processes) > 0 {
		return o.runProcesses(ctx, text)
	}
	began := meter.Start()
	s, err := openStage(ctx, max(slices.Max(o.Conversations), busyConversations)+8)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := &Report{Go: runtime.Version(), CPUs: runtime.NumCPU(), LoadBefore: meter.Load()}
	r.printHead(text)
	if err := o.rows(ctx, s, r, text); err != nil {
		return nil, err
	}
	if o.Turns > 0 {
		d, err := s.decisions(ctx, o.Turns)
		if err != nil {
			return nil, err
		}
		r.Decisions = &d
		busy, err := s.busyDecisions(ctx, o.Turns, cmp.Or(o.Busy, busyRate))
		if err != nil {
			return nil, err
		}
		r.BusyDecisions = &busy
	}
	if err := s.stopRoles(); err != nil {
		return nil, err
	}
	r.EventsInFrame = frameLength(r.Rows)
	if r.Parts, err = s.parts(ctx, r.EventsInFrame, o.Part); err != nil {
		return nil, err
	}
	cost := began.Stop()
	r.OthersShare, r.Seconds = cost.Others, cost.Wall.Seconds()
	r.printRest(text)
	return r, nil
}

// profile writes the CPU profile, if one is wanted, until stop is called.
func (o Options) profile() (stop func(), err error) {
	if o.Profile == "" {
		return func() {}, nil
	}
	f, err := os.Create(o.Profile)
	if err != nil {
		return nil, fmt.Errorf("write the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("profile: %w", err), f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // an incomplete profile fails when it is read
	}, nil
}

// rows measures each row with Parley and without, one right after the other.
func (o Options) rows(ctx context.Context, s *stage, r *Report, text io.Writer) error {
	stop, err := o.profile()
	if err != nil {
		return err
	}
	defer stop()
	window := time.Duration(o.Seconds * float64(time.Second))
	for _, n := range o.Conversations {
		for _, target := range o.Rates {
			rate, err := perSecond(target)
			if err != nil {
				return err
			}
			var row []Result
			for _, measure := range []func() (Result, error){
				func() (Result, error) { return s.parley(ctx, n, rate, window) },
				func() (Result, error) { return s.publishRaw(ctx, n, rate, window, false) },
				func() (Result, error) { return s.publishRaw(ctx, n, rate, window, true) },
			} {
				if !o.Raw && len(row) == 1 || rate > 0 && len(row) == 2 {
					break // the reader only matters at full load
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
				r.Ratios = append(r.Ratios, Ratio{n, row[0].over(row[1]), row[0].over(row[2])})
			}
		}
	}
	return nil
}

// frameLength returns the events per frame of the row with the highest load.
func frameLength(rows []Result) int {
	frame := 1.0
	for _, r := range rows {
		if r.Path == pathParley {
			frame = r.EventsPerMessage
		}
	}
	return int(math.Round(min(max(frame, 1), 256)))
}
