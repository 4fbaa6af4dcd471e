package jobs

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// DeadLetters is the topic of jobs that can never run, see [Publisher].
const DeadLetters = topology.StreamDead

// publishTimeout bounds the wait for the acknowledgement of a message.
const publishTimeout = 5 * time.Second

// Publisher is a [message.Publisher] for the work queues of JOBS. A message whose
// UUID was published to the topic within the stream's window (10 minutes) is not
// stored again; the metadata Nats-Msg-Id names another key for that. What is
// published to [DeadLetters] by Watermill's poison queue becomes a dead letter:
// the job as it was, under its own subject, with the reason.
type Publisher struct {
	bus    *bus.Bus
	closed atomic.Bool
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a publisher on a connection, which stays the caller's.
func NewPublisher(b *bus.Bus) *Publisher { return &Publisher{bus: b} }

// Close implements [message.Publisher]. Nothing is buffered.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}

// Publish implements [message.Publisher]: it returns when all messages are
// stored. Of messages that follow one that failed, none is published.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if p.closed.Load() {
		return ErrClosed
	}
	for _, m := range messages {
		publish := p.publish
		if topic == DeadLetters {
			publish = p.deadLetter
		}
		if err := publish(topic, m); err != nil {
			return fmt.Errorf("publish %s to %s: %w", m.UUID, topic, err)
		}
	}
	return nil
}

func (p *Publisher) publish(topic string, m *message.Message) error {
	queue, err := topology.QueueNamed(topic)
	if err == nil {
		err = topology.CheckID("job", m.UUID)
	}
	if err != nil {
		return err
	}
	msg := nats.NewMsg(queue.Subject(m.UUID))
	msg.Data = m.Payload
	msg.Header.Set(jetstream.MsgIDHeader, msg.Subject)
	for key, value := range m.Metadata {
		if !own(key) {
			msg.Header.Set(key, value)
		}
	}
	ctx, cancel := context.WithTimeout(m.Context(), publishTimeout)
	defer cancel()
	_, js := p.bus.Raw()
	_, err = js.PublishMsg(ctx, msg)
	return err
}

// deadLetter publishes a job that Watermill's poison queue hands over. It does so
// also when the worker is being stopped.
func (p *Publisher) deadLetter(_ string, m *message.Message) error {
	queue, err := topology.QueueNamed(m.Metadata.Get(middleware.PoisonedTopicKey))
	if err != nil {
		return err
	}
	reason := oneLine(m.Metadata.Get(middleware.ReasonForPoisonedKey))
	return p.bus.Jobs().DeadLetter(context.WithoutCancel(m.Context()), queue.Subject(m.UUID), m.Payload, reason, "")
}
