package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Job is a piece of work from a queue.
type Job struct {
	Event    events.Event // a GenerationJob or a ToolJob
	Subject  string
	Delivery int // how often it was handed out, from 1; hand-backs count, so it says nothing about failures
}

// JobHandler runs a job. Its error steers delivery: nil acknowledges the job,
// [RetryAfter] hands it back for later, [Reject] puts it with the dead letters,
// any other error hands it back after a short while. ctx ends when the worker
// must let go.
type JobHandler func(ctx context.Context, job Job) error

// retryError hands a job back.
type retryError struct {
	err   error
	after time.Duration
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// RetryAfter says that the job should be handed out again, not sooner than
// after.
func RetryAfter(err error, after time.Duration) error { return &retryError{err, after} }

// rejectError makes a dead letter of a job.
type rejectError struct{ err error }

func (e *rejectError) Error() string { return e.err.Error() }
func (e *rejectError) Unwrap() error { return e.err }

// Reject says that the job can never be run.
func Reject(err error) error { return &rejectError{err} }

// retryDefault is how long a job rests after an error that does not say.
const retryDefault = time.Second

// Workforce runs the jobs of one or several queues until its context ends.
type Workforce struct {
	Bus *Bus
	// Slots is how many jobs of each queue run at once; no more are taken from
	// the server than run.
	Slots int
	// Rooms are shared with other workforces: a job runs when it has a place in
	// each. Where there are any, jobs are taken one at a time and when there is
	// room, so that no more than one of each queue has to wait for it here instead
	// of going to another worker.
	Rooms []Room
	// Drain is how long running jobs may go on after the context has ended;
	// then their own contexts end. Zero ends them at once.
	Drain  time.Duration
	Queues map[topology.Queue]JobHandler
}

// Run takes jobs until ctx ends, then takes no more and waits for those that
// run. It is a Watermill Router over this package's own subscriber: recovery
// from panics, dead letters and steering are its middleware.
func (w Workforce) Run(ctx context.Context) error {
	log := watermill.NewSlogLoggerWithLevelMapping(w.Bus.log, quiet)
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: w.Drain + 30*time.Second}, log)
	if err != nil {
		return fmt.Errorf("job router: %w", err)
	}
	router.AddMiddleware(w.steer, middleware.Recoverer)
	for queue, handle := range w.Queues {
		sub := &jobSubscriber{bus: w.Bus, slots: max(w.Slots, 1), rooms: w.Rooms, drain: w.Drain, queue: queue}
		router.AddConsumerHandler(queue.Consumer, queue.Filter, sub, func(m *message.Message) error {
			job, err := w.Bus.job(m)
			var unfetched *fetchError
			switch {
			case errors.As(err, &unfetched):
				return err
			case err != nil:
				return Reject(err)
			}
			return handle(m.Context(), job)
		})
	}
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("job router: %w", err)
	}
	return nil
}

// Metadata by which the middleware tells the subscriber what becomes of a job,
// and the subscriber tells the handler what it is.
const (
	metaSubject    = "nats_subject"
	metaDelivery   = "nats_num_delivered"
	metaRetryAfter = "retry_after"
	metaReject     = "reject"
	metaCause      = "cause"
)

// steer writes what a handler's error means into the message's metadata, where
// the subscriber reads it.
func (w Workforce) steer(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		out, err := next(m)
		var reject *rejectError
		var retry *retryError
		if err == nil {
			return out, nil
		}
		m.Metadata.Set(metaCause, err.Error())
		switch {
		case errors.As(err, &reject):
			m.Metadata.Set(metaReject, err.Error())
		case errors.As(err, &retry):
			m.Metadata.Set(metaRetryAfter, retry.after.String())
			w.Bus.log.Debug("job handed back", "job", m.Metadata.Get(metaSubject), "delivery", m.Metadata.Get(metaDelivery), "for", retry.after, "error", err)
		case m.Context().Err() != nil:
			m.Metadata.Set(metaRetryAfter, "0s") // told to stop: hand it back at once
		default:
			m.Metadata.Set(metaRetryAfter, retryDefault.String())
			w.Bus.log.Warn("job failed, it will be tried again", "job", m.Metadata.Get(metaSubject), "error", err)
		}
		m.Nack()
		return nil, nil // handled here, once; the router need not log it again
	}
}

func (b *Bus) job(m *message.Message) (Job, error) {
	lines, err := b.decode(m.Context(), m.Payload)
	if err != nil {
		return Job{}, err
	}
	delivery, err := strconv.Atoi(m.Metadata.Get(metaDelivery))
	if err != nil {
		return Job{}, fmt.Errorf("delivery count: %w", err)
	}
	return Job{Event: lines[0].Event, Subject: m.Metadata.Get(metaSubject), Delivery: delivery}, nil
}

// PublishJob puts a job in its queue. The id makes a repeated publish harmless
// within the stream's window; past it the worker finds the job's lane ended.
func (b *Bus) PublishJob(ctx context.Context, conversation, subject, id string, job events.Event) error {
	frame, err := events.AppendFrame(nil, job)
	if err != nil {
		return err
	}
	data, err := b.fitAs(ctx, conversation, jobObject(id), frame)
	if err != nil {
		return err
	}
	// A duplicate is the same job: its id has the conversation in it.
	_, err = b.publishData(ctx, subject, messageID(conversation, id), data)
	return err
}
