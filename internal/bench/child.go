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
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bench/meter"
	"github.com/parleybus/parley/internal/bench/wire"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// order is what the process of the viewers tells a child, a line of JSON each.
type order struct {
	Do    string    `json:"do"` // one of the constants below
	URL   string    `json:"url,omitempty"`
	Slots int       `json:"slots,omitempty"`
	Clock time.Time `json:"clock,omitzero"` // times count from here
	Peer  string    `json:"peer,omitempty"` // address of the peer's server, if there is one
	// Of a row.
	Path  string             `json:"path,omitempty"`
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
// in ends. It is the other half of [Options.Processes]; peer is that of the options.
func Child(ctx context.Context, in io.Reader, out io.Writer, peer *Peer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	c := child{ctx: ctx, peer: peer, stage: &stage{provider: &provider{}, stop: func() {}}, wires: map[string]wire.Wire{}}
	defer func() {
		cancel()
		err = errors.Join(err, c.publishing.Wait(), closeAll(c.wires), c.Close())
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
	peer       *Peer
	wires      map[string]wire.Wire // by the path of a row
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
		if c.wires, err = openWires(c.ctx, c.raw, c.peer, o.Peer); err != nil {
			return r, err
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
		r.CPU = meter.CPU()
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

// publish starts publishers by hand.
func (c *child) publish(o order) error {
	w, row := c.wires[o.Path], c.row
	if w == nil {
		return fmt.Errorf("there is no path %q", o.Path)
	}
	var all errgroup.Group
	for i, a := range o.Lanes {
		pace := newPacer(row, o.Rate, float64(i)/float64(len(o.Lanes)), 1<<62)
		all.Go(func() error { return publishPaced(c.ctx, w, a, pace) })
	}
	c.publishing.Go(func() error { return errors.Join(all.Wait(), w.Flush(c.ctx)) })
	return nil
}
