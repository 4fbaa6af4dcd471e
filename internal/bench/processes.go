package bench

import (
	"bufio"
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
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/broker"
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
}

func openCrew(ctx context.Context, command []string, slots int) (c *crew, err error) {
	// A clock that other processes can count from: without its monotonic part.
	c = &crew{stage: &stage{clock: time.Now().Round(0), provider: &provider{}, stop: func() {}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for _, p := range []**process{&c.server, &c.roles} {
		if *p, err = startProcess(command); err != nil {
			return c, err
		}
	}
	served, err := c.server.tell(order{Do: doServe})
	if err != nil {
		return c, err
	}
	if _, err := c.roles.tell(order{Do: doRoles, URL: served.URL, Slots: slots, Clock: c.clock}); err != nil {
		return c, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c.viewers, err = bus.Connect(ctx, bus.Config{Name: "parley bench", Log: log, URL: served.URL}, nil)
	return c, err
}

// Close ends the processes, the server last.
func (c *crew) Close() error {
	err := c.stage.Close()
	for _, p := range []*process{c.roles, c.server} {
		if p != nil {
			err = errors.Join(err, p.end())
		}
	}
	return err
}

// spent is the processor time of each process so far.
func (c *crew) spent() (all [3]time.Duration, err error) {
	server, err := c.server.tell(order{Do: doUsage})
	if err != nil {
		return all, err
	}
	roles, err := c.roles.tell(order{Do: doUsage})
	return [3]time.Duration{server.CPU, roles.CPU, processCPU()}, err
}

// runProcesses is [Options.Run] with three processes.
func (o Options) runProcesses(ctx context.Context, text io.Writer) (_ *Report, err error) {
	meter := startMeter()
	c, err := openCrew(ctx, o.Processes, slices.Max(o.Conversations)+8)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r := &Report{Go: runtime.Version(), CPUs: runtime.NumCPU(), LoadBefore: loadAverage(), Processes: true}
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
			for _, path := range []string{pathParley, pathRaw} {
				if path == pathRaw && !o.Raw {
					continue
				}
				res, err := c.measure(ctx, path, n, max(o.Viewers, 1), rate, time.Duration(o.Seconds*float64(time.Second)))
				if err != nil {
					return nil, err
				}
				res.print(text)
				r.Rows = append(r.Rows, res)
			}
		}
	}
	cost := meter.stop()
	r.OthersShare, r.Seconds = -1, cost.Wall.Seconds()
	return r, nil
}

// measure measures a row of n conversations with so many viewers each.
func (c *crew) measure(ctx context.Context, path string, n, viewers int, rate float64, window time.Duration) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, window+rowTimeout)
	defer cancel()
	row := newRowRun(c.clock, 2*n*viewers) // a viewer may start before it waits and after
	samples := make([]*viewerSamples, n*viewers)
	for i := range samples {
		samples[i] = new(viewerSamples)
	}
	g, run := errgroup.WithContext(ctx)
	prepare, parties := c.answers, n*viewers
	if path == pathRaw {
		prepare, parties = c.subscribe, 0
	}
	done, err := prepare(run, g, row, samples, n, rate/float64(n))
	if err != nil {
		return Result{}, err
	}
	defer done()
	var before, after [3]time.Duration
	row.measured = func(beginning bool) (err error) {
		if beginning {
			before, err = c.spent()
		} else {
			after, err = c.spent()
		}
		return err
	}
	row.began = func() error {
		_, err := c.roles.tell(order{Do: doBegin})
		return err
	}
	cost, err := row.measure(run, parties, window)
	_, over := c.roles.tell(order{Do: doOver})
	if err := errors.Join(err, over, g.Wait()); err != nil {
		return Result{}, fmt.Errorf("%d conversations, %s: %w", n, path, err)
	}
	cost.CPU = 0
	for i := range after {
		cost.Each = append(cost.Each, after[i]-before[i])
		cost.CPU += after[i] - before[i]
	}
	if cost.Others >= 0 { // the meter took the two other processes for strangers
		theirs := float64(cost.Each[0]+cost.Each[1]) / float64(cost.Wall) / float64(runtime.NumCPU())
		cost.Others = max(0, cost.Others-theirs)
	}
	res := newResult(path, n, rate, cost, samples)
	res.Viewers = viewers
	return res, nil
}

