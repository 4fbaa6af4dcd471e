package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// quiet maps Watermill's chatter one level down.
var quiet = map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug}

// fetchWait is how long the server holds a request for jobs.
const fetchWait = 5 * time.Second

// jobSubscriber is a [message.Subscriber] over a JetStream pull consumer that
// takes no more than it has slots for, says InProgress while a job runs, and
// settles each message as its metadata says.
type jobSubscriber struct {
	bus   *Bus
	queue topology.Queue
	slots int
	rooms []Room
	drain time.Duration

	mu       sync.Mutex
	reported time.Time // when a job that is handed back forever was last reported
}

var _ message.Subscriber = (*jobSubscriber)(nil)

// Close implements [message.Subscriber]; the context given to Subscribe ends
// it.
func (s *jobSubscriber) Close() error { return nil }

// Subscribe implements [message.Subscriber].
func (s *jobSubscriber) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		var running sync.WaitGroup
		defer running.Wait()
		slots := make(chan struct{}, s.slots)
		for ctx.Err() == nil {
			if err := s.take(ctx, out, slots, &running); err != nil && ctx.Err() == nil {
				s.bus.log.Debug("jobs cannot be fetched, trying again", "queue", s.queue.Consumer, "error", err)
				select {
				case <-ctx.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
		}
	}()
	return out, nil
}

// take fetches as many jobs as slots are free and gives each to the router.
func (s *jobSubscriber) take(ctx context.Context, out chan<- *message.Message, slots chan struct{}, running *sync.WaitGroup) error {
	cons, err := s.consumer(ctx)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		s.bus.queues.Delete(s.queue) // it was there once and somebody removed it
		if err := s.bus.EnsureQueue(ctx, s.queue); err != nil {
			return err
		}
		cons, err = s.consumer(ctx)
	}
	if err != nil {
		return err
	}
	// The queue's own limits: an administrator may have changed them.
	limits := cons.CachedInfo().Config
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
			<-slots
		case <-ctx.Done():
			return nil
		}
		most := s.slots - len(slots)
		if len(s.rooms) > 0 {
			if empty(ctx, s.rooms) != nil {
				return nil
			}
			most = 1
		}
		fetch, cancel := context.WithTimeout(ctx, fetchWait)
		batch, err := cons.Fetch(most, jetstream.FetchContext(fetch))
		if err != nil {
			cancel()
			return err
		}
		for msg := range batch.Messages() {
			leave, err := s.enter(ctx, msg, limits.AckWait)
			if err != nil {
				s.settle(msg, msg.Nak())
				continue
			}
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots; leave() }()
				s.run(ctx, msg, limits, out)
			})
		}
		cancel()
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

func (s *jobSubscriber) consumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := answer(ctx)
	defer cancel()
	return s.bus.js.Consumer(ctx, topology.StreamJobs, s.queue.Consumer)
}

// run gives one message to the router and settles it. A job that this process
// runs already is not run twice: the new delivery takes the place of the one that
// runs.
func (s *jobSubscriber) run(ctx context.Context, msg jetstream.Msg, limits jetstream.ConsumerConfig, out chan<- *message.Message) {
	meta, err := msg.Metadata()
	if err != nil {
		s.settle(msg, msg.Term())
		return
	}
	job, joined := s.bus.join(msg)
	if joined {
		s.bus.log.Debug("a job was handed out again while it runs here", "job", msg.Subject(), "delivery", meta.NumDelivered)
		s.progress(msg)
		return
	}
	jobCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stopDrain := context.AfterFunc(ctx, func() {
		if s.drain == 0 {
			cancel()
		}
	})
	defer stopDrain()
	m := message.NewMessageWithContext(jobCtx, watermill.NewUUID(), msg.Data())
	m.Metadata.Set(metaSubject, msg.Subject())
	m.Metadata.Set(metaDelivery, strconv.FormatUint(meta.NumDelivered, 10))
	select {
	case out <- m:
	case <-ctx.Done():
		msg = job.end()
		s.settle(msg, msg.Nak())
		return
	}
	s.wait(ctx, cancel, job, m, limits.AckWait/3)
	msg = job.end()
	select {
	case <-m.Acked():
		s.settle(msg, msg.Ack())
	default:
		s.settle(msg, s.nack(jobCtx, msg, m.Metadata, limits.MaxDeliver))
	}
}

