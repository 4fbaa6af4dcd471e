package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bench/meter"
	"github.com/parleybus/parley/internal/bench/wire"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// process is a child process.
type process struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	reports *json.Decoder
}

func startProcess(command []string) (*process, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process of the benchmark: %w", err)
	}
	return &process{cmd, in, json.NewDecoder(out)}, nil
}

// tell gives an order and waits until it is done.
func (p *process) tell(o order) (report, error) {
	if err := json.NewEncoder(p.orders).Encode(o); err != nil {
		return report{}, fmt.Errorf("tell a process of the benchmark to %s: %w", o.Do, err)
	}
	var r report
	if err := p.reports.Decode(&r); err != nil {
		return r, fmt.Errorf("a process of the benchmark ended when it was told to %s: %w", o.Do, err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("%s: %s", o.Do, r.Error)
	}
	return r, nil
}

// end ends the process and waits for it.
func (p *process) end() error {
	_ = p.orders.Close() // it ends with its input
	return p.cmd.Wait()
}

// crew is the deployment of [Options.Processes]: the server in one process, orchestrator,
// worker and raw publishers in another; viewers are in this one.
type crew struct {
	*stage
	server, roles *process
	peer          *PeerServer          // nil if there is none
	wires         map[string]wire.Wire // by the path of a row
}

func (o Options) openCrew(ctx context.Context) (c *crew, err error) {
	// A clock that other processes can count from: without its monotonic part.
	c = &crew{stage: &stage{clock: time.Now().Round(0), provider: &provider{}, stop: func() {}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for _, p := range []**process{&c.server, &c.roles} {
		if *p, err = startProcess(o.Processes); err != nil {
			return c, err
		}
	}
	served, err := c.server.tell(order{Do: doServe})
	if err != nil {
		return c, err
	}
	roles := order{Do: doRoles, URL: served.URL, Slots: slices.Max(o.Conversations) + 8, Clock: c.clock}
	if o.Peer != nil {
		if c.dir, err = os.MkdirTemp("", "parley-bench-"); err != nil {
			return c, fmt.Errorf("make a directory for %s: %w", o.Peer.Name, err)
		}
		if c.peer, err = o.Peer.Serve(ctx, c.dir); err != nil {
			return c, err
		}
		roles.Peer = c.peer.URL
	}
	if _, err := c.roles.tell(roles); err != nil {
		return c, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if c.viewers, err = bus.Connect(ctx, bus.Config{Name: "parley bench", Log: log, URL: served.URL}, nil); err != nil {
		return c, err
	}
	c.wires, err = openWires(ctx, c.viewers, o.Peer, roles.Peer)
	return c, err
}

// Close ends the processes, the server last.
func (c *crew) Close() error {
	err := closeAll(c.wires)
	if c.peer != nil {
		err = errors.Join(err, c.peer.Stop())
	}
	err = errors.Join(err, c.stage.Close())
	for _, p := range []*process{c.roles, c.server} {
		if p != nil {
			err = errors.Join(err, p.end())
		}
	}
	return err
}

// spent is the processor time of each process so far, of a row's path.
func (c *crew) spent(path string) (all [3]time.Duration, err error) {
	if path != pathParley && path != pathRaw {
		all[0], err = c.peer.CPU()
	} else {
		var server report
		server, err = c.server.tell(order{Do: doUsage})
		all[0] = server.CPU
	}
	if err != nil {
		return all, err
	}
	roles, err := c.roles.tell(order{Do: doUsage})
	all[1], all[2] = roles.CPU, meter.CPU()
	return all, err
}

// runProcesses is [Options.Run] with three processes.
func (o Options) runProcesses(ctx context.Context, text io.Writer) (_ *Report, err error) {
	began := meter.Start()
	c, err := o.openCrew(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r := &Report{Go: runtime.Version(), CPUs: runtime.NumCPU(), LoadBefore: meter.Load(), Processes: true}
	if o.Peer != nil {
		r.Peer = o.Peer.Name
	}
	r.printHead(text)
	stop, err := o.profile()
	if err != nil {
		return nil, err
	}
	defer stop()
	for _, n := range o.Conversations {
		for _, target := range o.Rates {
			rate, err := perSecond(target)
			if err != nil {
				return nil, err
			}
			for _, path := range o.paths() {
				res, err := c.measure(ctx, o, path, n, rate)
				if err != nil {
					return nil, err
				}
				res.print(text)
				r.Rows = append(r.Rows, res)
			}
		}
	}
	for _, n := range o.CatchUp {
		for _, path := range o.paths() {
			one, err := c.catchUp(ctx, path, n)
			if err != nil {
				return nil, err
			}
			one.print(text)
			r.CatchUps = append(r.CatchUps, one)
		}
	}
	cost := began.Stop()
	r.OthersShare, r.Seconds = -1, cost.Wall.Seconds()
	return r, nil
}

// measure measures a row of n conversations.
func (c *crew) measure(ctx context.Context, o Options, path string, n int, rate float64) (Result, error) {
	viewers, window := max(o.Viewers, 1), time.Duration(o.Seconds*float64(time.Second))
	ctx, cancel := context.WithTimeout(ctx, window+rowTimeout)
	defer cancel()
	row := newRowRun(c.clock, 2*n*viewers) // a viewer may start before it waits and after
	samples := make([]*viewerSamples, n*viewers)
	for i := range samples {
		samples[i] = new(viewerSamples)
	}
	samples[viewers-1].stalls = o.Stall && path == pathParley && viewers > 1
	m := c.measureRow(row, path, samples)
	g, run := errgroup.WithContext(ctx)
	done, parties := func() {}, 0
	var err error
	if path == pathParley {
		parties = n * viewers
		err = c.answers(run, g, row, samples, n, rate/float64(n))
	} else {
		done, err = c.subscribe(run, path, row, samples, n, rate/float64(n))
	}
	defer done()
	if err != nil {
		return Result{}, err
	}
	cost, err := row.measure(run, parties, window)
	_, over := c.roles.tell(order{Do: doOver})
	if err := errors.Join(err, over, g.Wait()); err != nil {
		return Result{}, fmt.Errorf("%d conversations, %s: %w", n, path, err)
	}
	if err := checkStalled(samples[:viewers]); err != nil {
		return Result{}, err
	}
	cost.CPU = 0
	for i := range m.after {
		cost.Each = append(cost.Each, m.after[i]-m.before[i])
		cost.CPU += m.after[i] - m.before[i]
	}
	if cost.Others >= 0 { // the meter took the other processes for strangers
		theirs := float64(cost.CPU-cost.Each[2]) / float64(cost.Wall) / float64(runtime.NumCPU())
		cost.Others = max(0, cost.Others-theirs)
	}
	res := newResult(path, n, rate, cost, samples)
	res.Viewers, res.ViewerKB, res.ViewerKBAfter = viewers, m.kilobytes(0, n*viewers), m.kilobytes(1, n*viewers)
	return res, nil
}

// rowMeasures are the processor times of the three processes, and the memory of the
// viewers' process.
type rowMeasures struct {
	before, after [3]time.Duration
	memory        [3]int64 // without viewers, with all of them, and after the window
}

func (m *rowMeasures) kilobytes(when, viewers int) float64 {
	return float64(m.memory[when+1]-m.memory[0]) / 1024 / float64(viewers)
}

// measureRow measures at the beginning of a row's window and at its end.
func (c *crew) measureRow(row *rowRun, path string, samples []*viewerSamples) *rowMeasures {
	m := &rowMeasures{memory: [3]int64{meter.Memory()}}
	row.measured = func(beginning bool) (err error) {
		if beginning {
			m.before, err = c.spent(path)
			return err
		}
		m.after, err = c.spent(path)
		m.memory[2] = meter.Memory() - memoryOf(samples)
		return err
	}
	row.began = func() error {
		m.memory[1] = meter.Memory()
		_, err := c.roles.tell(order{Do: doBegin})
		return err
	}
	return m
}

// answers prepares conversations whose answers come at a rate.
func (c *crew) answers(ctx context.Context, g *errgroup.Group, row *rowRun, samples []*viewerSamples, n int, rate float64) error {
	if _, err := c.roles.tell(order{Do: doRow}); err != nil {
		return err
	}
	opening := make(chan struct{}, openAtOnce)
	for i := range n {
		pace := newPacer(row, rate, float64(i)/float64(n), 0)
		mine := samples[i*len(samples)/n : (i+1)*len(samples)/n]
		g.Go(func() error { return c.watch(ctx, pace, mine, opening) })
	}
	return nil
}

// watch is [stage.view] with several viewers.
func (c *crew) watch(ctx context.Context, pace *pacer, mine []*viewerSamples, opening chan struct{}) error {
	first := true
	for !pace.row.isOver() {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		select {
		case opening <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := c.send(ctx, id.String(), paceText(id.String(), pace.rate, pace.phase)); err != nil {
			return err
		}
		g, run := errgroup.WithContext(ctx)
		for i, one := range mine {
			open, started := func() {}, func() {}
			if i == 0 {
				open = func() { <-opening }
			}
			if first {
				started = func() { pace.row.ready <- struct{}{} }
			}
			g.Go(func() error { return c.follow(run, id.String(), pace, one, open, started) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		first = false
	}
	return nil
}

// subscribe prepares publishers and viewers by hand.
func (c *crew) subscribe(ctx context.Context, path string, row *rowRun, samples []*viewerSamples, n int, rate float64) (func(), error) {
	var lanes []topology.Address
	var undo []func()
	done := func() {
		for _, f := range undo {
			f()
		}
	}
	for i := range n {
		a, err := newOut()
		if err != nil {
			return done, err
		}
		lanes = append(lanes, a)
		for _, one := range samples[i*len(samples)/n : (i+1)*len(samples)/n] {
			stop, err := c.wires[path].Watch(ctx, a, func(e []byte) { one.raw(row, e) })
			if err != nil {
				return done, err
			}
			undo = append(undo, stop)
		}
	}
	_, err := c.roles.tell(order{Do: doPublish, Path: path, Rate: rate, Lanes: lanes})
	return done, err
}
