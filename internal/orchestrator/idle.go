package orchestrator

import (
	"time"

	"github.com/parleybus/parley/internal/bus"
)

// A conversation that was evicted is kept for a moment: to read it again costs by
// its length, and who writes many messages to a turn that waits would have all of
// it read for each.
const (
	idleTime = 2 * time.Second
	maxIdle  = 1_000 // of a shard
)

// idle is a conversation in which nothing is under way. It has no goroutine, and
// the checkpoint passes it.
type idle struct {
	*conversation
	since time.Time
}

// keepIdle keeps the state of a conversation that was evicted; s.mu is held. It is
// another conversation from here on: who knows the old one has no part in it.
// Nothing is kept of one that was deleted.
func (s *shard) keepIdle(c *conversation) {
	if len(s.idle) < maxIdle && !c.state.Gone() {
		s.idle[c.id] = idle{&conversation{id: c.id, state: c.state, requestedAt: c.requestedAt}, time.Now()}
	}
}

// takeIdle takes a conversation back, or begins one; s.mu is held.
func (s *shard) takeIdle(id string) *conversation {
	i, ok := s.idle[id]
	if !ok {
		return &conversation{id: id}
	}
	delete(s.idle, id)
	return i.conversation
}

// applyLate folds in what comes late in a conversation in which nothing is under
// way: that a worker began a call is known to the next decision. s.mu is held.
func (s *shard) applyLate(m bus.Message) {
	i, ok := s.idle[m.Conversation]
	switch {
	case !ok:
	case m.Claim() != nil:
		delete(s.idle, m.Conversation) // it is read again with the next message
	default:
		i.apply(m)
	}
}

// expire drops the conversations that have been idle for long enough; s.mu is
// held.
func (s *shard) expire(now time.Time) {
	for id, i := range s.idle {
		if now.Sub(i.since) >= idleTime {
			delete(s.idle, id)
		}
	}
}
