package bus

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// Roster is a cache of what workers offer. It is kept up to date by Run; a worker that went
// silent drops out after the bucket's time to live, [topology.PresenceTTL]; when
// the roster was empty before, after twice that at most.
type Roster struct {
	bus    *Bus
	ready  chan struct{}
	filled sync.Once

	mu      sync.Mutex
	ttl     time.Duration
	entries map[string]entry
	serving map[string]int // how many workers serve something, by kind and name
	current *Snapshot      // nil when entries changed since
	check   time.Time      // nothing in current expires before it
}

// entry is an offer, or one that was withdrawn, as it was announced last.
type entry struct {
	Offer
	raw   []byte
	at    time.Time
	since uint64 // revision at which the worker announced this first
}

// Snapshot is what is offered at a moment. It is shared: nobody changes it, and
// as long as nothing changes a [Roster] returns the same one.
type Snapshot struct {
	Offers []Offer // sorted by kind and name
	// Announced are the offers and those that their own workers rejected, in the
	// same order, with the revision since which each is unchanged.
	Announced []offer.Dated
	// Withdrawn are the tools that a running worker withdrew, and when
	// that was noticed.
	Withdrawn map[string]time.Time
	kinds     map[string][]Offer
}

// NewRoster returns an empty roster; Run fills it.
func (p Presence) NewRoster() *Roster {
	return &Roster{bus: p.bus, ready: make(chan struct{}), ttl: topology.PresenceTTL, entries: map[string]entry{}, serving: map[string]int{}}
}

// Run follows presence until ctx ends. It may run again after an error.
func (r *Roster) Run(ctx context.Context) error {
	remade := r.bus.Remade(topology.BucketStream(topology.BucketPresence))
	ttl, err := r.bus.ttlOf(ctx, topology.BucketPresence)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.ttl, r.check = ttl, time.Time{}
	r.mu.Unlock()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-remade:
			stop(errors.New("the bucket of presence was made again"))
		case <-ctx.Done():
		}
	}()
	next := uint64(1)
	return r.bus.keepReading(ctx, "presence", &next, func(ctx context.Context) error { return r.follow(ctx, &next) })
}

// follow reads the bucket from a sequence on, first to the end that its leader
// names, which a replica that lags does not know, then as it grows, until ctx
// ends or the consumer is lost or lags.
func (r *Roster) follow(ctx context.Context, next *uint64) error {
	stream := topology.BucketStream(topology.BucketPresence)
	note := func(m raw) error {
		r.note(m)
		*next = m.seq + 1
		return nil
	}
	if err := r.bus.read(ctx, stream, "", *next, false, note); err != nil {
		return err
	}
	r.filled.Do(func() { close(r.ready) })
	p, err := r.bus.newPuller(ctx, stream, "", *next)
	if err != nil {
		return err
	}
	defer p.close()
	for err == nil {
		err = p.batch(ctx, pull{most: pullBatch, expires: pullExpires, heartbeat: readerHeartbeat}, note)
	}
	return err
}

// note records an announcement. Most repeat the one before.
func (r *Roster) note(m raw) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := topology.EntryKey(topology.BucketPresence, m.subject)
	before, known := r.entries[key]
	if known && !removed(m) && bytes.Equal(before.raw, m.data) {
		before.at = time.Now()
		r.entries[key] = before
		return
	}
	o, err := offer.Decode(key, m.data)
	if known {
		r.drop(key)
	}
	if removed(m) || err != nil || o.Withdrawn && r.serving[group(o)] > 0 {
		return
	}
	if o.Serves() {
		r.serving[group(o)]++
	}
	r.entries[key] = entry{o, m.data, time.Now(), m.seq}
	r.current = nil
}

// group names what workers serve together.
func group(o Offer) string { return topology.PresenceKey(o.Kind, o.Name, "") }

// drop removes an entry; r.mu is held.
func (r *Roster) drop(key string) {
	if o := r.entries[key].Offer; o.Serves() {
		if r.serving[group(o)]--; r.serving[group(o)] <= 0 {
			delete(r.serving, group(o))
		}
	}
	delete(r.entries, key)
	r.current = nil
}

// Ready is closed when the roster is complete for the first time.
func (r *Roster) Ready() <-chan struct{} { return r.ready }

// Offers lists what is offered now, by kind ("" for all), sorted by name. The
// list is shared: it must not be changed.
func (r *Roster) Offers(kind string) []Offer {
	s := r.Snapshot()
	if kind == "" {
		return s.Offers
	}
	return s.kinds[kind]
}

// Snapshot is what is offered now. It is made anew only when that has changed.
func (r *Roster) Snapshot() *Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); !now.Before(r.check) {
		r.expire(now)
	}
	if r.current == nil {
		r.current = r.snapshot()
	}
	return r.current
}

// expire drops what was not repeated in time; r.mu is held.
func (r *Roster) expire(now time.Time) {
	r.check = now.Add(r.ttl)
	var expired []string
	for key, e := range r.entries {
		if end := e.at.Add(r.ttl); now.After(end) {
			expired = append(expired, key)
		} else if end.Before(r.check) {
			r.check = end
		}
	}
	for _, key := range expired {
		r.drop(key)
	}
}

func (r *Roster) snapshot() *Snapshot {
	s := &Snapshot{Withdrawn: map[string]time.Time{}, kinds: map[string][]Offer{}}
	for _, key := range slices.Sorted(maps.Keys(r.entries)) {
		e := r.entries[key]
		if !e.Withdrawn {
			s.Announced = append(s.Announced, offer.Dated{Offer: e.Offer, Since: e.since})
		}
		switch {
		case e.Serves():
			s.Offers = append(s.Offers, e.Offer)
			s.kinds[e.Kind] = append(s.kinds[e.Kind], e.Offer)
		case e.Withdrawn && e.Kind == offer.Tool && e.at.After(s.Withdrawn[e.Name]):
			s.Withdrawn[e.Name] = e.at
		}
	}
	return s
}
