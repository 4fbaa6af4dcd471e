package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// laneAppender appends a frame to a lane whose last message has sequence after:
// [bus.Lane.Append], or one that is wrong, to check the checker.
type laneAppender func(ctx context.Context, b *bus.Bus, a topology.Address, after uint64, frame []byte) (uint64, error)

func realAppend(ctx context.Context, b *bus.Bus, a topology.Address, after uint64, frame []byte) (uint64, error) {
	return b.Lane(a).Append(ctx, after, frame)
}

// laneStep is one step of a schedule. Everything random about a run is in its
// schedule, which follows from the seed.
type laneStep struct {
	do           string
	writer, lane int
	n            int           // events to append
	wait         time.Duration // of a pause, or a delay
}

// phases is how many phases a run has. At the end of each the network is healed and
// everybody has finished.
const phases = 3

func laneSchedule(seed uint64, writers, lanes int) [phases][]laneStep {
	r := rand.New(rand.NewPCG(seed, 0))
	actions := []string{"take", "take", "take", "append", "append", "append", "append", "append", "append", "stream", "stream", "stream", "stream",
		"cut", "cut", "lose", "lose", "mute", "hang", "delay", "refuse", "heal", "heal", "heal", "cancel", "pause", "pause", "pause", "pause", "pause"}
	var all [phases][]laneStep
	for p := range all {
		for range 30 + r.IntN(30) {
			s := laneStep{do: actions[r.IntN(len(actions))], writer: r.IntN(writers), lane: r.IntN(lanes), n: 1 + r.IntN(4), wait: time.Duration(1+r.IntN(10)) * time.Millisecond}
			if s.do == "stream" {
				s.n = 1 + r.IntN(12)
			}
			all[p] = append(all[p], s)
		}
		end := []string{"nothing", "expire", "restart", "restart and expire"}[r.IntN(4)]
		all[p] = append(all[p], laneStep{do: end})
	}
	return all
}

// laneRun is one run: writers that each have a connection of their own through a
// proxy, and lanes whose operations are recorded.
type laneRun struct {
	t       *testing.T
	dir     string
	port    int
	server  *broker.Broker
	clean   *bus.Bus
	append  laneAppender
	real    bool
	lanes   []*recordedLane
	writers []*laneTester
}

type recordedLane struct {
	history
	address topology.Address
	log     []string // events that have expired
}

// laneTester is a writer, an owner or a zombie: it appends where it last was, also
// after it was fenced, until it takes the lane again.
type laneTester struct {
	run    *laneRun
	number int
	proxy  *brokertest.Proxy
	bus    *bus.Bus
	todo   chan func(context.Context)
	events atomic.Int64
	at     []lanePosition
	open   []laneStream // by lane

	mu     sync.Mutex
	cancel context.CancelFunc // of what it does now
}

// laneStream is a LaneWriter that is open, if there is one.
type laneStream struct {
	*bus.LaneWriter
	cancel context.CancelFunc
}

type lanePosition struct {
	seq   uint64
	event string
}

