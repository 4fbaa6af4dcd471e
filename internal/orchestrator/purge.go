package orchestrator

import (
	"context"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
)

// purging is the number of conversations of a shard that are purged at once.
const purging = 4

// Backoff of a purge that failed.
const (
	minPurgeBackoff = 500 * time.Millisecond
	maxPurgeBackoff = 30 * time.Second
)

// revisits are the times after which a deleted conversation is purged again:
// a worker that missed the deletion may write after it.
func revisits() []time.Duration {
	return []time.Duration{5 * time.Second, time.Minute, 15 * time.Minute}
}

// deletion is the purge of a conversation; the shard's lock guards it.
type deletion struct {
	running bool
	again   bool   // a message arrived while it ran
	upTo    uint64 // the Decision up to which this owner has purged; 0 when it has not
	receipt *events.ConversationDeleted
}

// repurge is a deleted conversation that is purged again later.
type repurge struct {
	id   string
	next time.Time
	left []time.Duration // after that
}

// purge starts to purge a deleted conversation, except for its last
// Decision, in a goroutine of its own: a purge waits for HISTORY, and one
// that fails is retried. A second owner repeats it from the beginning; what
// is already purged costs nothing. The conversation's goroutine calls it
// when there is nothing more to decide, so that late messages are purged
// too.
func (s *shard) purge(ctx context.Context, c *conversation) {
	if !c.state.Gone() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.deletion.running {
		c.deletion.again = true
		return
	}
	c.deletion.running = true
	keep, last := c.state.TurnLane, c.state.Phase == events.PhaseDeleted
	s.work.Go(func() {
		if receipt := s.purgeUntilDone(ctx, c.id, keep); receipt != nil {
			s.purgedUpTo(ctx, c, keep, last, receipt)
		}
	})
}

// purgeUntilDone returns nil when ctx has ended.
func (s *shard) purgeUntilDone(ctx context.Context, id string, keep uint64) *events.ConversationDeleted {
	select {
	case s.purging <- struct{}{}:
		defer func() { <-s.purging }()
	case <-ctx.Done():
		return nil
	}
	for wait := minPurgeBackoff; ; wait = min(2*wait, maxPurgeBackoff) {
		receipt, err := s.o.Bus.Conversation(id).Purge(ctx, keep)
		if err == nil {
			fault.Point(fault.PurgeDone)
			return receipt
		}
		if ctx.Err() == nil {
			s.o.Log.Warn("a deleted conversation is not purged yet, retrying", "conversation", id, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// purgedUpTo records a completed purge. The first one leads to a Decision;
// the ones after that Decision end with the eviction of the conversation.
func (s *shard) purgedUpTo(ctx context.Context, c *conversation, keep uint64, last bool, receipt *events.ConversationDeleted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := c.deletion.again
	c.deletion.running, c.deletion.again = false, false
	if !s.holds(c) {
		return
	}
	switch {
	case !last:
		c.deletion.receipt = receipt
		c.resume = true
		s.wake(ctx, c)
		return
	case again:
		c.resume = true
		s.wake(ctx, c)
	}
	c.deletion.upTo = keep
	if _, there := s.repurges[c.id]; !there {
		later := revisits()
		s.repurges[c.id] = repurge{c.id, time.Now().Add(later[0]), later[1:]}
	}
	if !c.busy {
		s.evictIfIdle(c)
	}
}

// receiptOf returns the receipt of a conversation's purge; nil until it is
// complete.
func (s *shard) receiptOf(c *conversation) *events.ConversationDeleted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.deletion.receipt
}

// unpurged reports whether the purge after the last Decision of a deleted
// conversation is incomplete; the shard's lock is held.
func (c *conversation) unpurged() bool {
	return c.state.Phase == events.PhaseDeleted && (c.deletion.running || c.deletion.upTo < c.state.TurnLane)
}

// revisit purges deleted conversations again that are due; s.mu is held.
func (s *shard) revisit(ctx context.Context, now time.Time) {
	for id, g := range s.repurges {
		if now.Before(g.next) {
			continue
		}
		if len(g.left) == 0 {
			delete(s.repurges, id)
		} else {
			s.repurges[id] = repurge{id, now.Add(g.left[0]), g.left[1:]}
		}
		c := s.conversations[id]
		if c == nil {
			c = s.track(id, s.read+1)
		}
		c.resume = true
		s.wake(ctx, c)
	}
}
