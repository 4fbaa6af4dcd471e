package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Follow passes on a shard's messages after a sequence, in order, until ctx
// ends: all channels but the output of tools, which nothing decides on. What
// CONV no longer holds comes from HISTORY: the facts, not the chunks.
//
// A payload in the object store is not fetched here, see
// [Message.Claim]: one large object would hold up every conversation.
//
// fn runs on one goroutine; its error ends Follow. caughtUp is called once, when
// everything that the log held at the start, as its leader says, was passed on.
func (s Shard) Follow(ctx context.Context, after uint64, fn func(Message) error, caughtUp func() error) error {
	f := &follower{bus: s.bus, shard: s.number, next: after + 1, fn: fn, caughtUp: caughtUp, pending: true}
	if err := f.expired(ctx); err != nil {
		return err
	}
	return s.bus.keepReading(ctx, fmt.Sprintf("shard %d", s.number), &f.next, f.follow)
}

// keepReading calls read again, from next on, each time its consumer is lost: for
// as long as the server cannot be reached, and up to [retryTries] times in a row
// without progress while it can. what names the reader in errors.
func (b *Bus) keepReading(ctx context.Context, what string, next *uint64, read func(context.Context) error) error {
	for again := b.newRetry(); ; {
		before := *next
		err := read(ctx)
		var stop *stopError
		switch {
		case errors.As(err, &stop):
			return stop.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case *next > before:
			again = b.newRetry()
		}
		b.log.Debug("a reader starts again", "reader", what, "after", *next-1, "error", err)
		if !again.after(ctx, err) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("follow %s: %w", what, explainJetStream(err))
		}
	}
}

// follower is the state of one [Shard.Follow].
type follower struct {
	bus      *Bus
	shard    int
	next     uint64 // sequence that comes next
	fn       func(Message) error
	caughtUp func() error
	end      uint64 // the log ended here at the start
	pending  bool   // and was not read up to there yet
}

// expired passes on the facts that CONV no longer holds.
func (f *follower) expired(ctx context.Context) error {
	info, err := f.bus.infoOf(ctx, topology.ConvStream(f.shard))
	if err != nil {
		return fmt.Errorf("follow shard %d: %w", f.shard, err)
	}
	f.end = info.State.LastSeq
	first := max(info.State.FirstSeq, 1, f.bus.gapEnd(f.shard)+1)
	if f.next >= first {
		return nil
	}
	if err := f.bus.expiredFacts(ctx, f.shard, f.next, first, f.fn); err != nil {
		return err
	}
	f.next = first
	return nil
}

// follow reads on through one consumer until ctx ends or it is lost.
func (f *follower) follow(ctx context.Context) error {
	// No filter: with several, the server looks at every subject of a block for
	// each message, which costs a reader that has fallen behind a hundred times
	// what it saves (BenchmarkFollowCatchesUp). Tool output is skipped here.
	p, err := f.bus.newPuller(ctx, topology.ConvStream(f.shard), "", f.next)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	p.idle = func() error {
		if err := f.live(); err != nil {
			return &stopError{err}
		}
		return nil
	}
	for {
		if f.pending && p.pending == 0 {
			if err := f.complete(ctx, p); err != nil {
				return err
			}
		}
		err := p.batch(ctx, pullBatch, pullExpires, readerHeartbeat, func(r raw) error {
			f.next = r.seq + 1
			if err := f.take(r); err != nil {
				return err
			}
			if r.seq >= f.end {
				return f.live()
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// complete queries the log's leader whether everything was read that the log held
// at the start: a replica may hold less.
func (f *follower) complete(ctx context.Context, p *puller) error {
	r, err := p.more(ctx)
	if err != nil || r != nil && r.seq <= f.end {
		return err
	}
	return p.idle()
}

// live calls caughtUp, once.
func (f *follower) live() error {
	if !f.pending {
		return nil
	}
	f.pending = false
	return f.caughtUp()
}

// take passes on one message.
func (f *follower) take(r raw) error {
	if isOutput(r.subject) || r.subject == topology.Probe(f.shard) {
		return nil
	}
	return f.fn(f.bus.unfetched(r, !f.pending))
}

// isOutput reports whether a subject is one of tool output: conv.<shard>.<id>.out.<call>.
func isOutput(subject string) bool {
	_, rest, _ := strings.Cut(subject, ".")
	_, rest, _ = strings.Cut(rest, ".")
	_, rest, _ = strings.Cut(rest, ".")
	return strings.HasPrefix(rest, string(events.ChannelOut)+".")
}

// End returns the last sequence of a shard's log and when it was written.
func (s Shard) End(ctx context.Context) (uint64, time.Time, error) {
	info, err := s.bus.infoOf(ctx, topology.ConvStream(s.number))
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("shard %d: %w", s.number, err)
	}
	return info.State.LastSeq, info.State.LastTime, nil
}

// Read passes on a shard's messages after a sequence up to the end of the log,
// under a filter of subjects (empty: all).
func (s Shard) Read(ctx context.Context, after uint64, filter string, fn func(Message) error) error {
	return s.bus.readShard(ctx, s.number, after, filter, false, MaxInput, fn)
}

func (b *Bus) readShard(ctx context.Context, shard int, after uint64, filter string, bounded bool, input int64, fn func(Message) error) error {
	return b.read(ctx, topology.ConvStream(shard), filter, after+1, bounded, func(r raw) error {
		m, err := b.messageWithin(ctx, r, false, input)
		if err != nil {
			return err
		}
		return fn(m)
	})
}

// At reads one message of a shard's log from its leader; false when it is gone.
func (s Shard) At(ctx context.Context, seq uint64) (Message, bool, error) {
	r, err := s.bus.fromLeader(ctx, topology.ConvStream(s.number), getRequest{Sequence: seq})
	if err != nil || r == nil {
		return Message{}, false, err
	}
	return s.bus.unfetched(*r, false), true, nil
}
