package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// gap is what a shard's log has lost at its end: up to UpTo, HISTORY counts and not
// CONV.
type gap struct {
	UpTo  uint64    `json:"up_to"`
	Since time.Time `json:"since"` // messages of CONV up to UpTo that were stored later are new
}

// fillMost is how many messages a log is brought forward by, one by one. For more,
// CONV is purged and HISTORY counts.
const fillMost = 200_000

// Restore finds out whether a shard's log has lost its end (power failed between
// two syncs, or an older copy of the volume is used), and repairs what can be
// repaired. It returns the sequence after which the shard's owner begins to read.
//
// The log has lost its end when HISTORY or the checkpoint knows a later sequence, or
// when it has other messages than they know: then it has grown past what it lost, see
// [Shard.grown]. New messages got, or would get, sequences that were used before:
// HISTORY does not copy them, readers skip them, and cursors are wrong. So the log is
// brought forward past everything that is known, its cursors get another epoch,
// and what was written meanwhile is published again. Facts that HISTORY has count;
// what was streamed and not copied is lost, and so is what neither has.
func (s Shard) Restore(ctx context.Context) (after uint64, err error) {
	after, read, err := s.checkpoint(ctx)
	if err != nil {
		return 0, err
	}
	copied, err := s.bus.lastFromLeader(ctx, topology.StreamHistory, topology.HistoryOf(s.number))
	if err != nil {
		return 0, err
	}
	// CONV after HISTORY: others write and the server copies meanwhile, so in the
	// other order HISTORY would seem to know more than CONV.
	info, err := s.bus.infoOf(ctx, topology.ConvStream(s.number))
	if err != nil {
		return 0, err
	}
	g, err := s.bus.gapOf(ctx, s.number)
	if err != nil {
		return 0, err
	}
	found, fact, err := s.lost(ctx, after, read, copied, info, g)
	if err != nil {
		return 0, err
	}
	if found != nil {
		if g = found; after > fact {
			after = 0 // conversations that had ended may be active again
		}
		s.bus.log.Error("the log of a shard has lost its end: what HISTORY has counts, what was streamed since is lost. Was an older copy of the volume restored, or did the power fail? (--sync always loses nothing)",
			"shard", s.number, "ends_at", info.State.LastSeq, "known", found.UpTo, "history_has", fact, "checkpoint", after)
		// The checkpoint first: an owner that dies here has to find the gap again.
		if err := s.setCheckpoint(ctx, after, mark{}); err != nil {
			return 0, err
		}
		if err := s.bus.setGap(ctx, s.number, *g); err != nil {
			return 0, err
		}
		s.bus.newEpoch(ctx, info.Config)
		s.bus.marks.Delete(s.number)
	}
	if g == nil {
		return after, nil
	}
	s.bus.gaps.Store(s.number, g.UpTo)
	if found == nil && after > g.UpTo && info.State.LastSeq > g.UpTo {
		return after, nil // repaired before
	}
	if err := s.bus.forward(ctx, s.number, *g); err != nil {
		return 0, err
	}
	if err := s.bus.republish(ctx, s.number, *g); err != nil {
		return 0, err
	}
	return after, s.setCheckpoint(ctx, after, mark{})
}

// forward brings a log to the end of a gap.
func (b *Bus) forward(ctx context.Context, shard int, g gap) error {
	info, err := b.infoOf(ctx, topology.ConvStream(shard))
	if err != nil || info.State.LastSeq >= g.UpTo {
		return err
	}
	if g.UpTo-info.State.LastSeq > fillMost {
		s, err := b.stream(ctx, topology.ConvStream(shard))
		if err == nil {
			err = s.Purge(ctx, jetstream.WithPurgeSequence(g.UpTo+1))
		}
		if err != nil {
			return fmt.Errorf("bring shard %d forward to %d: %w", shard, g.UpTo, explainJetStream(err))
		}
		return nil
	}
	for at := info.State.LastSeq; at < g.UpTo; {
		ack, err := b.js.Publish(ctx, topology.Probe(shard), nil)
		if err != nil {
			return fmt.Errorf("bring shard %d forward to %d: %w", shard, g.UpTo, explainWrite(err))
		}
		at = ack.Sequence
	}
	return nil
}

// newEpoch gives the cursors of a stream another epoch, where this user may change
// streams. With the permissions of a role alone they keep theirs, and a cursor of
// the end that is lost is taken for one of this log.
func (b *Bus) newEpoch(ctx context.Context, cfg jetstream.StreamConfig) {
	metadata := map[string]string{}
	for key, value := range cfg.Metadata {
		metadata[key] = value
	}
	metadata[topology.MetadataEpoch] = strconv.FormatInt(time.Now().UnixMilli(), 36)
	cfg.Metadata = metadata
	ctx, cancel := answer(ctx)
	defer cancel()
	if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
		b.log.Warn("the cursors of a log that has lost its end keep their epoch", "stream", cfg.Name, "error", err)
	}
}

func (b *Bus) gapOf(ctx context.Context, shard int) (*gap, error) {
	r, err := b.kvFromLeader(ctx, topology.BucketCheckpoints, topology.GapKey(shard))
	if err != nil || r == nil {
		return nil, err
	}
	var g gap
	if err := json.Unmarshal(r.data, &g); err != nil {
		return nil, fmt.Errorf("gap of shard %d: %w", shard, err)
	}
	return &g, nil
}

func (b *Bus) setGap(ctx context.Context, shard int, g gap) error {
	raw, err := json.Marshal(g)
	if err == nil {
		_, err = b.putEntry(ctx, topology.BucketCheckpoints, topology.GapKey(shard), raw)
	}
	if err != nil {
		return fmt.Errorf("gap of shard %d: %w", shard, err)
	}
	return nil
}

// GapEnd is the end of what the shard's log has lost; 0 when it has lost nothing that this
// process knows. Up to there its log does not count.
func (s Shard) GapEnd() uint64 { return s.bus.gapEnd(s.number) }

// gapEnd is the end of a shard's gap; 0 when it has none that [Shard.Restore] of
// this process has found.
func (b *Bus) gapEnd(shard int) uint64 {
	if at, ok := b.gaps.Load(shard); ok {
		return at.(uint64)
	}
	return 0
}
