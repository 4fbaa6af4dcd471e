package orchestrator

import (
	"time"

	"github.com/parleybus/parley/internal/bus"
)

// An evicted conversation is cached for a moment: the cost of loading it grows with
// its length, and many messages to a turn that waits would load it for each of
// them.
const (
	idleTime     = 2 * time.Second
	maxIdle      = 1_000    // of a shard
	maxIdleBytes = 32 << 20 // of their transcripts, as far as they are more than one
	replyBytes   = 1 << 10  // of an answer to an input, at most
)

// idle is a cached conversation with no work in progress. It has no
// goroutine, and the checkpoint passes it.
type idle struct {
	*conversation
	since time.Time
	bytes int64
}

// keepIdle caches the state of an evicted conversation in a new struct, so
// that goroutines with the old one cannot change it. Deleted conversations
// are not cached, nor what the cache has no room for. s.mu is held.
func (s *shard) keepIdle(c *conversation) {
	bytes := c.state.Transcript.Size() + replyBytes*int64(c.state.Transcript.Replies())
	if len(s.idle) >= maxIdle || len(s.idle) > 0 && s.idleBytes+bytes > maxIdleBytes || c.state.Gone() {
		return
	}
	s.idle[c.id] = idle{&conversation{id: c.id, state: c.state, requestedAt: c.requestedAt}, time.Now(), bytes}
	s.idleBytes += bytes
}

// dropIdle removes a conversation from the cache; s.mu is held.
func (s *shard) dropIdle(id string) {
	s.idleBytes -= s.idle[id].bytes
	delete(s.idle, id)
}

// takeIdle takes a conversation out of the cache, or returns a new one; s.mu
// is held.
func (s *shard) takeIdle(id string) *conversation {
	i, ok := s.idle[id]
	if !ok {
		return &conversation{id: id}
	}
	s.dropIdle(id)
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
		s.dropIdle(m.Conversation) // the next message loads it again
	default:
		i.apply(m)
	}
}

// expire removes conversations from the cache after idleTime; s.mu is held.
func (s *shard) expire(now time.Time) {
	for id, i := range s.idle {
		if now.Sub(i.since) >= idleTime {
			s.dropIdle(id)
		}
	}
}
