package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Paths that a row is measured on.
const (
	benchParley    = "parley"
	benchRaw       = "raw"
	benchRawReader = "raw+reader"
)

// benchResult is one row of the table.
type benchResult struct {
	Path             string  `json:"path"`
	Conversations    int     `json:"conversations"`
	Asked            float64 `json:"asked_per_second"` // 0 is as fast as it goes
	EventsPerSecond  float64 `json:"events_per_second"`
	P50MS            float64 `json:"p50_ms"`
	P99MS            float64 `json:"p99_ms"`
	MaxMS            float64 `json:"max_ms"`
	EventsPerMessage float64 `json:"events_per_message"`
	CPUMicros        float64 `json:"cpu_us_per_event"`
	CPUShare         float64 `json:"cpu_share"`
	OthersShare      float64 `json:"others_cpu_share"` // -1 where it is not known
}

func newBenchResult(path string, n int, rate float64, cost benchCost, samples []*benchSamples) benchResult {
	delays, messages := benchDelays(samples)
	count := float64(max(len(delays), 1))
	return benchResult{Path: path, Conversations: n, Asked: rate,
		EventsPerSecond: float64(len(delays)) / cost.Wall.Seconds(),
		P50MS:           benchQuantile(delays, 0.5), P99MS: benchQuantile(delays, 0.99), MaxMS: benchQuantile(delays, 1),
		EventsPerMessage: count / float64(max(messages, 1)),
		CPUMicros:        float64(cost.CPU.Microseconds()) / count,
		CPUShare:         cost.share(), OthersShare: cost.Others,
	}
}

// over is how many times the events of another row this one has; a row that a
// busy machine let measure nothing counts as one event a second.
func (r benchResult) over(other benchResult) float64 {
	return r.EventsPerSecond / max(other.EventsPerSecond, 1)
}

// benchWindow is how many events are under way at most where no rate is set:
// together, but not fewer than benchWindowEach in each conversation.
const (
	benchWindow     = 16384
	benchWindowEach = 32
)

// benchOpening is how many conversations are begun at once.
const benchOpening = 32

// benchPatience bounds what a row may take beside its window.
const benchPatience = 90 * time.Second

// parley measures n conversations, each from a user's message through decision,
// job, worker, decoder and lane to a viewer of its own.
func (s *benchStage) parley(ctx context.Context, n int, rate float64, window time.Duration) (benchResult, error) {
	ctx, cancel := context.WithTimeout(ctx, window+benchPatience)
	defer cancel()
	parties := 2 * n // generators and viewers
	row := newBenchRow(s.clock, parties)
	g, run := errgroup.WithContext(ctx)
	opening := make(chan struct{}, benchOpening)
	samples := make([]*benchSamples, n)
	for i := range n {
		pace := newBenchPace(row, rate/float64(n), float64(i)/float64(n), max(benchWindow/int64(n), benchWindowEach))
		samples[i] = new(benchSamples)
		g.Go(func() error { return s.view(run, pace, samples[i], opening) })
	}
	cost, err := row.measure(run, parties, window)
	if err := errors.Join(g.Wait(), err); err != nil {
		return benchResult{}, fmt.Errorf("%d conversations: %w", n, err)
	}
	return newBenchResult(benchParley, n, rate, cost, samples), nil
}

// view begins a conversation and watches it until its turn has ended.
func (s *benchStage) view(ctx context.Context, pace *benchPace, samples *benchSamples, opening chan struct{}) error {
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
	started := sync.OnceFunc(func() { pace.row.ready <- struct{}{} })
	if err := s.say(ctx, conversation, conversation); err != nil {
		return err
	}
	for m, err := range s.viewers.Attach(ctx, conversation, bus.From{}) {
		if err != nil {
			return err
		}
		open()
		now := pace.row.now()
		chunks := int64(0)
		for _, l := range m.Lines[m.Skip:] {
			switch e := l.Event.(type) {
			case *events.TextChunk:
				at, err := benchRead(e.Text)
				if err != nil {
					return err
				}
				samples.add(pace.row, now, at)
				chunks++
			case *events.GenerationStarted:
				started()
			case *events.Decision:
				if end := benchEnd(e); end != nil {
					return benchOutcome(end)
				}
			}
		}
		if chunks > 0 {
			samples.message(pace.row, now)
			pace.saw(chunks)
		}
	}
	return errors.New("the viewer's log ended before the turn did")
}

func (s *benchSamples) add(row *benchRow, now, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now >= row.from.Load() && now < row.to.Load() {
		s.delays = append(s.delays, now-at)
	}
}

func (s *benchSamples) message(row *benchRow, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now >= row.from.Load() && now < row.to.Load() {
		s.messages++
	}
}

// benchEnd is the end of a turn, if a decision ends one.
func benchEnd(d *events.Decision) *events.TurnEnded {
	for _, l := range d.Events {
		if e, ok := l.Event.(*events.TurnEnded); ok {
			return e
		}
	}
	return nil
}

