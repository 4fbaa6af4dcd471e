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
			leave, err := enter(ctx, s.rooms, msg, limits.AckWait)
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

// run gives one message to the router and settles it.
func (s *jobSubscriber) run(ctx context.Context, msg jetstream.Msg, limits jetstream.ConsumerConfig, out chan<- *message.Message) {
	meta, err := msg.Metadata()
	if err != nil {
		s.settle(msg, msg.Term())
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
		s.settle(msg, msg.Nak())
		return
	}
	beat := time.NewTicker(limits.AckWait / 3)
	defer beat.Stop()
	draining := ctx.Done()
	var drained <-chan time.Time
	for {
		select {
		case <-m.Acked():
			s.settle(msg, msg.Ack())
			return
		case <-m.Nacked():
			last := limits.MaxDeliver > 0 && meta.NumDelivered >= uint64(limits.MaxDeliver)
			s.settle(msg, s.nack(jobCtx, msg, m.Metadata, last))
			return
		case <-beat.C:
			s.settle(msg, msg.InProgress())
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

// nack hands a job back, or buries it when it was rejected or the queue would
// not hand it out again: it would lie there for ever, seen by nobody.
func (s *jobSubscriber) nack(ctx context.Context, msg jetstream.Msg, meta message.Metadata, last bool) error {
	reason := oneLine(meta.Get(metaReject))
	if reason == "" && last {
		reason = "given up after delivery " + meta.Get(metaDelivery) + ": " + oneLine(meta.Get(metaCause))
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
	after, err := time.ParseDuration(meta.Get(metaRetryAfter))
	if err != nil {
		after = retryDefault
	}
	if after <= 0 {
		return msg.Nak()
	}
	return msg.NakWithDelay(after)
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
