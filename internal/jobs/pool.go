package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// closeTimeout is how long after Drain a handler may take to return.
const closeTimeout = 30 * time.Second

// Work is how the jobs of a queue are run.
type Work struct {
	Handle Handler
	// Slots is how many jobs of the queue run at once; 1 when zero. No more are
	// taken from the server.
	Slots int
	// Semaphores are shared with other queues, see [SubscriberConfig].
	Semaphores []Semaphore
}

// Metrics counts jobs; the zero value counts nothing. Package jobs/metrics has
// those for Prometheus.
type Metrics struct {
	Subscriber message.SubscriberDecorator
	Handler    message.HandlerMiddleware // around the handler, a panic of which is an error
}

// WorkerPool runs the jobs of queues until its context ends: Watermill's router
// over a [Subscriber] for each queue.
type WorkerPool struct {
	Bus *bus.Bus
	Log *slog.Logger // discarded when nil
	// Drain is how long running jobs may continue after the context has ended;
	// then their own contexts end. Zero ends them at once.
	Drain time.Duration
	// Running is shared by pools of one process that may serve the same queue;
	// an empty set when nil.
	Running *Running
	Metrics Metrics
	Queues  map[topology.Queue]Work
}

// Run takes jobs until ctx ends, then takes no more and waits for those that
// run.
func (w *WorkerPool) Run(ctx context.Context) error {
	log := w.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	// Watermill logs at info what is of interest only while debugging.
	quiet := watermill.NewSlogLoggerWithLevelMapping(log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: w.Drain + closeTimeout}, quiet)
	if err != nil {
		return fmt.Errorf("job router: %w", err)
	}
	poison, err := middleware.PoisonQueueWithFilter(NewPublisher(w.Bus), DeadLetters, isRejected)
	if err != nil {
		return fmt.Errorf("job router: %w", err)
	}
	pause := middleware.DelayOnError{InitialInterval: retryDelay, MaxInterval: retryDelay, Multiplier: 1}
	steer := &steering{log: log, reported: map[string]time.Time{}}
	router.AddMiddleware(steer.handBack, pause.Middleware, poison, w.endRejected, giveUp, knownProtocol)
	if w.Metrics.Handler != nil {
		router.AddMiddleware(w.Metrics.Handler)
	}
	if w.Metrics.Subscriber != nil {
		router.AddSubscriberDecorators(w.Metrics.Subscriber)
	}
	router.AddMiddleware(middleware.Recoverer)
	running := w.Running
	if running == nil {
		running = new(Running)
	}
	for queue, work := range w.Queues {
		sub := NewSubscriber(w.Bus, SubscriberConfig{Slots: work.Slots, Semaphores: work.Semaphores, Drain: w.Drain, Release: closeTimeout, Running: running, Log: log})
		router.AddConsumerHandler(queue.Consumer, queue.Consumer, sub, w.handler(queue, work.Handle))
	}
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("job router: %w", err)
	}
	return nil
}

// handler reads a job and runs it. One that can never be read is rejected.
func (w *WorkerPool) handler(queue topology.Queue, handle Handler) message.NoPublishHandlerFunc {
	return func(m *message.Message) error {
		event, err := w.Bus.Jobs().Read(m.Context(), m.Payload)
		switch {
		case errors.Is(err, bus.ErrUnavailable):
			return err
		case err != nil:
			return Reject(err)
		}
		job := Job{Event: event, Subject: queue.Subject(m.UUID)}
		if d, ok := deliveryOf(m.Context()); ok {
			job.Delivery = d.number()
		}
		return handle(m.Context(), job)
	}
}
