package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/fault"
)

// raw is a stored message before it is decoded.
type raw struct {
	subject string
	header  nats.Header // as the publisher set it: only header.go reads it
	seq     uint64
	at      time.Time
	data    []byte
}

// ErrShortRead reports that a log could not be read up to the position that its
// leader named: the replicas that answered lag behind it.
var ErrShortRead = errors.New("the log could not be read to its end")

// read passes on what a stream holds under a filter from sequence from on, in
// order, up to the end that the leader named when reading began or later. It is
// complete or an error: a consumer on a replica that lags ends early without an
// error, so the position it reached is compared with the leader's. A reader whose
// consumer is lost or lags continues through a new one. With bounded, fn is
// expected to end it before what came last.
func (b *Bus) read(ctx context.Context, stream, filter string, from uint64, bounded bool, fn func(raw) error) error {
	if b.step {
		return b.stepThrough(ctx, stream, filter, from, 0, fn)
	}
	last, err := b.lastFromLeader(ctx, stream, filter)
	if err != nil {
		return err
	}
	for again := b.newRetry(); last != nil && last.seq >= from; {
		next, err := b.readOnce(ctx, stream, filter, from, bounded, fn)
		var stop *stopError
		switch {
		case errors.As(err, &stop):
			return stop.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errNoReaders):
			return b.stepThrough(ctx, stream, filter, next, 0, fn)
		case err == nil && next > last.seq:
			return nil
		case next > from:
			from, again = next, b.newRetry()
		}
		if err == nil {
			// The replica lags, or the last message is gone since.
			if last, err = b.lastFromLeader(ctx, stream, filter); err != nil {
				return err
			}
			if last == nil || last.seq < from {
				return nil
			}
			err = fmt.Errorf("%w: it ended before %d, the leader's is at %d", ErrShortRead, from, last.seq)
		}
		if fault.Planted(fault.ReadShort) {
			return nil
		}
		if !again.after(ctx, err) {
			return fmt.Errorf("read %s: %w", stream, explainJetStream(err))
		}
	}
	return nil
}

// fewMessages is up to how many messages a log is read from its beginning, with
// the others skipped. A consumer that starts in the middle of a
// stream costs the server a scan of a block's messages, some milliseconds; one
// that starts at the beginning costs a look at the index.
const fewMessages = 256

// readOnce reads through one consumer and returns the sequence to continue from.
func (b *Bus) readOnce(ctx context.Context, stream, filter string, from uint64, bounded bool, fn func(raw) error) (uint64, error) {
	p, err := b.newPuller(ctx, stream, filter, 1)
	if err == nil && from > 1 && p.pending > fewMessages {
		p.close()
		p, err = b.newPuller(ctx, stream, filter, from)
	}
	if err != nil {
		return from, err
	}
	defer p.close()
	next := from
	for p.pending > 0 && err == nil {
		before := p.read
		most := p.pending
		if bounded {
			// The last message is likely not wanted. It is not requested before the
			// others are here: the server would look at all that lies between them,
			// and delete the consumer only then.
			most = max(most-1, 1)
		}
		err = p.batch(ctx, pull{most: int(min(most, pullBatch)), expires: appendTimeout, ahead: !bounded}, func(r raw) error {
			if r.seq < from {
				return nil
			}
			if err := fn(r); err != nil {
				return err
			}
			next = r.seq + 1
			return nil
		})
		if err == nil && p.read == before {
			err = errReaderLost
		}
	}
	return next, err
}
