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

// followHeartbeat is how often the server says that a reader is still there. One
// that went with its node is missed after two: nats.go's own 15 s would leave a
// shard undecided for half a minute.
const followHeartbeat = 2 * time.Second

// Follow gives a shard's messages after a sequence, in order, without end: all
// channels but the output of tools, which nothing decides on. fn runs on one
// goroutine; its error ends Follow. caughtUp is called once, when what stood in
// the log at the start has been given.
func (b *Bus) Follow(ctx context.Context, shard int, after uint64, fn func(Message) error, caughtUp func() error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s, err := b.stream(ctx, topology.ConvStream(shard))
	if err != nil {
		return err
	}
	asking, cancel := answer(ctx)
	defer cancel()
	info, err := s.Info(asking)
	if err != nil {
		return fmt.Errorf("shard %d: %w", shard, explainJetStream(err))
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
	cons, err := b.js.OrderedConsumer(asking, topology.ConvStream(shard), cfg)
	if err != nil {
		return fmt.Errorf("follow shard %d: %w", shard, explainJetStream(err))
	}
	pending := true
	if cons.CachedInfo().NumPending == 0 || info.State.LastSeq <= after {
		pending = false
		if err := caughtUp(); err != nil {
			return err
		}
	}
	// Stopping does not wait for a callback that runs: this does.
	var running sync.Mutex
	consume, err := cons.Consume(func(msg jetstream.Msg) {
		running.Lock()
		defer running.Unlock()
		if ctx.Err() != nil {
			return
		}
		meta, err := msg.Metadata()
		if err != nil {
			stop(fmt.Errorf("follow shard %d: %w", shard, err))
			return
		}
		if !isOutput(msg.Subject()) {
			var m Message
			m, err = b.message(ctx, msg.Subject(), meta.Sequence.Stream, meta.Timestamp, msg.Data(), !pending)
			if err == nil {
				err = fn(m)
			}
		}
		if err == nil && pending && (meta.NumPending == 0 || meta.Sequence.Stream >= info.State.LastSeq) {
			pending = false
			err = caughtUp()
		}
		if err != nil {
			stop(err)
		}
	}, jetstream.PullMaxMessages(2048), jetstream.PullHeartbeat(followHeartbeat), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
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

// isOutput reports whether a subject is one of tool output: conv.<shard>.<id>.out.<call>.
func isOutput(subject string) bool {
	_, rest, _ := strings.Cut(subject, ".")
	_, rest, _ = strings.Cut(rest, ".")
	_, rest, _ = strings.Cut(rest, ".")
	return strings.HasPrefix(rest, string(events.ChannelOut)+".")
}

// ReadShard gives a shard's messages after a sequence up to the end of the log.
func (b *Bus) ReadShard(ctx context.Context, shard int, after uint64, filters []string, fn func(Message) error) error {
	return b.read(ctx, topology.ConvStream(shard), filters, after+1, func(r raw) error {
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
