package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Offer is what a worker serves: a route of models or a tool.
type Offer struct {
	Kind    string           `json:"kind"` // "llm" or "tool"
	Name    string           `json:"name"` // route or tool
	Worker  string           `json:"worker"`
	Model   string           `json:"model,omitempty"`   // llm: full name of the route's default model
	Default bool             `json:"default,omitempty"` // llm: the one to ask when nobody names a model
	Tool    *events.ToolSpec `json:"tool,omitempty"`
}

func (o Offer) key() string { return topology.PresenceKey(o.Kind, o.Name, o.Worker) }

// Announce says what a worker offers, once before it returns.
func (b *Bus) Announce(ctx context.Context, offers []Offer) error {
	kv, err := b.js.KeyValue(ctx, topology.BucketPresence)
	if err != nil {
		return fmt.Errorf("presence: %w", explainJetStream(err))
	}
	for _, o := range offers {
		if err := cmp.Or(topology.CheckToken("kind", o.Kind), topology.CheckToken(o.Kind, o.Name), topology.CheckToken("worker", o.Worker)); err != nil {
			return err
		}
		raw, err := json.Marshal(o)
		if err != nil {
			return err
		}
		if _, err := kv.Put(ctx, o.key(), raw); err != nil {
			return fmt.Errorf("announce %s: %w", o.key(), err)
		}
	}
	return nil
}

// StayPresent repeats an announcement until ctx ends, then takes it back.
func (b *Bus) StayPresent(ctx context.Context, offers []Offer) error {
	ttl := topology.PresenceTTL
	if kv, err := b.js.KeyValue(ctx, topology.BucketPresence); err == nil {
		if said, err := ttlOf(ctx, kv); err == nil {
			ttl = said // else the server is away, and the usual time will do
		}
	}
	tick := time.NewTicker(ttl / 4)
	defer tick.Stop()
	for {
		if err := b.Announce(ctx, offers); err != nil && ctx.Err() == nil {
			b.log.Warn("cannot announce, trying again", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			done, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
			defer cancel()
			if kv, err := b.js.KeyValue(done, topology.BucketPresence); err == nil {
				for _, o := range offers {
					_ = kv.Delete(done, o.key()) // runs out by itself otherwise
				}
			}
			return context.Cause(ctx)
		}
	}
}

// Roster knows who is there. It is kept up to date by Run; a worker that went
// silent drops out after the bucket's time to live, [topology.PresenceTTL]; when
// the roster was empty before, after twice that at most.
type Roster struct {
	bus    *Bus
	ready  chan struct{}
	filled sync.Once

	mu     sync.Mutex
	ttl    time.Duration
	offers map[string]seen
}

type seen struct {
	Offer
	at time.Time
}

// NewRoster returns an empty roster; Run fills it.
func (b *Bus) NewRoster() *Roster {
	return &Roster{bus: b, ready: make(chan struct{}), ttl: topology.PresenceTTL, offers: map[string]seen{}}
}

// Run follows presence until ctx ends. It may run again after an error.
func (r *Roster) Run(ctx context.Context) error {
	kv, err := r.bus.js.KeyValue(ctx, topology.BucketPresence)
	if err != nil {
		return fmt.Errorf("presence: %w", explainJetStream(err))
	}
	ttl, err := ttlOf(ctx, kv)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.ttl = ttl
	r.mu.Unlock()
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch presence: %w", explainJetStream(err))
	}
	defer func() { _ = w.Stop() }() // it is gone with the connection otherwise
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch on presence ended")
			}
			if e == nil { // everything that stood at the start has been given
				r.filled.Do(func() { close(r.ready) })
				continue
			}
			r.note(e)
		}
	}
}

func (r *Roster) note(e jetstream.KeyValueEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var o Offer
	if e.Operation() != jetstream.KeyValuePut || json.Unmarshal(e.Value(), &o) != nil {
		delete(r.offers, e.Key())
		return
	}
	r.offers[e.Key()] = seen{o, time.Now()}
}

// Ready is closed when the roster is complete for the first time.
func (r *Roster) Ready() <-chan struct{} { return r.ready }

// Offers lists what is offered now, by kind ("" for all), sorted by name.
func (r *Roster) Offers(kind string) []Offer {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Offer
	for key, s := range r.offers {
		if time.Since(s.at) > r.ttl {
			delete(r.offers, key)
		} else if kind == "" || s.Kind == kind {
			all = append(all, s.Offer)
		}
	}
	sortOffers(all)
	return all
}

// Offers lists what is offered now, for a caller without a roster. Each key is
// read by itself: a watch may take a key that is renewed meanwhile for the last
// one there is.
func (b *Bus) Offers(ctx context.Context) ([]Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	kv, err := b.js.KeyValue(ctx, topology.BucketPresence)
	if err != nil {
		return nil, fmt.Errorf("presence: %w", explainJetStream(err))
	}
	s, err := b.stream(ctx, "KV_"+topology.BucketPresence)
	if err != nil {
		return nil, err
	}
	prefix := "$KV." + topology.BucketPresence + "."
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return nil, fmt.Errorf("presence: %w", explainJetStream(err))
	}
	var all []Offer
	for subject := range info.State.Subjects {
		e, err := kv.Get(ctx, strings.TrimPrefix(subject, prefix))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // it left in between
		}
		if err != nil {
			return nil, fmt.Errorf("presence: %w", explainJetStream(err))
		}
		var o Offer
		if json.Unmarshal(e.Value(), &o) == nil { // a stranger's key is not an offer
			all = append(all, o)
		}
	}
	sortOffers(all)
	return all, nil
}

// Full reports whether the server has no space left: then nobody can even say
// that they are there. It is nil also when that cannot be found out.
func (b *Bus) Full(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	kv, err := b.js.KeyValue(ctx, topology.BucketPresence)
	if err == nil {
		_, err = kv.Put(ctx, "probe", nil)
	}
	if isFull(err) {
		return explainJetStream(err)
	}
	return nil
}

func sortOffers(all []Offer) {
	slices.SortFunc(all, func(a, b Offer) int { return strings.Compare(a.key(), b.key()) })
}
