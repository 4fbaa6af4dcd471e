package bus

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/topology"
)

// Checkpoint is the sequence after which a shard's owner begins to read.
func (s Shard) Checkpoint(ctx context.Context) (uint64, error) {
	seq, _, err := s.checkpoint(ctx)
	return seq, err
}

// checkpoint returns the checkpoint, and what its owner had read then.
func (s Shard) checkpoint(ctx context.Context) (seq uint64, read mark, err error) {
	r, err := s.bus.kvFromLeader(ctx, topology.BucketCheckpoints, topology.ShardKey(s.number))
	if err == nil && r != nil {
		read = parseMark(r.header.Get(topology.HeaderRead))
		seq, err = strconv.ParseUint(string(r.data), 10, 64)
	}
	if err != nil {
		return 0, mark{}, fmt.Errorf("checkpoint of shard %d: %w", s.number, err)
	}
	return seq, read, nil
}

// SetCheckpoint moves a shard's checkpoint. With it goes the last message that this
// process has read while it follows the shard.
func (s Shard) SetCheckpoint(ctx context.Context, seq uint64) error {
	return s.setCheckpoint(ctx, seq, s.bus.markOf(s.number))
}

func (s Shard) setCheckpoint(ctx context.Context, seq uint64, read mark) error {
	m := nats.NewMsg(topology.EntrySubject(topology.BucketCheckpoints, topology.ShardKey(s.number)))
	m.Data = strconv.AppendUint(nil, seq, 10)
	if read.seq > 0 {
		m.Header.Set(topology.HeaderRead, read.String())
	}
	if _, err := s.bus.publishEntry(ctx, m); err != nil {
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
