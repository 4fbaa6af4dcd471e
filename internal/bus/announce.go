package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TakenError says that another worker announces a tool of the same name that is
// another tool: its schema or its effect class differs. Calls of the one must
// not go to the other.
type TakenError struct{ Tool, Worker, Other string }

// Error implements error.
func (e *TakenError) Error() string {
	return fmt.Sprintf("tool %q of worker %s is not served: worker %s announces one of that name with another schema or effect: rename one of the two, or stop the other worker", e.Tool, e.Worker, e.Other)
}

// Announcement says what a worker offers, for as long as it is there. It is
// used by one goroutine.
type Announcement struct {
	bus       *Bus
	announced map[string]Offer // by key
}

// NewAnnouncement returns the announcement of a worker that offers nothing yet.
func (p Presence) NewAnnouncement() *Announcement {
	return &Announcement{bus: p.bus, announced: map[string]Offer{}}
}

// Set says what is offered from now on, also to say it again before it runs out
// ([Announcement.Beat]), and returns what is announced. The errors are of those offers
// that do not; a [TakenError] passes when the other worker has gone. A tool that
// is missing from offers is withdrawn: calls of it are refused from then on,
// unless another worker serves it. A worker that ends calls [Announcement.Leave]
// instead: calls of its tools wait for the next one that serves them.
func (p *Announcement) Set(ctx context.Context, offers []Offer) ([]Offer, error) {
	var announced []Offer
	var problems []error
	now := map[string]Offer{}
	// The default first: whoever sees only the first offers must not take another.
	offers = slices.Clone(offers)
	slices.SortStableFunc(offers, func(a, b Offer) int {
		switch {
		case a.Default == b.Default:
			return 0
		case a.Default:
			return -1
		}
		return 1
	})
	for _, o := range offers {
		_, known := p.announced[o.key()]
		if err := p.bus.announce(ctx, o, !known); err != nil {
			problems = append(problems, err)
			if _, taken := errors.AsType[*TakenError](err); !taken && known {
				now[o.key()] = o // it remains until it expires, and is withdrawn when leaving
				announced = append(announced, o)
			}
			continue
		}
		now[o.key()] = o
		announced = append(announced, o)
	}
	for key, o := range p.announced {
		if _, ok := now[key]; !ok {
			if err := p.bus.withdraw(ctx, o); err != nil {
				problems = append(problems, err)
				now[key] = o // withdrawn with the next Set
			}
		}
	}
	p.announced = now
	return announced, errors.Join(problems...)
}

// Beat is how often Set must be called again; and once more after every
// [Bus.Reconnected]: the announcement may have expired.
func (p *Announcement) Beat(ctx context.Context) time.Duration {
	ttl, err := p.bus.ttlOf(ctx, topology.BucketPresence)
	if err != nil {
		ttl = topology.PresenceTTL // the server is away, and the usual time will do
	}
	return ttl / 4
}

// Leave says that the worker ends.
func (p *Announcement) Leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	for key := range p.announced {
		_ = p.bus.deleteEntry(ctx, topology.BucketPresence, key) // runs out by itself otherwise
	}
	p.announced = map[string]Offer{}
}

// withdraw announces that a worker continues without a tool. Its key holds that until it
// expires, so that nobody takes it for a worker that ended.
func (b *Bus) withdraw(ctx context.Context, o Offer) error {
	if o.Kind != "tool" {
		_ = b.deleteEntry(ctx, topology.BucketPresence, o.key()) // runs out by itself otherwise
		return nil
	}
	raw, err := json.Marshal(Offer{Kind: o.Kind, Name: o.Name, Worker: o.Worker, Withdrawn: true})
	if err == nil {
		_, err = b.putEntry(ctx, topology.BucketPresence, o.key(), raw)
	}
	if err != nil {
		return fmt.Errorf("withdraw %s: %w", o.key(), err)
	}
	return nil
}

// announce says that one thing is offered. A tool that is new here is compared
// with those of its name that others announce: of two the later gives way.
func (b *Bus) announce(ctx context.Context, o Offer, compare bool) error {
	if err := errors.Join(topology.CheckToken("kind", o.Kind), topology.CheckToken(o.Kind, o.Name), topology.CheckToken("worker", o.Worker)); err != nil {
		return err
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	rev, err := b.putEntry(ctx, topology.BucketPresence, o.key(), raw)
	b.writes.wrote(topology.BucketStream(topology.BucketPresence), err)
	if err != nil {
		b.link.broken() // others cannot announce themselves either: see UntilGone
		return fmt.Errorf("announce %s: %w", o.key(), err)
	}
	if !compare || o.Tool == nil {
		return nil
	}
	others, err := b.standing(ctx, topology.BucketPresence, topology.PresenceKey(o.Kind, o.Name, "*"))
	if err != nil {
		return err
	}
	for _, e := range others {
		var other Offer
		if e.subject == o.key() || e.seq > rev || json.Unmarshal(e.data, &other) != nil || other.Tool == nil || sameTool(o.Tool, other.Tool) {
			continue
		}
		_ = b.deleteEntry(ctx, topology.BucketPresence, o.key()) // runs out by itself otherwise
		return &TakenError{Tool: o.Name, Worker: o.Worker, Other: other.Worker}
	}
	return nil
}

// sameTool reports whether two tools of a name take the same calls.
func sameTool(a, b *events.ToolSpec) bool {
	return a.Effect == b.Effect && bytes.Equal(compacted(a.Schema), compacted(b.Schema))
}

func compacted(raw json.RawMessage) []byte {
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return raw
	}
	return out.Bytes()
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

// SameTool reports whether two tools of a name take the same calls.
func SameTool(a, b *events.ToolSpec) bool { return a == b || a != nil && b != nil && sameTool(a, b) }
