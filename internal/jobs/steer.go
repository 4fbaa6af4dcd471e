package jobs

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
)

// retryDelay is how long a job is handed back for after an error that names no
// delay.
const retryDelay = time.Second

// A job that has been delivered manyDeliveries times and is handed back again is
// worth a warning, one of a queue each reportInterval: nothing else shows a job
// that is handed back forever.
const (
	manyDeliveries = 20
	reportInterval = time.Minute
)

func isRejected(err error) bool {
	_, ok := errors.AsType[*rejectError](err)
	return ok
}

// giveUp is middleware that rejects a job that failed and that its queue does not
// deliver again: it would stay in JOBS forever without a trace.
func giveUp(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		out, err := next(m)
		if d, ok := deliveryOf(m.Context()); ok && err != nil && !isRejected(err) && d.last() {
			return nil, Reject(fmt.Errorf("given up after delivery %d: %w", d.number(), err))
		}
		return out, err
	}
}

// steering hands jobs back whose handlers failed.
type steering struct {
	log *slog.Logger

	mu       sync.Mutex
	reported map[string]time.Time // when a job of a queue was last reported
}

// handBack is middleware that writes into a message's metadata how long the job
// is handed back for. The delay of an error that names none is set already.
func (s *steering) handBack(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		out, err := next(m)
		if err == nil {
			return out, nil
		}
		d, ok := deliveryOf(m.Context())
		if !ok {
			return out, err // not given out by a Subscriber
		}
		job := d.current().Subject()
		switch retry, named := errors.AsType[*retryError](err); {
		case isRejected(err):
			s.log.Warn("a job that cannot run could not become a dead letter, it will be tried again", "job", job, "error", err)
		case named:
			delay.Message(m, delay.For(retry.after))
			s.log.Debug("job handed back", "job", job, "delivery", d.number(), "for", retry.after, "error", err)
		case m.Context().Err() != nil:
			delay.Message(m, delay.For(0)) // the worker stops: another one takes it at once
		default:
			s.log.Warn("job failed, it will be tried again", "job", job, "error", err)
		}
		s.report(message.SubscribeTopicFromCtx(m.Context()), job, d.number(), err)
		m.Nack()
		return nil, nil // handled here, once; the router need not log it again
	}
}

// report logs a job that is handed back again and again.
func (s *steering) report(queue, job string, deliveries int, cause error) {
	if deliveries < manyDeliveries {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.reported[queue]) < reportInterval {
		return
	}
	s.reported[queue] = time.Now()
	s.log.Warn("a job is handed back again and again and does not run", "job", job, "deliveries", deliveries, "queue", queue, "error", oneLine(cause.Error()))
}
