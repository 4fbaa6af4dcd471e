package bus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// absences are workers that announce nothing, and since when they were seen so.
type absences struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// note records whether a worker is absent and returns for how long it has been.
// Records older than most are evicted.
func (a *absences) note(worker string, absent bool, most time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !absent {
		delete(a.since, worker)
		return 0
	}
	for w, since := range a.since {
		if time.Since(since) > most {
			delete(a.since, w)
		}
	}
	if _, ok := a.since[worker]; !ok {
		if a.since == nil {
			a.since = map[string]time.Time{}
		}
		a.since[worker] = time.Now()
	}
	return time.Since(a.since[worker])
}

// UntilGone returns 0 when a worker has died: it has announced nothing for as long
// as its entries say, and this process has been connected, and able to announce itself,
// for that long, since entries also grow old while the server is unavailable. Otherwise
// it returns the time until the next call. With sure, the worker must have been absent
// for the lifetime of an entry once more: it may have lost its own connection only.
func (p Presence) UntilGone(ctx context.Context, worker string, sure bool) (time.Duration, error) {
	if err := topology.CheckToken("worker", worker); err != nil {
		return 0, nil // nobody can announce that name
	}
	ttl, err := p.bus.ttlOf(ctx, topology.BucketPresence)
	if err != nil {
		return 0, err
	}
	again := ttl / 4
	lives, left, err := p.bus.lives(ctx, worker, ttl)
	if err != nil {
		return 0, err
	}
	absent := p.bus.absences.note(worker, left <= 0, 20*ttl)
	if left > 0 {
		return min(left, again), nil
	}
	left = lives - p.bus.steady()
	if sure {
		left = max(left, ttl-p.bus.steady(), ttl-absent)
	}
	if left <= 0 {
		return 0, nil
	}
	return min(left, again), nil
}

// lives returns how long a worker counts as present after its last announcement, and
// how much of that is left; 0 when it announces nothing. A worker that names no beat
// counts as present while an entry exists. The entries are read from the leader: by a
// replica that lags a live worker would be absent.
func (b *Bus) lives(ctx context.Context, worker string, ttl time.Duration) (lives, left time.Duration, err error) {
	stream := topology.BucketStream(topology.BucketPresence)
	s, err := b.stream(ctx, stream)
	if err != nil {
		return 0, 0, err
	}
	keys := topology.EntrySubject(topology.BucketPresence, topology.PresenceKey("*", "*", worker))
	info, err := ask(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		return s.Info(ctx, jetstream.WithSubjectFilter(keys))
	})
	if err != nil {
		return 0, 0, fmt.Errorf("presence: %w", explainJetStream(err))
	}
	last, err := b.lastFromLeader(ctx, stream, keys)
	if err != nil {
		return 0, 0, fmt.Errorf("presence: %w", err)
	}
	if last == nil {
		return ttl, 0, nil
	}
	if o, err := offer.Decode(topology.EntryKey(topology.BucketPresence, last.subject), last.data); err == nil && o.BeatMS > 0 {
		lives = min(topology.MissedBeats*time.Duration(o.BeatMS)*time.Millisecond, ttl)
		return lives, lives - info.TimeStamp.Sub(last.at), nil
	}
	for subject := range info.State.Subjects {
		r, err := b.lastFromLeader(ctx, stream, subject)
		if err != nil {
			return 0, 0, fmt.Errorf("presence: %w", err)
		}
		if r != nil && len(r.data) > 0 { // an entry without data was deleted
			return ttl, ttl / 4, nil
		}
	}
	return ttl, 0, nil
}
