package bus

import (
	"context"
	"fmt"
	"strconv"

	"github.com/parleybus/parley/internal/topology"
)

// Checkpoint is the sequence after which a shard's owner begins to read.
func (b *Bus) Checkpoint(ctx context.Context, shard int) (uint64, error) {
	r, err := b.kvFromLeader(ctx, topology.BucketCheckpoints, topology.ShardKey(shard))
	if err != nil {
		return 0, fmt.Errorf("checkpoint of shard %d: %w", shard, err)
	}
	if r == nil {
		return 0, nil
	}
	seq, err := strconv.ParseUint(string(r.data), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("checkpoint of shard %d: %w", shard, err)
	}
	return seq, nil
}

// SetCheckpoint moves a shard's checkpoint.
func (b *Bus) SetCheckpoint(ctx context.Context, shard int, seq uint64) error {
	kv, err := b.js.KeyValue(ctx, topology.BucketCheckpoints)
	if err != nil {
		return fmt.Errorf("checkpoints: %w", explainJetStream(err))
	}
	if _, err := kv.Put(ctx, topology.ShardKey(shard), strconv.AppendUint(nil, seq, 10)); err != nil {
		return fmt.Errorf("checkpoint of shard %d: %w", shard, err)
	}
	return nil
}

// StaleCheckpoint reports whether a shard's checkpoint is past the end of its log;
// with repair the log is repaired as its next owner would do, see [Bus.Restore].
func (b *Bus) StaleCheckpoint(ctx context.Context, shard int, end uint64, repair bool) (bool, error) {
	at, err := b.Checkpoint(ctx, shard)
	if err != nil || at <= end {
		return false, err
	}
	if repair {
		_, err = b.Restore(ctx, shard)
	}
	return true, err
}
