package jobs

import (
	"context"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// deliveryKey is the key of a message's delivery in its context.
type deliveryKey struct{}

// deliveryOf returns the delivery of a message that a [Subscriber] gave out.
func deliveryOf(ctx context.Context) (*delivery, bool) {
	d, ok := ctx.Value(deliveryKey{}).(*delivery)
	return d, ok
}

// handle gives a message out and resolves it: Ack, Nak or Term. A job that this
// process runs already is not given out again: it continues under the new
// message.
func (s *subscription) handle(ctx context.Context, msg jetstream.Msg, limits jetstream.ConsumerConfig) {
	meta, err := msg.Metadata()
	if err != nil {
		s.resolved(msg, msg.Term())
		return
	}
	d, joined := s.cfg.Running.join(msg, limits.MaxDeliver)
	if joined {
		s.cfg.Log.Debug("a job was delivered again while it runs here", "job", msg.Subject(), "delivery", meta.NumDelivered)
		s.progress(msg)
		return
	}
	if fault.Planted(fault.AckBeforeAppend) {
		s.resolved(msg, msg.Ack())
	}
	jobCtx, cancel := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), deliveryKey{}, d))
	defer cancel()
	m := message.NewMessageWithContext(jobCtx, topology.JobID(msg.Subject()), msg.Data())
	m.Metadata = metadataOf(msg.Headers())
	s.give(ctx, cancel, d, m, limits.AckWait/3)
	msg = d.end()
	select {
	case <-m.Acked():
		fault.Point(fault.JobDone)
		s.resolved(msg, ack(msg, m.Metadata))
	case <-m.Nacked():
		s.handBack(ctx, msg, m.Metadata)
	default: // not delivered to the handler, or not acknowledged in time
		s.handBack(ctx, msg, nil)
	}
}

// give gives a message out and keeps it alive until its Ack or Nack, or until
// the times after the end of ctx are over. cancel ends the message's context.
func (s *subscription) give(ctx context.Context, cancel context.CancelFunc, d *delivery, m *message.Message, every time.Duration) {
	beat := time.NewTicker(every)
	defer beat.Stop()
	var deadline <-chan time.Time // of Drain, then of Release
	released := false
	out, ended, again := s.out, ctx.Done(), s.bus.Reconnected()
	for {
		select {
		case out <- m:
			out = nil
		case <-m.Acked():
			return
		case <-m.Nacked():
			return
		case <-beat.C:
			s.progress(d.current())
		case <-again:
			again = s.bus.Reconnected()
			s.progress(d.current())
		case <-ended:
			if out != nil {
				return
			}
			ended, deadline = nil, time.After(s.cfg.Drain)
		case <-deadline:
			if released {
				s.cfg.Log.Warn("a job did not end when the worker was stopped, it is handed back", "job", d.current().Subject())
				return
			}
			cancel()
			released, deadline = true, time.After(s.cfg.Release)
		}
	}
}

// ack acknowledges a job. A dead letter is terminated with the reason, which the
// server publishes as an advisory.
func ack(msg jetstream.Msg, meta message.Metadata) error {
	if reason := meta.Get(middleware.ReasonForPoisonedKey); reason != "" {
		return msg.TermWithReason(bus.Preview(oneLine(reason), 200))
	}
	return msg.Ack()
}

// nack hands a job back, after the delay that its metadata names.
func nack(msg jetstream.Msg, meta message.Metadata) error {
	after, err := time.ParseDuration(meta.Get(delay.DelayedForKey))
	if err != nil || after <= 0 {
		return msg.Nak()
	}
	return msg.NakWithDelay(after)
}

// progress sends a heartbeat for a job. One that fails while the server is away is
// sent again as soon as the connection is back.
func (s *subscription) progress(msg jetstream.Msg) {
	if err := msg.InProgress(); err != nil {
		s.cfg.Log.Debug("cannot send the heartbeat of a job", "job", msg.Subject(), "error", err)
	}
}

// resolved logs that an Ack, Nak or Term could not be sent: the job is delivered
// again, and its lane decides.
func (s *subscription) resolved(msg jetstream.Msg, err error) {
	if err != nil {
		s.cfg.Log.Warn("cannot acknowledge or hand back a job, it will be delivered again", "job", msg.Subject(), "error", err)
	}
}

// own reports whether a header is not passed on as metadata: what this package
// and Watermill's middleware decide by is never taken from a publisher.
func own(key string) bool {
	switch key {
	case delay.DelayedForKey, delay.DelayedUntilKey, middleware.ReasonForPoisonedKey, middleware.PoisonedTopicKey,
		middleware.PoisonedHandlerKey, middleware.PoisonedSubscriberKey:
		return true
	}
	return strings.HasPrefix(key, topology.HeaderNATS) && key != jetstream.MsgIDHeader
}

// metadataOf returns a message's headers as metadata: the first value of each.
func metadataOf(h nats.Header) message.Metadata {
	meta := make(message.Metadata, len(h))
	for key, values := range h {
		if len(values) > 0 && !own(key) {
			meta[key] = values[0]
		}
	}
	return meta
}

// oneLine keeps a text from breaking a header or a log line.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
}
