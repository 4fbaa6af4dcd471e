package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// Publish puts a job in its queue. The id makes a repeated publish harmless
// within the stream's window; past it the worker finds the job's lane ended.
func (j Jobs) Publish(ctx context.Context, conversation, subject, id string, job events.Event) error {
	m, err := j.message(ctx, conversation, subject, id, job)
	if err != nil {
		return err
	}
	if fault.Planted(fault.DoubleJob) {
		_, _ = j.bus.store(ctx, m, jetstream.WithMsgID(messageID(conversation, id)+"/again"))
	}
	// A duplicate is the same job: its id has the conversation in it.
	_, err = j.bus.store(ctx, m, jetstream.WithMsgID(messageID(conversation, id)))
	return err
}

// PublishAgain publishes a job that the queue may have lost, and does nothing while the
// queue holds it, also if a worker has taken it. It has no message id: the server knows
// that of a job that was acknowledged, whose work the log may have lost since.
func (j Jobs) PublishAgain(ctx context.Context, conversation, subject, id string, job events.Event) error {
	m, err := j.message(ctx, conversation, subject, id, job)
	if err != nil {
		return err
	}
	for range 2 {
		_, err = j.bus.store(ctx, m, jetstream.WithExpectLastSequencePerSubject(0))
		api, is := errors.AsType[*jetstream.APIError](err)
		if !is || !isWrongLast(api) {
			return err
		}
		if held, err := j.Hold(ctx, subject); err != nil || held {
			return err
		}
		if err := j.Drop(ctx, subject); err != nil {
			return err
		}
	}
	return err
}

// Hold reports whether the queues hold a job under one of these subjects, taken by a
// worker or not.
func (j Jobs) Hold(ctx context.Context, subjects ...string) (bool, error) {
	for _, subject := range subjects {
		r, err := j.bus.lastFromLeader(ctx, topology.StreamJobs, subject)
		if err != nil {
			return false, err
		}
		if r == nil {
			continue
		}
		if done, err := j.acknowledged(ctx, *r); err != nil || !done {
			return err == nil, err
		}
	}
	return false, nil
}

// acknowledged reports whether a job in the stream counts as acknowledged in its queue,
// which then never delivers it. A server that was killed may have stored that, and not
// that the job was removed (nats-server 2.15.3,
// TestAnAcknowledgedJobThatIsThereAgainIsPublishedAgain).
func (j Jobs) acknowledged(ctx context.Context, r raw) (bool, error) {
	q, err := topology.QueueOf(r.subject)
	if err != nil {
		return false, err
	}
	c, err := j.Find(ctx, q)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return false, nil // the next one delivers all that there is
	}
	if err != nil {
		return false, fmt.Errorf("queue %s: %w", q.Consumer, explainJetStream(err))
	}
	return c.CachedInfo().AckFloor.Stream >= r.seq, nil
}

func (j Jobs) message(ctx context.Context, conversation, subject, id string, job events.Event) (*nats.Msg, error) {
	frame, err := events.AppendFrame(nil, job)
	if err != nil {
		return nil, err
	}
	m := nats.NewMsg(subject)
	m.Header.Set(topology.HeaderJob, messageID(conversation, id))
	m.Header.Set(topology.HeaderProtocol, topology.ProtocolText())
	m.Data, err = j.bus.fitAs(ctx, conversation, jobObject(id), frame)
	return m, err
}

// Read decodes the payload of a job and fetches what it refers to.
// [ErrUnavailable] reports that it may be read later; any other error is final.
func (j Jobs) Read(ctx context.Context, data []byte) (events.Event, error) {
	lines, err := j.bus.decode(ctx, data)
	if err == nil {
		return lines[0].Event, nil
	}
	if Unfetched(err) || ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil, err
}

// RemakeQueue makes a queue that a worker of it found missing.
func (j Jobs) RemakeQueue(ctx context.Context, q topology.Queue) error {
	j.bus.queues.Delete(q)
	return j.EnsureQueue(ctx, q)
}

// DeadLetter stores a message that cannot be read or run in DEAD, with the
// reason. One that leaves no space for the reason is cut, and the header Parley-Size holds its length in bytes. An id, if not
// empty, keeps the same message from being stored twice.
func (j Jobs) DeadLetter(ctx context.Context, subject string, data []byte, reason, id string) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	m := nats.NewMsg(topology.DeadSubject(subject))
	if m.Data = data; len(data) > j.bus.payload {
		m.Data = data[:j.bus.payload]
		m.Header.Set(topology.HeaderSize, strconv.Itoa(len(data)))
	}
	m.Header.Set(topology.HeaderReason, Preview(oneLine(reason), 1024))
	if id != "" {
		m.Header.Set(jetstream.MsgIDHeader, id)
	}
	if _, err := j.bus.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("store a dead letter of %s: %w", subject, explainJetStream(err))
	}
	j.bus.log.Warn("dead letter", "subject", subject, "reason", reason)
	return nil
}
