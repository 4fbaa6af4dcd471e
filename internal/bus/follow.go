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
// While many messages come, they gather for 50 ms, unless one comes that a decision may be
// due on: see [gatherEvery].
//
// It fails with [ErrOtherLog] when the log is replaced while it is followed.
//
// fn runs on one goroutine; its error ends Follow. caughtUp is called once, when
// everything that the log held at the start, as its leader says, was passed on.
func (s Shard) Follow(ctx context.Context, after uint64, fn func(Message) error, caughtUp func() error) error {
	return s.follow(ctx, after, gatherEvery, fn, caughtUp)
}

func (s Shard) follow(ctx context.Context, after uint64, every time.Duration, fn func(Message) error, caughtUp func() error) error {
	waker, err := s.bus.newWaker(s.number)
	if err != nil {
		return fmt.Errorf("follow shard %d: %w", s.number, err)
	}
	defer waker.close()
	f := &follower{expiring: expiring{bus: s.bus, shard: s.number, next: after + 1}, fn: fn, caughtUp: caughtUp, pending: true, waker: waker, every: every}
	if err := f.expired(ctx); err != nil {
		return err
	}
	err = s.bus.keepReading(ctx, fmt.Sprintf("shard %d", s.number), &f.next, f.follow)
	if !errors.Is(err, ErrOtherLog) {
		// Who reads the shard meanwhile may repair its log: then this says nothing.
		s.bus.marks.CompareAndDelete(s.number, f.tail)
	}
	return err
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
	expiring
	fn       func(Message) error
	caughtUp func() error
	tail     *tail
	end      uint64 // the log ended here at the start
	pending  bool   // and was not read up to there yet
	waker    *waker
	every    time.Duration // how long messages gather
	gathers  bool          // they do
	behind   bool          // there is more than was read at a time
}

// expired passes on the facts that CONV no longer holds.
func (f *follower) expired(ctx context.Context) error {
	info, err := f.bus.infoOf(ctx, topology.ConvStream(f.shard))
	if err != nil {
		return fmt.Errorf("follow shard %d: %w", f.shard, err)
	}
	f.end, f.tail, f.keeps = info.State.LastSeq, f.bus.begin(f.shard, info), keeps(info.Config)
	f.facts = func(ctx context.Context, before uint64) error {
		return f.bus.expiredFacts(ctx, f.shard, f.next, before, func(m Message) error {
			f.next = m.Sequence + 1
			return f.fn(m)
		})
	}
	return f.before(ctx, max(info.State.FirstSeq, f.bus.gapEnd(f.shard)+1))
}

// follow reads on through one consumer until ctx ends or it is lost.
func (f *follower) follow(ctx context.Context) error {
	// A log that was replaced has lost its consumers, so that each reader ends with it.
	if err := f.bus.sameLog(ctx, f.shard, true); errors.Is(err, ErrOtherLog) {
		return &stopError{err}
	} else if err != nil {
		return err
	}
	// No filter: with several, the server looks at every subject of a block for
	// each message, which costs a reader that has fallen behind a hundred times
	// what it saves (BenchmarkFollowCatchesUp). Tool output is skipped here.
	p, err := f.bus.newPuller(ctx, topology.ConvStream(f.shard), "", f.next)
	if err != nil {
		return err
	}
	defer p.close()
	f.at = time.Time{}
	p.idle = func() error {
		if f.pending {
			if err := f.missed(ctx, f.end+1); err != nil {
				return err
			}
		}
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
		if err := f.some(ctx, p); err != nil {
			return err
		}
	}
}

// some reads what comes next: all that there is until the follower has caught up, then
// one message after the other, or what has gathered.
func (f *follower) some(ctx context.Context, p *puller) error {
	request := pull{most: pullBatch, expires: pullExpires, heartbeat: readerHeartbeat, gathered: true}
	begun, before := time.Now(), p.read
	switch {
	case f.pending || f.behind: // at once
	case f.gathers:
		f.waker.wait(ctx, f.every)
	default:
		request.most, request.gathered = gatherAfter, false
	}
	err := p.batch(ctx, request, func(r raw) error { return f.pass(ctx, r) })
	if came := p.read - before; request.gathered {
		f.gathers, f.behind = came > 1, came == pullBatch
	} else {
		f.gathers = came == gatherAfter && time.Since(begun) < gatherAfter*f.every/2
	}
	return err
}

// pass passes on a message that was read.
func (f *follower) pass(ctx context.Context, r raw) error {
	if err := f.missed(ctx, r.seq); err != nil {
		return err
	}
	f.next, f.at = r.seq+1, r.at
	f.tail.read(r)
	if err := f.take(r); err != nil {
		return err
	}
	if r.seq >= f.end {
		return f.live()
	}
	return nil
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
	if !f.pending {
		f.bus.clock.stored(r.at)
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
