package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// TakenError reports that a worker must not serve a tool, because another tool of
// that name is served or known. Calls of the one must not go to the other.
type TakenError struct{ offer.Conflict }

// Unserved reports whether an error of [Announcement.Set] is about single tools
// that must not be served: the others are.
func Unserved(err error) bool {
	_, taken := errors.AsType[*TakenError](err)
	return taken || errors.Is(err, offer.ErrTooLong) || Denied(err)
}

// Announcement says what a worker offers, for as long as it is there. It is
// used by one goroutine.
type Announcement struct {
	bus *Bus
	// beat is how often one of the entries is repeated, and refresh how often all are;
	// 0 until the bucket's lifetime is known.
	beat, refresh time.Duration
	once          bool   // nothing is repeated, and the entries do not say so
	beating       *Offer // the entry that is repeated with each beat; nil for none

	announced map[string]Offer // by key
	rejected  map[string]bool  // keys of tools that this worker does not serve, and says so
	// refused are the errors of the keys that this user may not write. They are
	// tried again after a reconnect: the server would report each try.
	refused     map[string]error
	reconnected <-chan struct{}
}

// NewAnnouncement returns the announcement of a worker that offers nothing yet.
func (p Presence) NewAnnouncement() *Announcement {
	return &Announcement{bus: p.bus, announced: map[string]Offer{}, rejected: map[string]bool{}, refused: map[string]error{}, reconnected: p.bus.Reconnected()}
}

// Set says what is offered from now on, also to say it again when [Announcement.Wait]
// returns, and returns what is announced. The errors are of those offers
// that do not; a [TakenError] passes when the other worker has stopped, or when
// the known tool is forgotten. A tool that
// is missing from offers is withdrawn: calls of it are refused from then on,
// unless another worker serves it. A worker that ends calls [Announcement.Leave]
// instead: calls of its tools wait for the next one that serves them.
func (p *Announcement) Set(ctx context.Context, offers []Offer) ([]Offer, error) {
	select {
	case <-p.reconnected: // the server may have other permissions now
		p.reconnected, p.refused = p.bus.Reconnected(), map[string]error{}
	default:
	}
	p.schedule(ctx)
	var announced []Offer
	var problems []error
	now, rejected := map[string]Offer{}, map[string]bool{}
	offers = defaultFirst(offers)
	p.beating = nil
	for _, o := range offers {
		if o.BeatMS = p.beat.Milliseconds(); p.once {
			o.BeatMS = 0
		}
		if err := p.refused[o.Key()]; err != nil {
			problems = append(problems, err)
			continue
		}
		_, known := p.announced[o.Key()]
		if err := p.bus.announce(ctx, o, !known); err != nil {
			problems = append(problems, err)
			if Denied(err) {
				p.refused[o.Key()] = err
			}
			_, taken := errors.AsType[*TakenError](err)
			if taken || p.rejected[o.Key()] {
				rejected[o.Key()] = true
			}
			if !taken && known {
				now[o.Key()] = o // it remains until it expires, and is withdrawn when leaving
				announced = append(announced, o)
			}
			continue
		}
		now[o.Key()] = o
		announced = append(announced, o)
		if p.beating == nil {
			p.beating = &o
		}
	}
	for key, o := range p.announced {
		if _, ok := now[key]; !ok {
			if err := p.bus.withdraw(ctx, o); err != nil {
				problems = append(problems, err)
				now[key] = o // withdrawn with the next Set
			}
		}
	}
	for key := range p.rejected {
		if _, ok := now[key]; !ok && !rejected[key] {
			_ = p.bus.deleteEntry(ctx, topology.BucketPresence, key) // expires otherwise
		}
	}
	p.announced, p.rejected = now, rejected
	return announced, errors.Join(problems...)
}

// defaultFirst returns offers with the default model in front. A worker announces it
// first and withdraws it last: an orchestrator that sees only some of the offers must
// not take another model for the default one.
func defaultFirst(offers []Offer) []Offer {
	isDefault := func(o Offer) bool { return o.Default }
	first := slices.DeleteFunc(slices.Clone(offers), func(o Offer) bool { return !o.Default })
	return append(first, slices.DeleteFunc(slices.Clone(offers), isDefault)...)
}

// schedule sets beat and refresh from the lifetime of an entry.
func (p *Announcement) schedule(ctx context.Context) {
	if p.beat > 0 {
		return
	}
	ttl, err := p.bus.ttlOf(ctx, topology.BucketPresence)
	if err != nil {
		p.beat, p.refresh = 0, topology.PresenceTTL/4 // the server is away, and the usual time will do
		return
	}
	p.beat, p.refresh = min(topology.WorkerBeat, ttl/4), ttl/4
}

// Wait blocks until [Announcement.Set] must be called again: before the entries
// expire, after a reconnect, since they may have expired, or when changed is closed.
// Meanwhile it repeats one of the entries, so that others notice soon when this process
// dies. It reports false when ctx has ended.
func (p *Announcement) Wait(ctx context.Context, changed <-chan struct{}) bool {
	due := time.NewTimer(p.refresh)
	defer due.Stop()
	beat := time.NewTicker(cmp.Or(p.beat, p.refresh))
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-changed:
			return true
		case <-p.reconnected:
			return true
		case <-due.C:
			return true
		case <-beat.C:
		}
		if p.beating != nil && p.beat > 0 {
			limit, cancel := context.WithTimeout(ctx, 2*p.beat)
			_, _ = p.bus.putOffer(limit, *p.beating) // Set repeats it, and returns why that fails
			cancel()
		}
	}
}

