package bus

import (
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
	Low     bool             `json:"low,omitempty"` // tool: the worker also takes the calls that can wait
}

func (o Offer) key() string { return topology.PresenceKey(o.Kind, o.Name, o.Worker) }

// Announce says what a worker offers, once before it returns.
func (b *Bus) Announce(ctx context.Context, offers []Offer) error {
	_, err := b.NewPresence().Set(ctx, offers)
	return err
}

// StayPresent repeats an announcement until ctx ends, then takes it back.
func (b *Bus) StayPresent(ctx context.Context, offers []Offer) error {
	p := b.NewPresence()
	defer p.Leave(ctx)
	tick := time.NewTicker(p.Beat(ctx))
	defer tick.Stop()
	for {
		again := b.Reconnected()
		if _, err := p.Set(ctx, offers); err != nil && ctx.Err() == nil {
			b.log.Warn("cannot announce, trying again", "error", err)
		}
		select {
		case <-tick.C:
		case <-again:
		case <-ctx.Done():
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

// Offers lists what is offered now, for a caller without a roster.
func (b *Bus) Offers(ctx context.Context) ([]Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	kv, err := b.js.KeyValue(ctx, topology.BucketPresence)
	if err != nil {
		return nil, fmt.Errorf("presence: %w", explainJetStream(err))
	}
	entries, err := b.standing(ctx, kv, ">")
	if err != nil {
		return nil, err
	}
	var all []Offer
	for _, e := range entries {
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
