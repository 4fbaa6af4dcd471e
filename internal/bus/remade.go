package bus

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// remade knows which streams were deleted and made again while this process ran.
// The sequences of such a stream start anew: a follower would wait for a sequence
// that does not come.
type remade struct {
	mu      sync.Mutex
	created map[string]time.Time
	waiting map[string]chan struct{}
}

// Remade returns a channel that is closed when a [Keeper] of this Bus finds that
// the stream is gone or was made again.
func (b *Bus) Remade(stream string) <-chan struct{} {
	b.remade.mu.Lock()
	defer b.remade.mu.Unlock()
	c, ok := b.remade.waiting[stream]
	if !ok {
		if b.remade.waiting == nil {
			b.remade.waiting = map[string]chan struct{}{}
		}
		c = make(chan struct{})
		b.remade.waiting[stream] = c
	}
	return c
}

// saw records that a stream exists, and evicts what this process keeps of an
// earlier one of its name.
func (b *Bus) saw(s *jetstream.StreamInfo) {
	name := s.Config.Name
	b.remade.mu.Lock()
	before, known := b.remade.created[name]
	b.remade.mu.Unlock()
	if known && !before.Equal(s.Created) {
		b.evict(name)
	}
	b.remade.mu.Lock()
	defer b.remade.mu.Unlock()
	if b.remade.created == nil {
		b.remade.created = map[string]time.Time{}
	}
	b.remade.created[name] = s.Created
}

// evict drops what this process keeps in memory of a stream that is gone or was
// made again.
func (b *Bus) evict(stream string) {
	b.streams.Delete(stream)
	if stream == topology.StreamJobs {
		b.queues.Clear()
	}
	b.remade.mu.Lock()
	defer b.remade.mu.Unlock()
	delete(b.remade.created, stream) // the next stream of the name is known as soon as it is seen
	if c, ok := b.remade.waiting[stream]; ok {
		close(c)
		delete(b.remade.waiting, stream)
	}
}
