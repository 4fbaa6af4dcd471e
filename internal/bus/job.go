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
	return j.publish(ctx, conversation, subject, id, job)
}

func (j Jobs) publish(ctx context.Context, conversation, subject, id string, job events.Event, opts ...jetstream.PublishOpt) error {
	frame, err := events.AppendFrame(nil, job)
	if err != nil {
		return err
	}
	data, err := j.bus.fitAs(ctx, conversation, jobObject(id), frame)
	if err != nil {
		return err
	}
	if fault.Planted(fault.DoubleJob) {
		_, _ = j.bus.publishData(ctx, subject, messageID(conversation, id)+"/again", data)
	}
	// A duplicate is the same job: its id has the conversation in it.
	_, err = j.bus.publishData(ctx, subject, messageID(conversation, id), data, opts...)
	return err
}

// PublishAgain publishes a job that the queue may have lost, and does nothing while the
// queue holds it, also if a worker has taken it.
func (j Jobs) PublishAgain(ctx context.Context, conversation, subject, id string, job events.Event) error {
	err := j.publish(ctx, conversation, subject, id, job, jetstream.WithExpectLastSequencePerSubject(0))
	if api, is := errors.AsType[*jetstream.APIError](err); is && isWrongLast(api) {
		return nil
	}
	return err
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
