package orchestrator

import (
	"time"

	"github.com/parleybus/parley/internal/bus"
)

// An evicted conversation is cached for a moment: the cost of loading it grows with
// its length, and many messages to a turn that waits would load it for each of
// them.
const (
	idleTime = 2 * time.Second
	maxIdle  = 1_000 // of a shard
)

// idle is a cached conversation with no work in progress. It has no
// goroutine, and the checkpoint passes it.
type idle struct {
	*conversation
	since time.Time
}

// keepIdle caches the state of an evicted conversation in a new struct, so
// that goroutines with the old one cannot change it. Deleted conversations
// are not cached. s.mu is held.
func (s *shard) keepIdle(c *conversation) {
	if len(s.idle) < maxIdle && !c.state.Gone() {
		s.idle[c.id] = idle{&conversation{id: c.id, state: c.state, requestedAt: c.requestedAt}, time.Now()}
	}
}

// takeIdle takes a conversation out of the cache, or returns a new one; s.mu
// is held.
func (s *shard) takeIdle(id string) *conversation {
	i, ok := s.idle[id]
	if !ok {
		return &conversation{id: id}
	}
	delete(s.idle, id)
	return i.conversation
}

// applyLate applies a late message to a cached conversation, so that the
// next decision knows, for example, that a worker started a call. s.mu is
// held.
func (s *shard) applyLate(m bus.Message) {
	i, ok := s.idle[m.Conversation]
	switch {
	case !ok:
	case m.Claim() != nil:
		delete(s.idle, m.Conversation) // the next message loads it again
	default:
		i.apply(m)
	}
}

// expire removes conversations from the cache after idleTime; s.mu is held.
func (s *shard) expire(now time.Time) {
	for id, i := range s.idle {
		if now.Sub(i.since) >= idleTime {
			delete(s.idle, id)
		}
	}
}
