package bus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/topology"
)

const (
	// hubQueue is how many live messages wait for a hub. Beyond it they are dropped, and
	// the hub reads the log.
	hubQueue = 512
	// hubWindow messages with hubBytes of payloads, at most, are kept for viewers that
	// are slower than others.
	hubWindow = 1024
	hubBytes  = 4 << 20
	// hubTrim is how many messages may be kept that every viewer has taken.
	hubTrim = 16
	// attachSilence is the time without a message after which the log is queried
	// for a lost one: a lost last message leaves no gap.
	attachSilence = 15 * time.Second
	// attachQuiet is the time without a message after which the next one may have
	// overtaken another one: a leader that dies between storing a message and
	// republishing it is replaced after that at the earliest.
	attachQuiet = time.Second
)

// hub is what the viewers of a conversation share in one process: one subscription, one
// decode of each message, and one reading of the log where live messages were lost. It
// lives as long as it has viewers, and keeps a window of what came last. A viewer that is
// slower than the window reads the log; it slows neither the hub nor others.
type hub struct {
	key  hubKey
	stop context.CancelFunc
	done chan struct{} // it has ended

	mu      sync.RWMutex
	window  []*Message // elements are never replaced: viewers take parts of it
	first   uint64     // the number of window[0]
	bytes   int        // of payloads in window
	trimAt  int        // messages
	changed chan struct{}
	ended   bool
	seats   map[*seat]bool
}

// hubKey is a conversation in one log.
type hubKey struct{ conversation, epoch string }

// seat is the place of a viewer: the number of the message that it takes next.
type seat struct{ next atomic.Uint64 }

// hubs are those of a connection. The zero value is ready.
type hubs struct {
	mu  sync.Mutex
	all map[hubKey]*hub
}

// join gives a viewer a seat behind what its conversation's hub has. What the log holds
// when it is read after this, and what the hub gets after this, is all there is. end is a
// sequence up to which the log was there before the call.
func (b *Bus) join(key hubKey, shard int, end uint64) (*hub, *seat, error) {
	b.hubs.mu.Lock()
	defer b.hubs.mu.Unlock()
	h := b.hubs.all[key]
	if h == nil {
		live := make(chan *nats.Msg, hubQueue)
		sub, err := b.nc.ChanSubscribe(topology.Everything(topology.Live, b.Shards(), key.conversation), live)
		if err != nil {
			return nil, nil, fmt.Errorf("subscribe to conversation %s: %w", key.conversation, err)
		}
		ctx, stop := context.WithCancel(context.Background())
		h = &hub{key: key, stop: stop, done: make(chan struct{}), changed: make(chan struct{}), trimAt: hubTrim, seats: map[*seat]bool{}}
		v := viewer{bus: b, conversation: key.conversation, shard: shard, epoch: key.epoch, high: end, seen: positions{floor: end},
			yield: func(m Message, _ error) bool { h.add(&m); return true }}
		go func() {
			defer close(h.done)
			err := v.follow(ctx, sub, live)
			b.log.Debug("a hub has ended", "conversation", key.conversation, "error", err)
			_ = sub.Unsubscribe() // fails only when the connection is closed
			b.hubs.mu.Lock()
			b.hubs.forget(h)
			b.hubs.mu.Unlock()
			h.end()
		}()
		if b.hubs.all == nil {
			b.hubs.all = map[hubKey]*hub{}
		}
		b.hubs.all[key] = h
	}
	return h, h.sit(), nil
}

// leave gives a seat up. The last one ends the hub.
func (b *Bus) leave(h *hub, s *seat) {
	b.hubs.mu.Lock()
	h.mu.Lock()
	delete(h.seats, s)
	last := len(h.seats) == 0
	h.mu.Unlock()
	if last {
		b.hubs.forget(h)
	}
	b.hubs.mu.Unlock()
	if last {
		h.stop()
		<-h.done
	}
}

// forget has the next viewer of the conversation start another hub; all.mu is held.
func (all *hubs) forget(h *hub) {
	if all.all[h.key] == h {
		delete(all.all, h.key)
	}
}

// sit adds a seat behind the last message.
func (h *hub) sit() *seat {
	s := new(seat)
	h.mu.Lock()
	defer h.mu.Unlock()
	s.next.Store(h.first + uint64(len(h.window)))
	h.seats[s] = true
	return s
}

// end tells the viewers that nothing more comes from this hub.
func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	close(h.changed)
}

// add adds a message for all viewers.
func (h *hub) add(m *Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.window, h.bytes = append(h.window, m), h.bytes+len(m.Data)
	if len(h.window) > h.trimAt || h.bytes > hubBytes {
		h.trim()
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

// trim drops what every viewer has taken, and what the window does not hold; h.mu is held.
func (h *hub) trim() {
	taken := h.first + uint64(len(h.window))
	for s := range h.seats {
		taken = min(taken, s.next.Load())
	}
	for h.first < taken || len(h.window) > hubWindow || h.bytes > hubBytes && len(h.window) > 1 {
		h.bytes -= len(h.window[0].Data)
		h.window, h.first = h.window[1:], h.first+1
	}
	h.window = append(make([]*Message, 0, len(h.window)+hubTrim), h.window...) // the rest is free
	h.trimAt = min(2*len(h.window), hubWindow) + hubTrim
}

// take returns what a seat has not taken yet, and what is closed when there is more. It is
// false when the seat has fallen behind the window, or the hub has ended.
func (h *hub) take(s *seat) (some []*Message, changed <-chan struct{}, ok bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	next := s.next.Load()
	if next < h.first {
		return nil, nil, false
	}
	some = h.window[next-h.first:]
	s.next.Store(next + uint64(len(some)))
	return some, h.changed, len(some) > 0 || !h.ended
}

// follow passes on what comes live, and what was lost of it, from the log, until ctx ends.
func (v *viewer) follow(ctx context.Context, sub *nats.Subscription, live <-chan *nats.Msg) (err error) {
	reconnected := v.bus.nc.StatusChanged(nats.CONNECTED)
	defer v.bus.nc.RemoveStatusListener(reconnected)
	silence := time.NewTimer(attachSilence)
	defer silence.Stop()
	heard := time.Now()
	for lost := v.losses(sub); err == nil; silence.Reset(attachSilence) {
		var msg *nats.Msg
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-reconnected:
		case <-silence.C:
		case msg = <-live:
		}
		// What was lost was lost before msg: read the log first, or msg would
		// overtake it.
		if now := v.losses(sub); now != lost || msg == nil {
			lost = now
			err = v.heal(ctx)
		} else if time.Since(heard) > attachQuiet {
			err = v.overtaken(ctx, msg)
		}
		if heard = time.Now(); err == nil && msg != nil {
			err = v.live(ctx, msg)
		}
	}
	return err
}

// overtaken reads the log when it holds a message before this one that was not yielded.
func (v *viewer) overtaken(ctx context.Context, msg *nats.Msg) error {
	m, _, ok := republished(msg)
	if !ok || m.seq <= v.high+1 {
		return nil
	}
	r, err := v.next(ctx)
	if err != nil || r == nil || r.seq >= m.seq {
		return ctx.Err() // without an answer, the gap is found later, or after the silence
	}
	return v.replay(ctx)
}
