package bus

import (
	"context"
	"fmt"
	"strconv"

	"github.com/parleybus/parley/internal/topology"
)

// Checkpoint is the sequence after which a shard's owner begins to read.
func (s Shard) Checkpoint(ctx context.Context) (uint64, error) {
	r, err := s.bus.kvFromLeader(ctx, topology.BucketCheckpoints, topology.ShardKey(s.number))
	if err != nil {
		return 0, fmt.Errorf("checkpoint of shard %d: %w", s.number, err)
	}
	if r == nil {
		return 0, nil
	}
	seq, err := strconv.ParseUint(string(r.data), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("checkpoint of shard %d: %w", s.number, err)
	}
	return seq, nil
}

// SetCheckpoint moves a shard's checkpoint.
func (s Shard) SetCheckpoint(ctx context.Context, seq uint64) error {
	if _, err := s.bus.putEntry(ctx, topology.BucketCheckpoints, topology.ShardKey(s.number), strconv.AppendUint(nil, seq, 10)); err != nil {
		return fmt.Errorf("checkpoint of shard %d: %w", s.number, err)
	}
	return nil
}

// StaleCheckpoint reports whether a shard's checkpoint is past the end of its log;
// with repair the log is repaired as its next owner would do, see [Shard.Restore].
func (s Shard) StaleCheckpoint(ctx context.Context, repair bool) (bool, error) {
	at, err := s.Checkpoint(ctx)
	if err != nil {
		return false, err
	}
	end, err := s.bus.endOf(ctx, topology.ConvStream(s.number)) // afterwards: it grows
	if err != nil || at <= end {
		return false, err
	}
	if repair {
		_, err = s.Restore(ctx)
	}
	return true, err
}