func benchOutcome(end *events.TurnEnded) error {
	if end.Outcome != events.OutcomeCompleted {
		return fmt.Errorf("a turn ended as %s (%s): %v", end.Outcome, end.Reason, end.Error)
	}
	return nil
}

// benchRawWindow is how many publishes without Parley are unacknowledged at
// most.
const benchRawWindow = 4096

// publishRaw measures the same events on the same streams without Parley: one
// message per event, published asynchronously, to a plain subscriber of the
// republished subject per conversation. There is no provider to decode, no
// order or fence between messages, and nobody folds them: the orchestrator does
// not follow the channel that is used. With reader, a consumer reads the log
// along as an orchestrator would.
func (s *benchStage) publishRaw(ctx context.Context, n int, rate float64, window time.Duration, reader bool) (benchResult, error) {
	ctx, cancel := context.WithTimeout(ctx, window+benchPatience)
	defer cancel()
	path := benchRaw
	if reader {
		path = benchRawReader
		stop, err := s.readAlong(ctx)
		if err != nil {
			return benchResult{}, err
		}
		defer stop()
	}
	refused := make(chan error, 1)
	nc, _ := s.raw.Raw()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(benchRawWindow),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) {
			select {
			case refused <- err:
			default:
			}
		}))
	if err != nil {
		return benchResult{}, err
	}
	defer js.CleanupPublisher()
	row := newBenchRow(s.clock, 0)
	samples, places := make([]*benchSamples, n), make([]topology.Address, n)
	watch, _ := s.viewers.Raw()
	for i := range n {
		a, err := benchOut()
		if err != nil {
			return benchResult{}, err
		}
		seen := new(benchSamples)
		samples[i] = seen
		sub, err := watch.Subscribe(a.Subject(topology.Live), func(m *nats.Msg) { seen.raw(row, m.Data) })
		if err != nil {
			return benchResult{}, fmt.Errorf("subscribe to %s: %w", a.Subject(topology.Live), err)
		}
		defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
		places[i] = a
	}
	if err := watch.FlushWithContext(ctx); err != nil {
		return benchResult{}, fmt.Errorf("subscribe: %w", err)
	}
	g, run := errgroup.WithContext(ctx)
	for i, a := range places {
		pace := newBenchPace(row, rate/float64(n), float64(i)/float64(n), 1<<62)
		g.Go(func() error { return benchPublish(run, js, a, pace) })
	}
	cost, err := row.measure(run, 0, window)
	if err := errors.Join(g.Wait(), err); err != nil {
		return benchResult{}, fmt.Errorf("%d raw publishers: %w", n, err)
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return benchResult{}, fmt.Errorf("raw publishes are not acknowledged: %w", context.Cause(ctx))
	}
	select {
	case err := <-refused:
		return benchResult{}, fmt.Errorf("a raw publish was refused: %w", err)
	default:
	}
	return newBenchResult(path, n, rate, cost, samples), nil
}

// benchOut is a fresh place on a channel that is stored and republished like
// the others and that no orchestrator follows.
func benchOut() (topology.Address, error) {
	conversation, err := uuid.NewV7()
	if err != nil {
		return topology.Address{}, err
	}
	return topology.OfCall(1, conversation.String(), events.ChannelOut, conversation.String()), nil
}

func benchPublish(ctx context.Context, js jetstream.JetStream, a topology.Address, pace *benchPace) error {
	subject := a.Subject(topology.Conv)
	e := &events.TextChunk{Origin: events.Origin{Attempt: a.Call}}
	var text []byte
	for {
		n := pace.take(ctx, benchBurst)
		if n == 0 {
			return ctx.Err()
		}
		for range n {
			text = benchText(text[:0], pace.row.now())
			e.Text, e.Index = string(text), e.Index+1
			data, err := events.Append(make([]byte, 0, 160), e)
			if err != nil {
				return err
			}
			if _, err := js.PublishMsgAsync(&nats.Msg{Subject: subject, Data: data}, jetstream.WithStallWait(benchPatience)); err != nil {
				return fmt.Errorf("publish to %s: %w", subject, err)
			}
		}
	}
}

func (s *benchSamples) raw(row *benchRow, data []byte) {
	now := row.now()
	const key = `"text":"`
	i := bytes.Index(data, []byte(key)) + len(key)
	if i < len(key) || len(data) < i+benchStamp {
		return
	}
	at, err := strconv.ParseInt(string(data[i:i+benchStamp]), 16, 64)
	if err != nil {
		return
	}
	s.add(row, now, at)
	s.message(row, now)
}

// readAlong reads what is published without Parley from the log, as it comes.
func (s *benchStage) readAlong(ctx context.Context) (stop func(), err error) {
	_, js := s.roles.Raw()
	cons, err := js.OrderedConsumer(ctx, topology.ConvStream(0), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"conv.0.*.out.*"}, DeliverPolicy: jetstream.DeliverNewPolicy})
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