func newLaneRun(t *testing.T, seed uint64, do laneAppender) *laneRun {
	t.Helper()
	r := &laneRun{t: t, dir: t.TempDir(), append: do, real: do == nil}
	if r.real {
		r.append = realAppend
	}
	r.serve()
	t.Cleanup(func() {
		if err := r.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	var err error
	if r.clean, err = bus.Connect(t.Context(), bus.Config{URL: r.server.URL(), Name: "reader", Options: atOnce()}, &topology.Plan{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.clean.Close)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var clock atomic.Int64
	conversation := id()
	channels := []events.Channel{events.ChannelTurn, events.ChannelGen, events.ChannelCall}
	for _, channel := range channels[:1+rnd.IntN(len(channels))] {
		a := topology.At(r.clean.Shards(), conversation, channel)
		if channel == events.ChannelCall {
			a = topology.OfCall(r.clean.Shards(), conversation, channel, id())
		}
		r.lanes = append(r.lanes, &recordedLane{history: history{clock: &clock, gen: channel == events.ChannelGen}, address: a})
	}
	for n := range 2 + rnd.IntN(4) {
		r.writers = append(r.writers, r.writer(n))
	}
	return r
}

// serve starts the server, again on the port that it had.
func (r *laneRun) serve() {
	r.t.Helper()
	s, err := broker.Start(broker.Config{Dir: r.dir, Port: r.port})
	if err != nil {
		r.t.Fatal(err)
	}
	u, err := url.Parse(s.URL())
	if err == nil {
		r.port, err = strconv.Atoi(u.Port())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.server = s
}

func (r *laneRun) writer(n int) *laneTester {
	r.t.Helper()
	p, err := brokertest.StartProxy(r.server.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(p.Close)
	b, err := bus.Connect(r.t.Context(), bus.Config{URL: p.URL(), Name: fmt.Sprint("writer ", n), Options: atOnce()}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(b.Close)
	return &laneTester{run: r, number: n, proxy: p, bus: b, at: make([]lanePosition, len(r.lanes)), open: make([]laneStream, len(r.lanes))}
}

// atOnce are options of a client that reconnects at once.
func atOnce() []nats.Option {
	return []nats.Option{nats.ReconnectWait(5 * time.Millisecond), nats.ReconnectJitter(time.Millisecond, time.Millisecond), nats.Timeout(10 * time.Second)}
}

// phase runs the steps of a phase, then waits until all writers have finished.
func (r *laneRun) phase(steps []laneStep) {
	r.t.Helper()
	var working sync.WaitGroup
	for _, w := range r.writers {
		todo := make(chan func(context.Context), len(steps))
		w.todo = todo
		working.Go(func() {
			for do := range todo {
				w.work(do)
			}
		})
	}
	for _, s := range steps[:len(steps)-1] {
		r.step(s)
	}
	for _, w := range r.writers {
		w.proxy.Heal()
		close(w.todo)
	}
	working.Wait()
	if end := steps[len(steps)-1].do; strings.Contains(end, "restart") {
		back := r.clean.Reconnected()
		if err := r.server.Stop(); err != nil {
			r.t.Fatal(err)
		}
		r.serve()
		take(r.t, back)
	}
	if end := steps[len(steps)-1].do; strings.Contains(end, "expire") && r.real {
		r.expire() // wrong writers must fail for their fault alone, and they know no expiry
	}
}

// read reads what the log of the lanes holds now, directly, and its last sequence.
func (r *laneRun) read(ctx context.Context) (names map[string][]string, last uint64) {
	r.t.Helper()
	_, js := r.clean.Raw()
	s, err := js.Stream(ctx, topology.ConvStream(0))
	if err != nil {
		r.t.Fatal(err)
	}
	names = map[string][]string{}
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq > 0 && seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			r.t.Fatalf("message %d: %v", seq, err)
		}
		names[m.Subject] = append(names[m.Subject], eventNames(m.Data)...)
	}
	return names, state.LastSeq
}

// expire removes what the log holds, as its MaxAge does, once HISTORY has copies.
func (r *laneRun) expire() {
	r.t.Helper()
	ctx := within(r.t, time.Minute)
	names, last := r.read(ctx)
	for copied := false; !copied; {
		shards, err := r.clean.Deployment().HistoryBehind(ctx)
		if err != nil {
			r.t.Fatal(err)
		}
		copied = shards[0].Copied >= shards[0].Fact
	}
	var done []func(laneAnswer, ending)
	for _, l := range r.lanes {
		if l.log = append(l.log, names[l.address.Subject(topology.Conv)]...); len(l.log) > 0 {
			done = append(done, l.call(-1, laneCall{kind: laneExpire, event: l.log[len(l.log)-1]}))
		}
	}
	_, js := r.clean.Raw()
	s, err := js.Stream(ctx, topology.ConvStream(0))
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSequence(last+1))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	for _, done := range done {
		done(laneAnswer{}, acknowledged)
	}
}

// verdict runs a schedule and returns what the checker finds wrong with each lane.
func (r *laneRun) verdict(seed uint64) []error {
	r.t.Helper()
	for _, steps := range laneSchedule(seed, len(r.writers), len(r.lanes)) {
		r.phase(steps)
	}
	for _, w := range r.writers {
		for lane := range r.lanes {
			w.release(lane)
		}
	}
	names, _ := r.read(within(r.t, time.Minute))
	var all []error
	ended := map[ending]int{}
	for _, l := range r.lanes {
		for _, op := range l.ops {
			ended[op.end]++
		}
		log := append(l.log, names[l.address.Subject(topology.Conv)]...)
		if err := l.check(log); err != nil {
			all = append(all, fmt.Errorf("%s: %w", l.address.Channel, err))
		}
	}
	r.t.Logf("operations: %v", ended)
	return all
}

// TestLanesAreLinearizable runs writers, owners and zombies against each other
// through connections that fail, and has the history of each lane judged.
func TestLanesAreLinearizable(t *testing.T) {
	t.Parallel()
	brokertest.Seeds(t, 4, func(t *testing.T, seed uint64) {
		r := newLaneRun(t, seed, nil)
		for _, err := range r.verdict(seed) {
			t.Error(err)
		}
	})
}

// work runs one command; the step "cancel" ends it.
func (w *laneTester) work(do func(context.Context)) {
	ctx, cancel := context.WithTimeout(w.run.t.Context(), time.Minute)
	defer cancel()
	w.mu.Lock()
	w.cancel = cancel
	w.mu.Unlock()
	do(ctx)
}

func (r *laneRun) step(s laneStep) {
	w := r.writers[s.writer]
	switch s.do {
	case "take":
		w.todo <- func(ctx context.Context) { w.take(ctx, s.lane) }
	case "append":
		w.todo <- func(ctx context.Context) { w.appends(ctx, s.lane, s.n) }
	case "stream":
		w.todo <- func(ctx context.Context) { w.stream(ctx, s.lane, s.n) }
	case "cut":
		w.proxy.Cut()
	case "lose": // what is on its way is stored, and the answer is lost
		w.proxy.Hang(brokertest.ToClient)
		bus.Pause(r.t.Context(), s.wait)
		w.proxy.Cut()
		w.proxy.Heal()
	case "mute":
		w.proxy.Hang(brokertest.ToClient)
	case "hang":
		w.proxy.Hang(brokertest.BothWays)
	case "delay":
		w.proxy.Delay(s.wait)
	case "refuse":
		w.proxy.Refuse()
		w.proxy.Cut()
	case "heal":
		w.proxy.Heal()
	case "cancel":
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.cancel != nil {
			w.cancel()
		}
	case "pause":
		bus.Pause(r.t.Context(), s.wait)
	}
}

// take reads the end of the lane, to append after it.
func (w *laneTester) take(ctx context.Context, lane int) {
	w.release(lane)
	l := w.run.lanes[lane]
	done := l.call(w.number, laneCall{kind: laneLast})
	last, err := w.bus.Lane(l.address).Last(ctx)
	if err != nil {
		return // it has no answer, so it says nothing
	}
	at := lanePosition{seq: last.Sequence}
	if names := eventNames(last.Data); len(names) > 0 {
		at.event = names[len(names)-1]
	}
	done(laneAnswer{seq: at.seq, event: at.event}, acknowledged)
	w.at[lane] = at
}

// release ends the LaneWriter of a lane.
func (w *laneTester) release(lane int) {
	if w.open[lane].LaneWriter != nil {
		_, _ = w.open[lane].Close() // everything was flushed, or has failed
		w.open[lane].cancel()
		w.open[lane] = laneStream{}
	}
}

func (w *laneTester) event() string { return fmt.Sprintf("%d.%d", w.number, w.events.Add(1)) }

// appends appends events, one at a time.
func (w *laneTester) appends(ctx context.Context, lane, n int) {
	w.release(lane)
	l := w.run.lanes[lane]
	for range n {
		name := w.event()
		done := l.call(w.number, laneCall{kind: laneAppend, event: name, after: w.at[lane].event})
		seq, err := w.run.append(ctx, w.bus, l.address, w.at[lane].seq, eventFrame(name))
		done(answered(seq, err))
		if err == nil {
			w.at[lane] = lanePosition{seq, name}
		}
	}
}

func answered(seq uint64, err error) (laneAnswer, ending) {
	switch {
	case err == nil:
		return laneAnswer{seq: seq}, acknowledged
	case errors.Is(err, bus.ErrFenced):
		return laneAnswer{}, fenced
	}
	return laneAnswer{}, undecided
}

// stream appends events through a LaneWriter, which gathers them in frames.
func (w *laneTester) stream(ctx context.Context, lane, n int) {
	if !w.run.real {
		w.appends(ctx, lane, n)
		return
	}
	l := w.run.lanes[lane]
	if w.open[lane].LaneWriter == nil {
		open, cancel := context.WithCancel(w.run.t.Context())
		w.open[lane] = laneStream{w.bus.Lane(l.address).Open(open, w.at[lane].seq), cancel}
	}
	writer := w.open[lane]
	defer context.AfterFunc(ctx, writer.cancel)()
	var ends []func(laneAnswer, ending)
	at := w.at[lane]
	for range n {
		name := w.event()
		done := l.call(w.number, laneCall{kind: laneAppend, event: name, after: at.event})
		if err := writer.Append(&events.TextChunk{Text: name}); err != nil {
			break // it was refused here: nothing was sent
		}
		ends = append(ends, done)
		at.event = name
	}
	seq, err := writer.Flush()
	for i, done := range ends {
		answer, end := answered(seq, err)
		if i < len(ends)-1 {
			answer.seq = 0 // only that of the last one is known
		}
		done(answer, end)
	}
	if err == nil && len(ends) > 0 {
		w.at[lane] = lanePosition{seq, at.event}
	}
	if err != nil {
		w.release(lane)
	}
}

func eventFrame(name string) []byte {
	frame, err := events.AppendFrame(nil, &events.TextChunk{Text: name})
	if err != nil {
		panic(err)
	}
	return frame
}

// eventNames are the names of the events of a frame.
func eventNames(frame []byte) []string {
	var all []string
	for line := range bytes.Lines(frame) {
		_, rest, _ := bytes.Cut(line, []byte(`"text":"`))
		name, _, _ := bytes.Cut(rest, []byte(`"`))
		all = append(all, string(name))
	}
	return all
}
