package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// RestoreTimers sets the timers of a shard's conversations again when TIMERS was
// made anew since they were set: their last Decisions have the time at which
// something happens by itself. It reads every Decision that HISTORY has of the shard, once for each
// time that TIMERS was lost. A timer that is set twice is harmless.
func (s Shard) RestoreTimers(ctx context.Context) error {
	info, err := s.bus.infoOf(ctx, topology.StreamTimers)
	if err != nil {
		return err
	}
	key, epoch := topology.TimersKey(s.number), epochOf(info)
	r, err := s.bus.kvFromLeader(ctx, topology.BucketCheckpoints, key)
	if err != nil || r != nil && string(r.data) == epoch {
		return err
	}
	waiting, err := s.bus.waitingIn(ctx, s.number)
	if err != nil {
		return err
	}
	for conversation, ms := range waiting {
		if err := s.bus.Timers().Set(ctx, conversation, time.UnixMilli(ms)); err != nil {
			return err
		}
	}
	if len(waiting) > 0 && r != nil { // without a record this is the first check
		s.bus.log.Warn("the timers of a shard were lost and are set again", "shard", s.number, "timers", len(waiting))
	}
	if _, err := s.bus.putEntry(ctx, topology.BucketCheckpoints, key, []byte(epoch)); err != nil {
		return fmt.Errorf("timers of shard %d: %w", s.number, err)
	}
	return nil
}

// waitingIn is when something happens by itself in the conversations of a shard
// that wait, by their last Decisions, in Unix milliseconds.
func (b *Bus) waitingIn(ctx context.Context, shard int) (map[string]int64, error) {
	waiting := map[string]int64{}
	err := b.read(ctx, topology.StreamHistory, topology.HistoryOfChannel(shard, string(events.ChannelTurn)), 1, false, func(r raw) error {
		r, err := original(r)
		if err != nil {
			return err
		}
		m, err := b.message(ctx, r, false)
		if err != nil || m.Bad != nil || len(m.Lines) == 0 {
			return err
		}
		d, ok := m.Lines[0].Event.(*events.Decision)
		if !ok {
			return nil
		}
		if ms := d.State.NextMS(); ms > 0 {
			waiting[m.Conversation] = ms
		} else {
			delete(waiting, m.Conversation)
		}
		return nil
	})
	return waiting, err
}
