package bus

import (
	"context"
	"errors"
	"fmt"
)

// heads passes on the messages of a stream from one sequence to another, both
// included, in order and without payloads. It is complete: the leader confirms
// that nothing is left of the range.
func (b *Bus) heads(ctx context.Context, stream string, from, to uint64, fn func(raw)) error {
	if b.step {
		return b.stepHeads(ctx, stream, from, to, fn)
	}
	for again := b.newRetry(); ; {
		next, err := b.headsOnce(ctx, stream, from, to, fn)
		switch {
		case err == nil && next > to:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errNoReaders):
			return b.stepHeads(ctx, stream, next, to, fn)
		case next > from:
			from, again = next, b.newRetry()
		}
		if err == nil {
			left, failed := b.fromLeader(ctx, stream, getRequest{Sequence: from, Next: ">"})
			if failed != nil {
				return failed
			}
			if left == nil || left.seq > to {
				return nil
			}
			err = fmt.Errorf("%w: it ended before %d, the leader has %d", ErrShortRead, from, left.seq)
		}
		if !again.after(ctx, err) {
			return fmt.Errorf("list %s: %w", stream, explainJetStream(err))
		}
	}
}

func (b *Bus) stepHeads(ctx context.Context, stream string, from, to uint64, fn func(raw)) error {
	return b.stepThrough(ctx, stream, "", from, to, func(r raw) error {
		fn(r)
		return nil
	})
}

// headsOnce reads through one consumer, as far as it goes, and returns the
// sequence to continue from.
func (b *Bus) headsOnce(ctx context.Context, stream string, from, to uint64, fn func(raw)) (uint64, error) {
	next := max(from, 1)
	p, err := b.newHeadPuller(ctx, stream, next)
	if err != nil {
		return next, err
	}
	defer p.close()
	for p.pending > 0 && next <= to && err == nil {
		before := p.read
		err = p.batch(ctx, pull{most: int(min(p.pending, to-next+1, pullBatch)), expires: appendTimeout}, func(r raw) error {
			if r.seq <= to {
				fn(r)
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
