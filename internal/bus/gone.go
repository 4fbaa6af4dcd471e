package bus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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

// UntilGone returns 0 when a worker has died: it announces nothing, and this
// process has been connected for as long as an announcement lives, since
// announcements expire also while the server is unavailable. Otherwise it returns
// the time until the next call. With sure, the worker must have been absent for that long
// once more: it may have lost its own connection only.
func (p Presence) UntilGone(ctx context.Context, worker string, sure bool) (time.Duration, error) {
	if err := topology.CheckToken("worker", worker); err != nil {
		return 0, nil // nobody can announce that name
	}
	ttl, err := p.bus.ttlOf(ctx, topology.BucketPresence)
	if err != nil {
		return 0, err
	}
	again := ttl / 4
	present, err := p.bus.present(ctx, worker)
	if err != nil {
		return 0, err
	}
	absent := p.bus.absences.note(worker, !present, 20*ttl)
	if present {
		return again, nil
	}
	left := ttl - p.bus.steady()
	if sure {
		left = max(left, ttl-absent)
	}
	if left <= 0 {
		return 0, nil
	}
	return min(left, again), nil
}

// present reports whether a worker announces anything, as the leader has it: a
// replica that lags would make a live worker absent.
func (b *Bus) present(ctx context.Context, worker string) (bool, error) {
	stream := topology.BucketStream(topology.BucketPresence)
	s, err := b.stream(ctx, stream)
	if err != nil {
		return false, err
	}
	ctx, cancel := answer(ctx)
	defer cancel()
	keys := topology.EntrySubject(topology.BucketPresence, topology.PresenceKey("*", "*", worker))
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(keys))
	if err != nil {
		return false, fmt.Errorf("presence: %w", explainJetStream(err))
	}
	for subject := range info.State.Subjects {
		last, err := b.lastFromLeader(ctx, stream, subject)
		if err != nil {
			return false, fmt.Errorf("presence: %w", err)
		}
		if last != nil && len(last.data) > 0 { // an entry without data was withdrawn
			return true, nil
		}
	}
	return false, nil
}
