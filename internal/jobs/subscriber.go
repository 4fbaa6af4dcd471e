package jobs

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

const (
	// fetchTimeout is how long the server holds a request for jobs.
	fetchTimeout = 5 * time.Second
	// fetchBackoff is the wait after a request that failed.
	fetchBackoff = 200 * time.Millisecond
	// leaveTimeout bounds the wait, when a subscription ends, until the server has
	// dropped its request for jobs.
	leaveTimeout = 2 * time.Second
	// buffered is how many messages of the server a request has room for, its
	// heartbeats among them.
	buffered = 64
)

// ErrClosed reports the use of a subscriber or publisher that is closed.
var ErrClosed = errors.New("closed")

// SubscriberConfig holds the options of a [Subscriber].
type SubscriberConfig struct {
	// Slots is how many messages of each topic are out at once, without Ack or
	// Nack; 1 when zero. No more are taken from the server.
	Slots int
	// Semaphores are shared with other subscribers: a message is given out when
	// all of them have been acquired. With any, messages are taken one at a time
	// and when the semaphores are free, so that at most one of each topic waits
	// here instead of going to another worker.
	Semaphores []Semaphore
	// Drain is how long messages may stay out after the subscription has ended;
	// then their contexts end. Zero ends them at once.
	Drain time.Duration
	// Release is how long after that an Ack or a Nack still counts; then the
	// message is handed back. 30 s when zero.
	Release time.Duration
	// Running is shared by the subscribers of a queue in one process; an empty
	// set when nil.
	Running *Running
	// Log receives acknowledgements that could not be sent; discarded when nil.
	Log *slog.Logger
}

// Subscriber is a [message.Subscriber] over the work queues of JOBS. It keeps the
// messages that are out alive (InProgress) until their Ack or Nack. A Nack hands
// a message back at once, or after the delay that its metadata names
// (Watermill's components/delay).
type Subscriber struct {
	bus *bus.Bus
	cfg SubscriberConfig

	mu     sync.Mutex
	closed bool
	stops  []context.CancelFunc // of the subscriptions
	active sync.WaitGroup
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber returns a subscriber on a connection, which stays the caller's.
func NewSubscriber(b *bus.Bus, cfg SubscriberConfig) *Subscriber {
	cfg.Slots, cfg.Release = max(cfg.Slots, 1), cmp.Or(cfg.Release, 30*time.Second)
	if cfg.Running == nil {
		cfg.Running = new(Running)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Subscriber{bus: b, cfg: cfg}
}

// Subscribe implements [message.Subscriber]. A queue that is missing is made. The
// subscription ends with ctx: then no more messages are taken, those that are out
// have [SubscriberConfig.Drain], and the channel is closed.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	queue, err := topology.QueueNamed(topic)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	ctx, stop := context.WithCancel(ctx)
	s.stops = append(s.stops, stop)
	sub := &subscription{Subscriber: s, queue: queue, slots: NewSemaphore(s.cfg.Slots),
		out: make(chan *message.Message), left: make(chan struct{})}
	s.active.Go(func() {
		defer stop()
		sub.run(ctx)
	})
	return sub.out, nil
}

// Close implements [message.Subscriber]: it ends all subscriptions and returns
// when no message is out.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, stop := range s.stops {
		stop()
	}
	s.mu.Unlock()
	s.active.Wait()
	return nil
}

// subscription takes the messages of one queue.
type subscription struct {
	*Subscriber
	queue topology.Queue
	slots Semaphore
	out   chan *message.Message
	left  chan struct{} // closed when no request for jobs is at the server any more
}

func (s *subscription) run(ctx context.Context) {
	defer close(s.out)
	s.bus.Jobs().Serve(ctx, s.queue)
	var running sync.WaitGroup
	defer running.Wait()
	defer close(s.left)
	for ctx.Err() == nil {
		err := s.take(ctx, &running)
		if err == nil || ctx.Err() != nil {
			continue
		}
		s.cfg.Log.Debug("jobs cannot be fetched, trying again", "queue", s.queue.Consumer, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(fetchBackoff):
		}
	}
}

