package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bench/meter"
	"github.com/parleybus/parley/internal/bench/wire"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Paths of a row.
const (
	pathParley    = "parley"
	pathRaw       = "raw"
	pathRawReader = "raw+reader"
)

// Result is one row of the table.
type Result struct {
	Path             string  `json:"path"`
	Conversations    int     `json:"conversations"`
	Viewers          int     `json:"viewers,omitempty"` // of each; 1 when 0
	TargetRate       float64 `json:"asked_per_second"`  // 0 means no limit
	EventsPerSecond  float64 `json:"events_per_second"`
	P50MS            float64 `json:"p50_ms"`
	P99MS            float64 `json:"p99_ms"`
	MaxMS            float64 `json:"max_ms"`
	EventsPerMessage float64 `json:"events_per_message"`
	// ViewerKB is the memory of the viewers' process for a viewer, in KB of heap and stacks,
	// before the first event; ViewerKBAfter is after the window. Only in three processes.
	ViewerKB      float64 `json:"viewer_kb,omitempty"`
	ViewerKBAfter float64 `json:"viewer_kb_after,omitempty"`
	CPUMicros     float64 `json:"cpu_us_per_event"`
	CPUShare      float64 `json:"cpu_share"`
	// CPUOf is CPUMicros of the server, of the process that publishes, and of the viewers'
	// process, where they are three.
	CPUOf       []float64 `json:"cpu_us_of_processes,omitempty"`
	OthersShare float64   `json:"others_cpu_share"` // -1 if unknown
}

func newResult(path string, n int, rate float64, cost meter.Usage, samples []*viewerSamples) Result {
	delays, messages := sortedDelays(samples)
	count := float64(max(len(delays), 1))
	var each []float64
	for _, one := range cost.Each {
		each = append(each, float64(one.Microseconds())/count)
	}
	return Result{Path: path, Conversations: n, CPUOf: each, TargetRate: rate,
		EventsPerSecond: float64(len(delays)) / cost.Wall.Seconds(),
		P50MS:           quantile(delays, 0.5), P99MS: quantile(delays, 0.99), MaxMS: quantile(delays, 1),
		EventsPerMessage: count / float64(max(messages, 1)),
		CPUMicros:        float64(cost.CPU.Microseconds()) / count,
		CPUShare:         cost.Share(), OthersShare: cost.Others,
	}
}

// over returns the ratio of this row's events per second to another row's. A row
// without events, as on a busy machine, counts as one event per second.
func (r Result) over(other Result) float64 {
	return r.EventsPerSecond / max(other.EventsPerSecond, 1)
}

// maxUnderWay bounds the events in flight of all conversations if no rate is set,
// but allows at least maxUnderWayEach per conversation.
const (
	maxUnderWay     = 16384
	maxUnderWayEach = 32
)

// openAtOnce bounds the conversations that start concurrently.
const openAtOnce = 32

// rowTimeout bounds the time of a row besides its window.
const rowTimeout = 90 * time.Second

// parley measures n conversations, each from a user's message through decision,
// job, worker, decoder and lane to its own viewer.
func (s *stage) parley(ctx context.Context, n int, rate float64, window time.Duration) (Result, error) {
	return s.parleyBeside(ctx, n, rate, window, nil)
}

// parleyBeside calls beside, if it is not nil, before the window, while the answers stream.
func (s *stage) parleyBeside(ctx context.Context, n int, rate float64, window time.Duration, beside func(context.Context) error) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, window+rowTimeout)
	defer cancel()
	parties := 2 * n // generators and viewers
	row := newRowRun(s.clock, parties)
	g, run := errgroup.WithContext(ctx)
	if beside != nil {
		row.measured = func(beginning bool) error {
			if !beginning {
				return nil
			}
			return beside(run)
		}
	}
	opening := make(chan struct{}, openAtOnce)
	samples := make([]*viewerSamples, n)
	for i := range n {
		pace := newPacer(row, rate/float64(n), float64(i)/float64(n), max(maxUnderWay/int64(n), maxUnderWayEach))
		samples[i] = new(viewerSamples)
		g.Go(func() error { return s.view(run, pace, samples[i], opening) })
	}
	cost, err := row.measure(run, parties, window)
	if err := errors.Join(g.Wait(), err); err != nil {
		return Result{}, fmt.Errorf("%d conversations: %w", n, err)
	}
	return newResult(pathParley, n, rate, cost, samples), nil
}

