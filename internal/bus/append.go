package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// ErrFenced reports that another writer wrote to the lane: this writer is not its
// writer any more and must stop.
var ErrFenced = errors.New("the lane has another writer")

const appendTimeout = 2 * time.Second

// Append appends a frame to a lane whose last message has sequence after (0: empty) and
// returns the new position. While the server cannot be reached it retries, with
// backoff, until ctx ends. It fails with [ErrFenced] when another writer has
// appended; a frame too large for a message goes to the object store.
//
// A lane whose messages have all expired is an empty lane: the server expects 0,
// whatever after was. See [Bus.expect] for why that fences all the same.
func (l Lane) Append(ctx context.Context, after uint64, frame []byte) (uint64, error) {
	if err := l.address.Check(); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	if err := fits(l.address.Channel, frame); err != nil {
		return 0, fmt.Errorf("append to a lane: %w", err)
	}
	data, err := l.bus.fit(ctx, l.address.Conversation, frame)
	if err != nil {
		return 0, err
	}
	subject, expect := l.address.Subject(topology.Conv), after
	for again := writeBackoff(); ; {
		// An owner that has not noticed yet that its log was replaced would decide on what
		// the log has lost.
		var seq uint64
		var err error
		if l.address.Channel == events.ChannelTurn {
			err = l.bus.sameLog(ctx, l.address.Shard, false)
		}
		if err == nil {
			seq, err = l.bus.tryAppend(ctx, subject, expect, data)
		}
		if err == nil {
			return seq, nil
		}
		if errors.Is(err, errMoved) {
			var last *raw
			if last, err = l.bus.lastFromLeader(ctx, topology.ConvStream(l.address.Shard), subject); err == nil {
				if last != nil && last.seq > after && bytes.Equal(last.data, data) {
					return last.seq, nil // an earlier try of ours; its answer was lost
				}
				before := expect
				if expect, err = l.bus.expect(ctx, l.address, after, last); err == nil && expect != before {
					continue
				}
			}
		}
		if err != nil && (errors.Is(err, ErrFenced) || errors.Is(err, ErrOtherLog) || permanent(err) || isFull(err)) {
			return 0, fmt.Errorf("append to %s after %d: %w", subject, after, err)
		}
		l.bus.log.Debug("append undecided, trying again", "subject", subject, "error", err)
		if !again.wait(ctx) {
			return 0, fmt.Errorf("append to %s after %d: %w (last try: %v)", subject, after, context.Cause(ctx), err)
		}
	}
}

// errMoved reports that the server refused an append because the lane's last
// message is another one, or is in flight.
var errMoved = errors.New("the lane's last message is another one")

func (b *Bus) tryAppend(ctx context.Context, subject string, after uint64, data []byte) (uint64, error) {
	try, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	follows := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(after)}
	if fault.Planted(fault.SkipExpected) {
		follows = nil
	}
	ack, err := b.publish(try, &nats.Msg{Subject: subject, Data: data}, follows...)
	b.writes.wrote(topology.StreamOf(subject), err)
	if err == nil {
		return ack.Sequence, nil
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && isWrongLast(api) {
		return 0, fmt.Errorf("%w: %w", errMoved, err)
	}
	return 0, err
}

// expect is the sequence that the server expects of a writer that follows after,
// given the lane's last message (nil: none), or [ErrFenced].
//
// The server may not have after any more: messages expire oldest first, so that
// a lane becomes empty, where 0 is expected; and a log that has lost its end has
// an older last message. That after was the lane's last message is known from
// HISTORY then, which keeps facts for good: a writer whose message is the last
// copy may continue, and the server lets only the first one do so, because the lane
// has moved after it. The gen lane has no copy: when it has expired the writer
// continues, because which generation counts is decided on the turn lane, and the
// fold ignores what a superseded attempt wrote; when its end is lost the attempt
// has lost events and must start again.
func (b *Bus) expect(ctx context.Context, a topology.Address, after uint64, last *raw) (uint64, error) {
	var at uint64
	if last != nil {
		at = last.seq
	}
	switch {
	case at > after && (a.Channel != events.ChannelTurn || at > b.gapEnd(a.Shard)):
		return 0, ErrFenced // within a gap HISTORY's copy is the last
	case at == after:
		return after, nil // a try of ours is in flight, look again
	}
	if a.Channel == events.ChannelGen {
		info, err := b.infoOf(ctx, topology.ConvStream(a.Shard))
		if err == nil && (last != nil || after >= info.State.FirstSeq) {
			err = fmt.Errorf("%w: its message %d was deleted or lost, or is of another log", ErrFenced, after)
		}
		return 0, err
	}
	copied, err := b.lastCopy(ctx, a.Subject(topology.History))
	if err == nil && (copied == nil || copied.seq != after) {
		err = fmt.Errorf("%w: %d is not its last message", ErrFenced, after)
	}
	return at, err
}