// take fetches as many messages as slots are free, again and again.
func (s *subscription) take(ctx context.Context, running *sync.WaitGroup) error {
	cons, err := s.bus.Jobs().Find(ctx, s.queue)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if err := s.bus.Jobs().RemakeQueue(ctx, s.queue); err != nil {
			return err
		}
		cons, err = s.bus.Jobs().Find(ctx, s.queue)
	}
	if err != nil {
		return err
	}
	s.bus.Jobs().Found(s.queue)
	// The queue's own limits: an administrator may have changed them.
	limits := cons.CachedInfo().Config
	for ctx.Err() == nil {
		most, err := s.available(ctx)
		if err != nil {
			return nil // the subscription has ended
		}
		if err := s.fetch(ctx, cons, most, limits, running); err != nil {
			return err
		}
	}
	return nil
}

// available waits until a message may be taken and returns how many may be.
func (s *subscription) available(ctx context.Context) (int, error) {
	if err := s.slots.wait(ctx); err != nil {
		return 0, err
	}
	for _, shared := range s.cfg.Semaphores {
		if err := shared.wait(ctx); err != nil {
			return 0, err
		}
	}
	if len(s.cfg.Semaphores) > 0 {
		return 1, nil
	}
	return s.slots.free(), nil
}

// fetch takes so many messages from the server and gives them out. When ctx ends, what
// the server has sent already is handed back: Consumer.Fetch would drop it, and it would
// be lost until its AckWait is over.
func (s *subscription) fetch(ctx context.Context, cons jetstream.Consumer, most int, limits jetstream.ConsumerConfig, running *sync.WaitGroup) error {
	batch, err := cons.Messages(jetstream.StopAfter(most), jetstream.PullMaxMessages(max(most, buffered)), jetstream.PullExpiry(fetchTimeout))
	if err != nil {
		return err
	}
	defer batch.Stop()
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	running.Go(func() {
		select {
		case <-ctx.Done():
			s.leave(reading, cancel, batch)
		case <-reading.Done():
		}
	})
	for {
		msg, err := batch.Next(jetstream.NextContext(reading))
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) || errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		release, err := s.acquire(ctx, msg, limits.AckWait)
		if err != nil { // ctx has ended
			running.Go(func() { s.handBack(ctx, msg, nil) })
			continue
		}
		s.slots <- struct{}{}
		running.Go(func() {
			defer func() { s.slots.Release(); release() }()
			s.handle(ctx, msg, limits)
		})
	}
}

// leave ends a request for jobs: the iterator ends with what the server sent before it
// knew. While the server is away there is nothing to wait for.
func (s *subscription) leave(reading context.Context, cancel context.CancelFunc, batch jetstream.MessagesContext) {
	nc, _ := s.bus.Raw()
	if !nc.IsConnected() {
		cancel()
		return
	}
	batch.Drain()
	select {
	case <-reading.Done():
	case <-time.After(leaveTimeout):
		cancel()
	}
}

// handBack gives a message to another subscriber. When ctx has ended it waits until this
// one has no request at the server, which would get the message again and lose it.
func (s *subscription) handBack(ctx context.Context, msg jetstream.Msg, meta message.Metadata) {
	if ctx.Err() != nil {
		<-s.left
	}
	s.resolved(msg, nack(msg, meta))
}

// acquire acquires the shared semaphores for a message, which it keeps alive
// meanwhile.
func (s *subscription) acquire(ctx context.Context, msg jetstream.Msg, ackWait time.Duration) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	acquired, shared := 0, s.cfg.Semaphores
	release = func() {
		for _, one := range shared[:acquired] {
			one.Release()
		}
	}
	beat := time.NewTicker(ackWait / 3)
	defer beat.Stop()
	again := s.bus.Reconnected()
	for acquired < len(shared) {
		select {
		case shared[acquired] <- struct{}{}:
			acquired++
		case <-beat.C:
			s.progress(msg)
		case <-again:
			again = s.bus.Reconnected()
			s.progress(msg)
		case <-ctx.Done():
			release()
			return nil, context.Cause(ctx)
		}
	}
	return release, nil
}