// Leave says that the worker ends.
func (p *Announcement) Leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	for _, o := range slices.Backward(defaultFirst(slices.Collect(maps.Values(p.announced)))) {
		_ = p.bus.deleteEntry(ctx, topology.BucketPresence, o.Key()) // runs out by itself otherwise
	}
	for key := range p.rejected {
		_ = p.bus.deleteEntry(ctx, topology.BucketPresence, key)
	}
	p.announced, p.rejected, p.beating = map[string]Offer{}, map[string]bool{}, nil
}

// withdraw announces that a worker continues without a tool. Its key holds that until it
// expires, so that nobody takes it for a worker that ended.
func (b *Bus) withdraw(ctx context.Context, o Offer) error {
	if o.Kind != "tool" {
		_ = b.deleteEntry(ctx, topology.BucketPresence, o.Key()) // runs out by itself otherwise
		return nil
	}
	raw, err := json.Marshal(Offer{Kind: o.Kind, Name: o.Name, Worker: o.Worker, Withdrawn: true, BeatMS: o.BeatMS})
	if err == nil {
		_, err = b.putEntry(ctx, topology.BucketPresence, o.Key(), raw)
	}
	if err != nil {
		return fmt.Errorf("withdraw %s: %w", o.Key(), err)
	}
	return nil
}

// announce says that one thing is offered. A tool that is new here is compared
// with the known one and with those of its name that others announce. One that is
// not accepted is announced as rejected, so that `parley doctor` can report it.
func (b *Bus) announce(ctx context.Context, o Offer, compare bool) error {
	o.Version = b.version
	raw, err := o.Encode()
	if err == nil {
		o, err = offer.Decode(o.Key(), raw)
	}
	if err != nil {
		return fmt.Errorf("announce %s: %w", o.Key(), err)
	}
	compare = compare && o.Tool != nil
	// Before it is announced every other one is older, whenever it was repeated;
	// after that, two that come at once see each other.
	if compare {
		if err := b.accepted(ctx, o, math.MaxUint64); err != nil {
			return b.reject(ctx, o, err)
		}
	}
	rev, err := b.putOffer(ctx, o)
	if err != nil || !compare {
		return err
	}
	if err := b.accepted(ctx, o, rev); err != nil {
		return b.reject(ctx, o, err)
	}
	return nil
}

func (b *Bus) putOffer(ctx context.Context, o Offer) (uint64, error) {
	raw, err := o.Encode()
	if err != nil {
		return 0, fmt.Errorf("announce %s: %w", o.Key(), err)
	}
	announced := b.link.announcing()
	rev, err := b.putEntry(ctx, topology.BucketPresence, o.Key(), raw)
	announced(err == nil || Denied(err))
	b.writes.wrote(topology.BucketStream(topology.BucketPresence), err)
	switch {
	case Denied(err):
		return 0, fmt.Errorf("announce %s: this user may not offer %s %q: add it to the user's scope, see `parley permissions`: %w", o.Key(), o.Kind, o.Name, err)
	case err != nil:
		return 0, fmt.Errorf("announce %s: %w", o.Key(), err)
	}
	return rev, nil
}

// accepted returns a [TakenError] when a tool must not be served by the worker
// that announced it at a revision.
func (b *Bus) accepted(ctx context.Context, o Offer, revision uint64) error {
	known, err := b.Presence().KnownTool(ctx, o.Name)
	if err != nil {
		return err
	}
	entries, err := b.standing(ctx, topology.BucketPresence, topology.PresenceKey(o.Kind, o.Name, "*"))
	if err != nil {
		return err
	}
	all := []offer.Dated{{Offer: o, Since: revision}}
	for _, e := range entries {
		if other, err := offer.Decode(e.subject, e.data); err == nil && e.subject != o.Key() && other.Serves() {
			all = append(all, offer.Dated{Offer: other, Since: e.seq})
		}
	}
	for _, c := range offer.Resolve(known, all, "").Conflicts {
		if c.Worker == o.Worker {
			return &TakenError{c}
		}
	}
	return nil
}

// reject announces a tool that its worker does not serve, if that is why.
func (b *Bus) reject(ctx context.Context, o Offer, why error) error {
	if _, taken := errors.AsType[*TakenError](why); taken {
		o.Tool, o.Rejected = nil, o.Tool
		if _, err := b.putOffer(ctx, o); err != nil {
			return errors.Join(why, err)
		}
	}
	return why
}

// standing gives the entries of a bucket under a pattern of keys, as its leader
// has them; their subjects are the keys. Each is read by itself: a watch may take
// a key that is renewed meanwhile for the last one there is.
func (b *Bus) standing(ctx context.Context, bucket, keys string) ([]raw, error) {
	s, err := b.stream(ctx, topology.BucketStream(bucket))
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(topology.EntrySubject(bucket, keys)))
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bucket, explainJetStream(err))
	}
	var all []raw
	for subject := range info.State.Subjects {
		key := topology.EntryKey(bucket, subject)
		r, err := b.kvFromLeader(ctx, bucket, key)
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", bucket, err)
		}
		if r == nil {
			continue // it left in between
		}
		r.subject = key
		all = append(all, *r)
	}
	return all, nil
}