// answers prepares conversations whose answers come at a rate.
func (c *crew) answers(ctx context.Context, g *errgroup.Group, row *rowRun, samples []*viewerSamples, n int, rate float64) (func(), error) {
	if _, err := c.roles.tell(order{Do: doRow}); err != nil {
		return nil, err
	}
	opening := make(chan struct{}, openAtOnce)
	for i := range n {
		pace := newPacer(row, rate, float64(i)/float64(n), 0)
		mine := samples[i*len(samples)/n : (i+1)*len(samples)/n]
		g.Go(func() error { return c.watch(ctx, pace, mine, opening) })
	}
	return func() {}, nil
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

// subscribe prepares raw publishers and plain subscriptions.
func (c *crew) subscribe(ctx context.Context, _ *errgroup.Group, row *rowRun, samples []*viewerSamples, n int, rate float64) (func(), error) {
	var lanes []topology.Address
	var undo []func()
	done := func() {
		for _, f := range undo {
			f()
		}
	}
	nc, _ := c.viewers.Raw()
	for i := range n {
		a, err := newOut()
		if err != nil {
			return done, err
		}
		lanes = append(lanes, a)
		for _, one := range samples[i*len(samples)/n : (i+1)*len(samples)/n] {
			stop, err := subscribeRaw(nc, a, row, one)
			if err != nil {
				return done, err
			}
			undo = append(undo, stop)
		}
	}
	if err := nc.FlushWithContext(ctx); err != nil {
		return done, fmt.Errorf("subscribe: %w", err)
	}
	_, err := c.roles.tell(order{Do: doPublish, Rate: rate, Lanes: lanes})
	return done, err
}

// order is what the process of the viewers tells a child, a line of JSON each.
type order struct {
	Do    string    `json:"do"` // one of the constants below
	URL   string    `json:"url,omitempty"`
	Slots int       `json:"slots,omitempty"`
	Clock time.Time `json:"clock,omitzero"` // times count from here
	// Of a row.
	Rate  float64            `json:"rate,omitempty"` // events per second of one conversation
	Lanes []topology.Address `json:"lanes,omitempty"`
}

// What a child can be told.
const (
	doServe   = "serve"   // run the server
	doRoles   = "roles"   // run orchestrator and worker
	doRow     = "row"     // prepare a row of answers
	doPublish = "publish" // prepare a row of raw publishers
	doBegin   = "begin"   // begin the row
	doOver    = "over"    // end it
	doUsage   = "usage"   // tell the processor time
)

// report is a child's answer to an order.
type report struct {
	URL   string        `json:"url,omitempty"`
	CPU   time.Duration `json:"cpu,omitempty"`
	Error string        `json:"error,omitempty"`
}

// Child does what the process that started it tells it on in, and answers on out, until
// in ends. It is the other half of [Options.Processes].
func Child(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	c := child{ctx: ctx, stage: &stage{provider: &provider{}, stop: func() {}}}
	defer func() {
		cancel()
		err = errors.Join(err, c.publishing.Wait(), c.Close())
	}()
	orders, reports := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read an order: %w", err)
		}
		r, err := c.do(o)
		if err != nil {
			r.Error = err.Error()
		}
		if err := reports.Encode(r); err != nil {
			return fmt.Errorf("answer an order: %w", err)
		}
	}
}

type child struct {
	*stage
	ctx        context.Context
	row        *rowRun
	publishing errgroup.Group
}

func (c *child) do(o order) (r report, err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	switch o.Do {
	case doServe:
		if c.dir, err = os.MkdirTemp("", "parley-bench-"); err != nil {
			return r, fmt.Errorf("make a directory for the server: %w", err)
		}
		if c.server, err = broker.Start(broker.Config{Dir: c.dir, Log: log}); err != nil {
			return r, err
		}
		r.URL = c.server.URL()
	case doRoles:
		c.clock = o.Clock
		for _, b := range []**bus.Bus{&c.roles, &c.raw} {
			if *b, err = bus.Connect(c.ctx, bus.Config{Name: "parley bench", Log: log, URL: o.URL}, &topology.Plan{Shards: 1}); err != nil {
				return r, err
			}
		}
		return r, c.runRoles(c.ctx, log, o.Slots)
	case doRow:
		c.row = newRowRun(c.clock, 0)
		asked := c.asked()
		c.provider.asked.Store(&asked)
	case doPublish:
		c.row = newRowRun(c.clock, 0)
		return r, c.publish(o)
	case doBegin:
		c.row.start = c.row.now()
		close(c.row.begin)
	case doOver:
		close(c.row.over)
		err = c.publishing.Wait()
		c.publishing = errgroup.Group{}
		return r, err
	case doUsage:
		r.CPU = processCPU()
	default:
		return r, fmt.Errorf("there is no order %q", o.Do)
	}
	return r, nil
}

// asked returns the pacer of a conversation, by the message of its user, see [paceText].
func (c *child) asked() func(text string) *pacer {
	row, paces := c.row, sync.Map{}
	return func(text string) *pacer {
		f := strings.Fields(text)
		if len(f) != 3 {
			return nil
		}
		rate, err := strconv.ParseFloat(f[1], 64)
		phase, err2 := strconv.ParseFloat(f[2], 64)
		if errors.Join(err, err2) != nil {
			return nil
		}
		p, _ := paces.LoadOrStore(f[0], newPacer(row, rate, phase, 0))
		return p.(*pacer)
	}
}

// paceText is a user's message that says at which rate its answer comes.
func paceText(conversation string, rate, phase float64) string {
	return fmt.Sprintf("%s %g %g", conversation, rate, phase)
}

// publish starts raw publishers.
func (c *child) publish(o order) error {
	js, refused, err := c.publisher()
	if err != nil {
		return err
	}
	row := c.row
	var all errgroup.Group
	for i, a := range o.Lanes {
		pace := newPacer(row, o.Rate, float64(i)/float64(len(o.Lanes)), 1<<62)
		all.Go(func() error { return publishPaced(c.ctx, js, a, pace) })
	}
	c.publishing.Go(func() error {
		defer js.CleanupPublisher()
		err := all.Wait()
		select {
		case <-js.PublishAsyncComplete():
		case <-c.ctx.Done():
		}
		select {
		case refusal := <-refused:
			err = errors.Join(err, fmt.Errorf("a raw publish was refused: %w", refusal))
		default:
		}
		return err
	})
	return nil
}