// Last is the last message of a lane.
type Last struct {
	Sequence uint64
	Time     time.Time
	Data     []byte
	Lines    []events.Line
	Bad      error // why it cannot be read
}

// Last reads the last message of a lane from the stream's leader; its Sequence
// is 0 when the lane is empty, or has expired. A message that cannot be read is
// no error: the lane continues after it.
func (l Lane) Last(ctx context.Context) (Last, error) {
	if err := l.address.Check(); err != nil {
		return Last{}, fmt.Errorf("read the last message of a lane: %w", err)
	}
	subject := l.address.Subject(topology.Conv)
	r, err := l.bus.lastFromLeader(ctx, topology.ConvStream(l.address.Shard), subject)
	if err != nil {
		return Last{}, fmt.Errorf("read the last message of %s: %w", subject, err)
	}
	if r == nil {
		return Last{}, nil
	}
	m, err := l.bus.message(ctx, *r, false)
	if err != nil {
		return Last{}, fmt.Errorf("last message of %s: %w", subject, err)
	}
	return Last{Sequence: r.seq, Time: m.Time, Data: m.Data, Lines: m.Lines, Bad: m.Bad}, nil
}

// Publish publishes an input on a conversation's in channel and returns its
// sequence. The id makes a repeated publish harmless, for good: the fold knows
// every id that was answered.
func (c Conversation) Publish(ctx context.Context, id string, e events.Event) (uint64, error) {
	if err := topology.CheckID("conversation", c.id); err != nil {
		return 0, err
	}
	if err := topology.CheckID("input", id); err != nil {
		return 0, err
	}
	frame, err := c.bus.inputFrame(c.id, e)
	if err != nil {
		return 0, err
	}
	if err := fits(events.ChannelIn, frame); err != nil {
		return 0, err
	}
	a := topology.At(c.bus.Shards(), c.id, events.ChannelIn)
	subject := a.Subject(topology.Conv)
	ack, err := c.bus.publishOnce(ctx, c.id, subject, messageID(c.id, id), frame)
	if err != nil || !ack.Duplicate {
		return sequence(ack), err
	}
	// The server looks for the id in the whole shard. Ours has the conversation
	// in it, but anybody may have used it elsewhere.
	r, err := c.bus.fromLeader(ctx, topology.ConvStream(a.Shard), getRequest{Sequence: ack.Sequence})
	if err != nil || r != nil && r.subject == subject {
		return ack.Sequence, err
	}
	ack, err = c.bus.publishOnce(ctx, c.id, subject, messageID(c.id, id)+"/"+uuid.NewString(), frame)
	return sequence(ack), err
}

// messageID is the Nats-Msg-Id of an input or a job. JetStream looks for
// duplicates in a whole stream, so that an id alone may be that of another
// conversation.
func messageID(conversation, id string) string { return conversation + "/" + id }

func sequence(ack *jetstream.PubAck) uint64 {
	if ack == nil {
		return 0
	}
	return ack.Sequence
}

// publishOnce publishes until it is acknowledged or ctx ends.
func (b *Bus) publishOnce(ctx context.Context, conversation, subject, id string, frame []byte) (*jetstream.PubAck, error) {
	data, err := b.fit(ctx, conversation, frame)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	m.Header.Set(topology.HeaderProtocol, topology.ProtocolText())
	return b.store(ctx, m, jetstream.WithMsgID(id))
}

// store publishes a message until it is acknowledged; opts make that harmless.
func (b *Bus) store(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (ack *jetstream.PubAck, err error) {
	subject := m.Subject
	var silence silence
	err = b.retryWrite(ctx, "publish to "+subject, func(try context.Context) error {
		ack, err = b.publish(try, m, opts...)
		b.writes.wrote(topology.StreamOf(subject), err)
		if api, is := errors.AsType[*jetstream.APIError](err); is && isWrongLast(api) {
			return &stopError{err}
		}
		if silence.lasts(ctx, b, subject, err) {
			return &stopError{explainWrite(err)}
		}
		return err
	})
	return ack, err
}

// Show publishes something for display only: without acknowledgement, so that
// it never slows its writer. It is stored like everything else.
func (l Lane) Show(e events.Event) error {
	if err := l.address.Check(); err != nil {
		return fmt.Errorf("show: %w", err)
	}
	frame, err := events.AppendFrame(nil, e)
	if err != nil {
		return err
	}
	return l.bus.nc.Publish(l.address.Subject(topology.Conv), frame)
}