// wait says InProgress until the router is done with a job.
func (s *jobSubscriber) wait(ctx context.Context, cancel context.CancelFunc, job *runningJob, m *message.Message, every time.Duration) {
	beat := time.NewTicker(every)
	defer beat.Stop()
	draining, again := ctx.Done(), s.bus.Reconnected()
	var drained <-chan time.Time
	for {
		select {
		case <-m.Acked():
			return
		case <-m.Nacked():
			return
		case <-beat.C:
			s.progress(job.current())
		case <-again:
			again = s.bus.Reconnected()
			s.progress(job.current())
		case <-draining:
			draining = nil
			t := time.NewTimer(s.drain)
			defer t.Stop()
			drained = t.C
		case <-drained:
			cancel()
		}
	}
}

// progress tells the server that a job is being worked on. While the server is
// away it cannot be told; it is as soon as the connection is back.
func (s *jobSubscriber) progress(msg jetstream.Msg) {
	if err := msg.InProgress(); err != nil {
		s.bus.log.Debug("the server cannot be told that a job is in progress", "job", msg.Subject(), "error", err)
	}
}

// nack hands a job back, or buries it when it was rejected or the queue would
// not hand it out again: it would lie there for ever, seen by nobody.
func (s *jobSubscriber) nack(ctx context.Context, msg jetstream.Msg, meta message.Metadata, maxDeliver int) error {
	reason := oneLine(meta.Get(metaReject))
	delivered := uint64(0)
	if m, err := msg.Metadata(); err == nil { // of another delivery than the handler's, if the job came again
		delivered = m.NumDelivered
	}
	if reason == "" && maxDeliver > 0 && delivered >= uint64(maxDeliver) {
		reason = fmt.Sprintf("given up after delivery %d: %s", delivered, oneLine(meta.Get(metaCause)))
	}
	if reason != "" {
		telling, told := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
		defer told()
		if err := s.bus.endRejected(telling, msg, reason); err != nil {
			return errors.Join(err, msg.NakWithDelay(retryDefault))
		}
		if err := s.bus.Bury(context.WithoutCancel(ctx), msg.Subject(), msg.Data(), reason, ""); err != nil {
			return errors.Join(err, msg.NakWithDelay(retryDefault))
		}
		return msg.TermWithReason(Preview(reason, 200))
	}
	s.report(msg.Subject(), delivered, meta.Get(metaCause))
	after, err := time.ParseDuration(meta.Get(metaRetryAfter))
	if err != nil {
		after = retryDefault
	}
	if after <= 0 {
		return msg.Nak()
	}
	return msg.NakWithDelay(after)
}

// A job that has been handed out oftenHandedBack times and is handed back again
// is worth a warning, and the queue's next one not before reportEvery: nothing
// else shows a job that is handed back forever.
const (
	oftenHandedBack = 20
	reportEvery     = time.Minute
)

// report logs a job that is handed back again and again.
func (s *jobSubscriber) report(subject string, delivered uint64, cause string) {
	if delivered < oftenHandedBack {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.reported) < reportEvery {
		return
	}
	s.reported = time.Now()
	s.bus.log.Warn("a job is handed back again and again and does not run", "job", subject, "deliveries", delivered, "queue", s.queue.Consumer, "error", oneLine(cause))
}

// settle logs what could not be told to the server: the job will come again,
// and its lane decides.
func (s *jobSubscriber) settle(msg jetstream.Msg, err error) {
	if err != nil {
		s.bus.log.Warn("a job could not be settled, it will come again", "job", msg.Subject(), "error", err)
	}
}

// Bury puts a message that nobody can read or run with the dead letters, with
// the reason, where it can be seen. One that fills a message to the brim is cut
// to make room, and the header Parley-Size says how long it was. An id, if there is one, keeps the same
// message from being buried twice.
func (b *Bus) Bury(ctx context.Context, subject string, data []byte, reason, id string) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	m := nats.NewMsg(topology.DeadSubject(subject))
	if m.Data = data; len(data) > b.payload {
		m.Data = data[:b.payload]
		m.Header.Set("Parley-Size", strconv.Itoa(len(data)))
	}
	m.Header.Set("Parley-Reason", Preview(oneLine(reason), 1024))
	if id != "" {
		m.Header.Set(jetstream.MsgIDHeader, id)
	}
	if _, err := b.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("bury a message of %s: %w", subject, explainJetStream(err))
	}
	b.log.Warn("dead letter", "subject", subject, "reason", reason)
	return nil
}
