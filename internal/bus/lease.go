package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// Lease is the right to own a shard. It is a matter of efficiency only: two
// owners are harmless, the turn lane refuses one of them.
type Lease struct {
	kv  jetstream.KeyValue
	key string
	rev uint64
	val []byte
}

// ErrLeaseLost says that somebody else may own the shard now.
var ErrLeaseLost = errors.New("the shard's lease is lost")

// TakeLease waits until the shard is free and takes it.
func (b *Bus) TakeLease(ctx context.Context, shard int, owner string) (*Lease, error) {
	kv, err := b.js.KeyValue(ctx, topology.BucketLeases)
	if err != nil {
		return nil, fmt.Errorf("leases: %w", explainJetStream(err))
	}
	l := &Lease{kv: kv, key: "shard." + strconv.Itoa(shard), val: []byte(owner)}
	for {
		l.rev, err = kv.Create(ctx, l.key, l.val)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) {
			b.log.Debug("lease cannot be taken, trying again", "shard", shard, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(topology.LeaseTTL / 8):
		}
	}
}

// Keep renews the lease until ctx ends, then gives it back. It returns
// [ErrLeaseLost] when it could not be renewed in time.
func (l *Lease) Keep(ctx context.Context) error {
	tick := time.NewTicker(topology.LeaseTTL / 4)
	defer tick.Stop()
	for renewed := time.Now(); ; {
		select {
		case <-ctx.Done():
			done, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
			defer cancel()
			// One that cannot be given back runs out by itself.
			_ = l.kv.Delete(done, l.key, jetstream.LastRevision(l.rev))
			return context.Cause(ctx)
		case <-tick.C:
		}
		try, cancel := context.WithTimeout(ctx, topology.LeaseTTL/4)
		rev, err := l.kv.Update(try, l.key, l.val, l.rev)
		cancel()
		switch {
		case err == nil:
			l.rev, renewed = rev, time.Now()
		case ctx.Err() != nil:
		case errors.Is(err, jetstream.ErrKeyRevisionMismatch), errors.Is(err, jetstream.ErrKeyExists),
			time.Since(renewed) > topology.LeaseTTL*3/4:
			return fmt.Errorf("%w: %w", ErrLeaseLost, err)
		}
	}
}

// BreakLeases frees all shards: for the one process that holds the embedded
// server and so knows that every owner of before is gone.
func (b *Bus) BreakLeases(ctx context.Context) error {
	kv, err := b.js.KeyValue(ctx, topology.BucketLeases)
	if err != nil {
		return fmt.Errorf("leases: %w", explainJetStream(err))
	}
	for shard := range b.Shards() {
		if err := kv.Purge(ctx, "shard."+strconv.Itoa(shard)); err != nil {
			return fmt.Errorf("free shard %d: %w", shard, err)
		}
	}
	return nil
}

// Checkpoint is the sequence after which a shard's owner begins to read.
func (b *Bus) Checkpoint(ctx context.Context, shard int) (uint64, error) {
	kv, err := b.js.KeyValue(ctx, topology.BucketCheckpoints)
	if err != nil {
		return 0, fmt.Errorf("checkpoints: %w", explainJetStream(err))
	}
	e, err := kv.Get(ctx, "shard."+strconv.Itoa(shard))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("checkpoint of shard %d: %w", shard, err)
	}
	return strconv.ParseUint(string(e.Value()), 10, 64)
}

// SetCheckpoint moves a shard's checkpoint.
func (b *Bus) SetCheckpoint(ctx context.Context, shard int, seq uint64) error {
	kv, err := b.js.KeyValue(ctx, topology.BucketCheckpoints)
	if err != nil {
		return fmt.Errorf("checkpoints: %w", explainJetStream(err))
	}
	if _, err := kv.Put(ctx, "shard."+strconv.Itoa(shard), strconv.AppendUint(nil, seq, 10)); err != nil {
		return fmt.Errorf("checkpoint of shard %d: %w", shard, err)
	}
	return nil
}

// oneLine keeps a text from breaking a header or a log line.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
}
