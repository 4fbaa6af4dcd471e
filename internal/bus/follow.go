package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Follow gives a shard's messages after a sequence, in order, without end: all
// channels but the output of tools, which nothing decides on. fn runs on one
// goroutine; its error ends Follow. caughtUp is called once, when what stood in
// the log at the start has been given.
func (b *Bus) Follow(ctx context.Context, shard int, after uint64, fn func(Message) error, caughtUp func() error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f := &follower{bus: b, shard: shard, fn: fn, caughtUp: caughtUp}
	cons, err := f.start(ctx, after)
	if err != nil {
		return err
	}
	// Stopping does not wait for a callback that runs: this does.
	var running sync.Mutex
	consume, err := cons.Consume(func(msg jetstream.Msg) {
		running.Lock()
		defer running.Unlock()
		if ctx.Err() != nil {
			return
		}
		if err := f.take(ctx, msg); err != nil {
			stop(err)
		}
	}, jetstream.PullMaxMessages(2048), jetstream.PullHeartbeat(readerHeartbeat), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		b.log.Debug("reader of a shard starts again", "shard", shard, "error", err)
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			stop(fmt.Errorf("follow shard %d: the reader was lost: %w", shard, err))
		}
	}))
	if err != nil {
		return fmt.Errorf("follow shard %d: %w", shard, explainJetStream(err))
	}
	closed := consume.Closed()
	select {
	case <-ctx.Done():
	case <-closed:
		stop(fmt.Errorf("follow shard %d: %w", shard, nats.ErrConnectionClosed))
	}
	consume.Stop()
	<-closed
	running.Lock() // from here on fn finds that ctx has ended
	defer running.Unlock()
	return context.Cause(ctx)
}

// follower is the state of one [Bus.Follow].
type follower struct {
	bus      *Bus
	shard    int
	fn       func(Message) error
	caughtUp func() error
	end      uint64 // what stood in the log at the start ends here
	pending  bool   // and has not all been given
}

// start makes the reader, and says at once when there is nothing to catch up with.
func (f *follower) start(ctx context.Context, after uint64) (jetstream.Consumer, error) {
	s, err := f.bus.stream(ctx, topology.ConvStream(f.shard))
	if err != nil {
		return nil, err
	}
	asking, cancel := answer(ctx)
	defer cancel()
	info, err := s.Info(asking)
	if err != nil {
		return nil, fmt.Errorf("shard %d: %w", f.shard, explainJetStream(err))
	}
	// nats.go's own tries to make a lost reader again cannot be ended, and may not
	// come back from an election: whoever follows begins anew.
	cfg := jetstream.OrderedConsumerConfig{InactiveThreshold: readerIdle, DeliverPolicy: jetstream.DeliverAllPolicy, MaxResetAttempts: 1}
	// No filter: with several, the server looks at every subject of a block for
	// each message, which costs a reader that has fallen behind a hundred times
	// what it saves (BenchmarkFollowCatchesUp). Tool output is skipped here.
	if after > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, after+1
	}
	cons, err := f.bus.js.OrderedConsumer(asking, topology.ConvStream(f.shard), cfg)
	if err != nil {
		return nil, fmt.Errorf("follow shard %d: %w", f.shard, explainJetStream(err))
	}
	f.end = info.State.LastSeq
	f.pending = cons.CachedInfo().NumPending > 0 && f.end > after
	if !f.pending {
		return cons, f.caughtUp()
	}
	return cons, nil
}

// take gives on one message.
func (f *follower) take(ctx context.Context, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("follow shard %d: %w", f.shard, err)
	}
	if !isOutput(msg.Subject()) {
		m, err := f.bus.message(ctx, msg.Subject(), meta.Sequence.Stream, meta.Timestamp, msg.Data(), !f.pending)
		if err != nil {
			return err
		}
		if err := f.fn(m); err != nil {
			return err
		}
	}
	if f.pending && (meta.NumPending == 0 || meta.Sequence.Stream >= f.end) {
		f.pending = false
		return f.caughtUp()
	}
	return nil
}

// isOutput reports whether a subject is one of tool output: conv.<shard>.<id>.out.<call>.
func isOutput(subject string) bool {
	_, rest, _ := strings.Cut(subject, ".")
	_, rest, _ = strings.Cut(rest, ".")
	_, rest, _ = strings.Cut(rest, ".")
	return strings.HasPrefix(rest, string(events.ChannelOut)+".")
}

// ReadShard gives a shard's messages after a sequence up to the end of the log.
func (b *Bus) ReadShard(ctx context.Context, shard int, after uint64, filters []string, fn func(Message) error) error {
	return b.readShard(ctx, shard, after, filters, false, fn)
}

func (b *Bus) readShard(ctx context.Context, shard int, after uint64, filters []string, bounded bool, fn func(Message) error) error {
	return b.read(ctx, topology.ConvStream(shard), filters, after+1, bounded, func(r raw) error {
		m, err := b.message(ctx, r.subject, r.seq, r.at, r.data, false)
		if err != nil {
			return err
		}
		return fn(m)
	})
}

// EndOf is the last sequence of a shard's log and when it was written.
func (b *Bus) EndOf(ctx context.Context, shard int) (uint64, time.Time, error) {
	s, err := b.stream(ctx, topology.ConvStream(shard))
	if err != nil {
		return 0, time.Time{}, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("shard %d: %w", shard, explainJetStream(err))
	}
	return info.State.LastSeq, info.State.LastTime, nil
}
