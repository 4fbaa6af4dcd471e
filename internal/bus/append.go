package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// ErrFenced says that somebody else wrote to the lane: this writer is not its
// writer any more and must stop.
var ErrFenced = errors.New("the lane has another writer")

// JetStream's answers to an append that does not follow the lane's last message.
const (
	codeWrongLastSequence = 10071
	codeInFlight          = 10164
)

const (
	appendTimeout = 2 * time.Second
	backoffFirst  = 20 * time.Millisecond
	backoffMost   = time.Second
)

// Append appends a frame to a lane that stands at sequence after (0: empty) and
// returns the new position. While the server cannot be reached it tries again,
// with backoff, until ctx ends. It fails with [ErrFenced] when the lane has
// moved on; a frame too large for a message goes to the object store.
func (b *Bus) Append(ctx context.Context, a topology.Address, after uint64, frame []byte) (uint64, error) {
	if err := a.Check(); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	data, err := b.fit(ctx, a.Conversation, frame)
	if err != nil {
		return 0, err
	}
	subject, stream := a.Subject(topology.Conv), topology.ConvStream(a.Shard)
	for wait := backoffFirst; ; wait = min(2*wait, backoffMost) {
		seq, err := b.tryAppend(ctx, subject, stream, after, data)
		if err == nil {
			return seq, nil
		}
		if errors.Is(err, ErrFenced) || permanent(err) {
			return 0, fmt.Errorf("append to %s after %d: %w", subject, after, err)
		}
		b.log.Debug("append undecided, trying again", "subject", subject, "error", err)
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("append to %s after %d: %w (last try: %v)", subject, after, context.Cause(ctx), err)
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
	}
}

func (b *Bus) tryAppend(ctx context.Context, subject, stream string, after uint64, data []byte) (uint64, error) {
	try, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	ack, err := b.js.PublishMsg(try, &nats.Msg{Subject: subject, Data: data},
		jetstream.WithExpectLastSequencePerSubject(after), jetstream.WithRetryAttempts(0))
	if err == nil {
		return ack.Sequence, nil
	}
	if denied := b.denial(subject); denied != nil {
		return 0, denied
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) || (api.ErrorCode != codeWrongLastSequence && api.ErrorCode != codeInFlight) {
		return 0, err
	}
	// The lane moved. Either an earlier try of ours landed and its answer was
	// lost, or somebody else wrote. The last message itself tells: a frame holds
	// ids nobody else uses.
	last, getErr := b.last(ctx, stream, subject)
	switch {
	case getErr != nil:
		return 0, fmt.Errorf("%w; and its last message cannot be read: %w", err, getErr)
	case last.Sequence > after && bytes.Equal(last.Data, data):
		return last.Sequence, nil
	case last.Sequence > after:
		return 0, ErrFenced
	}
	return 0, err // a replica that lags, or one in flight: look again
}

// permanent reports whether trying the same publish again is useless.
func permanent(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) ||
		errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrPermissionViolation) ||
		errors.As(err, &api) && api.Code == 400 && api.ErrorCode != codeWrongLastSequence && api.ErrorCode != codeInFlight
}

// Last is the last message of a lane.
type Last struct {
	Sequence uint64
	Time     time.Time
	Data     []byte
	Lines    []events.Line
	Bad      error // why it cannot be read
}

func (b *Bus) last(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return &jetstream.RawStreamMsg{}, nil
	}
	return m, err
}

// LastOf reads the last message of a lane; its Sequence is 0 when the lane is
// empty. One that nobody can read is no error: the lane goes on after it.
func (b *Bus) LastOf(ctx context.Context, a topology.Address) (Last, error) {
	if err := a.Check(); err != nil {
		return Last{}, fmt.Errorf("read the last message of a lane: %w", err)
	}
	subject := a.Subject(topology.Conv)
	m, err := b.last(ctx, topology.ConvStream(a.Shard), subject)
	if err != nil {
		return Last{}, fmt.Errorf("read the last message of %s: %w", subject, err)
	}
	if m.Sequence == 0 {
		return Last{}, nil
	}
	last := Last{Sequence: m.Sequence, Time: m.Time, Data: m.Data}
	var unfetched *fetchError
	if last.Lines, last.Bad = b.decode(ctx, m.Data); errors.As(last.Bad, &unfetched) {
		return Last{}, fmt.Errorf("last message of %s: %w", subject, last.Bad)
	}
	return last, nil
}

// Publish puts an input on a conversation's in channel and returns its
// sequence. The id makes a repeated publish harmless.
func (b *Bus) Publish(ctx context.Context, conversation, id string, e events.Event) (uint64, error) {
	if err := topology.CheckID("conversation", conversation); err != nil {
		return 0, err
	}
	if err := topology.CheckID("input", id); err != nil {
		return 0, err
	}
	frame, err := events.AppendFrame(nil, e)
	if err != nil {
		return 0, err
	}
	return b.publishOnce(ctx, conversation, topology.At(b.Shards(), conversation, events.ChannelIn).Subject(topology.Conv), id, frame)
}

// publishOnce publishes until it is acknowledged or ctx ends.
func (b *Bus) publishOnce(ctx context.Context, conversation, subject, id string, frame []byte) (uint64, error) {
	data, err := b.fit(ctx, conversation, frame)
	if err != nil {
		return 0, err
	}
	for wait := backoffFirst; ; wait = min(2*wait, backoffMost) {
		try, cancel := context.WithTimeout(ctx, appendTimeout)
		ack, err := b.js.PublishMsg(try, &nats.Msg{Subject: subject, Data: data}, jetstream.WithMsgID(id), jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		if denied := b.denial(subject); denied != nil {
			err = denied
		}
		if permanent(err) || isFull(err) {
			return 0, fmt.Errorf("publish to %s: %w", subject, explainJetStream(err))
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("publish to %s: %w (last try: %v)", subject, context.Cause(ctx), err)
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
	}
}

// Show publishes something for display only: without acknowledgement, so that
// it never slows its writer. It is stored like everything else.
func (b *Bus) Show(a topology.Address, e events.Event) error {
	if err := a.Check(); err != nil {
		return fmt.Errorf("show: %w", err)
	}
	frame, err := events.AppendFrame(nil, e)
	if err != nil {
		return err
	}
	return b.nc.Publish(a.Subject(topology.Conv), frame)
}