// view starts a conversation and follows it until its turn ends, then the next one
// until the row is over: an answer has a ceiling.
func (s *stage) view(ctx context.Context, pace *pacer, samples *viewerSamples, opening chan struct{}) error {
	started := sync.OnceFunc(func() { pace.row.ready <- struct{}{} })
	for !pace.row.isOver() {
		if err := s.viewOne(ctx, pace, samples, opening, started); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) viewOne(ctx context.Context, pace *pacer, samples *viewerSamples, opening chan struct{}, started func()) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	conversation := id.String()
	s.provider.paces.Store(conversation, pace)
	defer s.provider.paces.Delete(conversation)
	select {
	case opening <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	open := sync.OnceFunc(func() { <-opening })
	defer open()
	if err := s.send(ctx, conversation, conversation); err != nil {
		return err
	}
	return s.follow(ctx, conversation, pace, samples, open, started)
}

// follow follows a conversation until its turn ends.
func (s *stage) follow(ctx context.Context, conversation string, pace *pacer, samples *viewerSamples, open, started func()) error {
	var opened, begun bool
	for m, err := range s.viewers.Conversation(conversation).Attach(ctx, bus.From{}) {
		if err != nil {
			return err
		}
		if !opened {
			opened = true
			open()
		}
		now := pace.row.now()
		if samples.stalls && now >= pace.row.from.Load() {
			select {
			case <-pace.row.over:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		chunks := int64(0)
		for _, l := range m.Lines[m.Skip:] {
			switch e := l.Event.(type) {
			case *events.TextChunk:
				at, err := textTime(e.Text)
				if err != nil {
					return err
				}
				samples.add(pace.row, now, at)
				chunks++
			case *events.GenerationStarted:
				if !begun {
					begun = true
					started()
				}
			case *events.Decision:
				if end := turnEnd(e); end != nil {
					return checkOutcome(end)
				}
			}
		}
		if chunks > 0 {
			samples.message(pace.row, now, chunks)
			pace.saw(chunks)
		}
	}
	return errors.New("the viewer's log ended before the turn did")
}

func (s *viewerSamples) add(row *rowRun, now, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now >= row.from.Load() && now < row.to.Load() {
		s.delays = append(s.delays, now-at)
	}
}

func (s *viewerSamples) message(row *rowRun, now, events int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events += events
	if now >= row.from.Load() && now < row.to.Load() {
		s.messages++
	}
}

// turnEnd returns the TurnEnded of a Decision, or nil.
func turnEnd(d *events.Decision) *events.TurnEnded {
	for _, l := range d.Events {
		if e, ok := l.Event.(*events.TurnEnded); ok {
			return e
		}
	}
	return nil
}

func checkOutcome(end *events.TurnEnded) error {
	if end.Outcome != events.OutcomeCompleted {
		return fmt.Errorf("a turn ended as %s (%s): %v", end.Outcome, end.Reason, end.Error)
	}
	return nil
}

// publishRaw measures the same events on the same streams without Parley: one
// message per event, published asynchronously, to a plain subscriber of the
// republished subject per conversation. There is no provider to decode, no order
// or fence between messages, and no fold: the orchestrator does not follow the
// channel. With reader, a consumer reads the log as an orchestrator would.
func (s *stage) publishRaw(ctx context.Context, n int, rate float64, window time.Duration, reader bool) (_ Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, window+rowTimeout)
	defer cancel()
	path := pathRaw
	if reader {
		path = pathRawReader
		stop, err := s.readAlong(ctx)
		if err != nil {
			return Result{}, err
		}
		defer stop()
	}
	publishing, err := plain(s.raw)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, publishing.Close()) }()
	watching, err := plain(s.viewers)
	if err != nil {
		return Result{}, err
	}
	row := newRowRun(s.clock, 0)
	samples, places := make([]*viewerSamples, n), make([]topology.Address, n)
	for i := range n {
		if places[i], err = newOut(); err != nil {
			return Result{}, err
		}
		samples[i] = new(viewerSamples)
		stop, err := watching.Watch(ctx, places[i], func(e []byte) { samples[i].raw(row, e) })
		if err != nil {
			return Result{}, err
		}
		defer stop()
	}
	g, run := errgroup.WithContext(ctx)
	for i, a := range places {
		pace := newPacer(row, rate/float64(n), float64(i)/float64(n), 1<<62)
		g.Go(func() error { return publishPaced(run, publishing, a, pace) })
	}
	cost, err := row.measure(run, 0, window)
	if err := errors.Join(g.Wait(), err, publishing.Flush(ctx)); err != nil {
		return Result{}, fmt.Errorf("%d raw publishers: %w", n, err)
	}
	return newResult(path, n, rate, cost, samples), nil
}

// plain uses a connection as plain JetStream.
func plain(b *bus.Bus) (*wire.JetStream, error) {
	nc, _ := b.Raw()
	return wire.NewJetStream(nc)
}

// newOut returns a new address on a channel that is stored and republished like
// the others, and that no orchestrator follows.
func newOut() (topology.Address, error) {
	conversation, err := uuid.NewV7()
	if err != nil {
		return topology.Address{}, err
	}
	return topology.OfCall(1, conversation.String(), events.ChannelOut, conversation.String()), nil
}

func publishPaced(ctx context.Context, w wire.Wire, a topology.Address, pace *pacer) error {
	e := &events.TextChunk{Origin: events.Origin{Attempt: a.Call}}
	for {
		n := pace.take(ctx, burst)
		if n == 0 {
			return ctx.Err()
		}
		batch := make([][]byte, n)
		for i := range batch {
			e.Text, e.Index = string(appendText(nil, pace.row.now())), e.Index+1
			var err error
			if batch[i], err = events.Append(make([]byte, 0, 160), e); err != nil {
				return err
			}
		}
		if err := w.Publish(ctx, a, batch); err != nil {
			return err
		}
	}
}

func (s *viewerSamples) raw(row *rowRun, data []byte) {
	now := row.now()
	const key = `"text":"`
	i := bytes.Index(data, []byte(key)) + len(key)
	if i < len(key) || len(data) < i+stampLength {
		return
	}
	at, err := strconv.ParseInt(string(data[i:i+stampLength]), 16, 64)
	if err != nil {
		return
	}
	s.add(row, now, at)
	s.message(row, now, 1)
}

// readAlong reads the raw messages from the log as they are stored.
func (s *stage) readAlong(ctx context.Context) (stop func(), err error) {
	_, js := s.roles.Raw()
	cons, err := js.OrderedConsumer(ctx, topology.ConvStream(0), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{topology.OfShard(0, "out.*")}, DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	consume, err := cons.Consume(func(jetstream.Msg) {}, jetstream.PullMaxMessages(2048))
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return func() {
		consume.Stop()
		<-consume.Closed()
	}, nil
}
