package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// Lease is the right to own a shard. It only saves work: two owners are harmless,
// because the turn lane refuses one of them.
type Lease struct {
	bus *Bus
	kv  jetstream.KeyValue
	ttl time.Duration
	key string
	rev uint64
	val []byte
}

// ErrLeaseLost reports that another process may own the shard now.
var ErrLeaseLost = errors.New("the shard's lease is lost")

// TakeLease waits until the shard is free and takes it.
func (s Shard) TakeLease(ctx context.Context, owner string) (*Lease, error) {
	kv, err := s.bus.bucket(ctx, topology.BucketLeases)
	if err != nil {
		return nil, fmt.Errorf("leases: %w", explainJetStream(err))
	}
	ttl, err := s.bus.ttlOf(ctx, topology.BucketLeases)
	if err != nil {
		return nil, err
	}
	l := &Lease{bus: s.bus, kv: kv, ttl: ttl, key: topology.ShardKey(s.number), val: []byte(owner)}
	for open := false; ; { // open: a try may have been stored whose answer did not come
		try, cancel := context.WithTimeout(ctx, appendTimeout)
		l.rev, err = kv.Create(try, l.key, l.val)
		if open && errors.Is(err, jetstream.ErrKeyExists) {
			if own := l.own(try); own > 0 {
				l.rev, err = own, nil
			}
		}
		cancel()
		if err == nil || errors.Is(err, jetstream.ErrKeyExists) && fault.Planted(fault.IgnoreLease) {
			return l, nil
		}
		open = open || !errors.Is(err, jetstream.ErrKeyExists)
		if !errors.Is(err, jetstream.ErrKeyExists) {
			s.bus.log.Debug("lease cannot be taken, trying again", "shard", s.number, "error", err)
		}
		if !Pause(ctx, ttl/8) {
			return nil, context.Cause(ctx)
		}
	}
}

// Keep renews the lease until ctx ends, then releases it. It returns
// [ErrLeaseLost] when it could not be renewed in time.
func (l *Lease) Keep(ctx context.Context) error {
	tick := time.NewTicker(l.ttl / 4)
	defer tick.Stop()
	var open time.Time // when a renewal was sent whose answer did not come; zero when there is none
	for renewed := time.Now(); ; {
		select {
		case <-ctx.Done():
			done, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
			defer cancel()
			// A lease that cannot be released expires.
			_ = l.kv.Delete(done, l.key, jetstream.LastRevision(l.rev))
			return context.Cause(ctx)
		case <-tick.C:
		}
		sent := time.Now()
		// ctx does not bound the write: its outcome must be known to release the
		// lease.
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.ttl/4)
		rev, err := l.kv.Update(try, l.key, l.val, l.rev)
		if errors.Is(err, jetstream.ErrKeyRevisionMismatch) && !open.IsZero() {
			if own := l.own(try); own > l.rev { // it was stored all the same
				rev, err, sent = own, nil, open
			}
		}
		cancel()
		switch {
		case err == nil:
			l.rev, renewed, open = rev, sent, time.Time{}
			continue
		case ctx.Err() != nil, fault.Planted(fault.IgnoreLease):
			continue
		}
		refused := errors.Is(err, jetstream.ErrKeyRevisionMismatch) || errors.Is(err, jetstream.ErrKeyExists)
		if !refused && open.IsZero() {
			open = sent
		}
		if refused || time.Since(renewed) > l.ttl*3/4 {
			return fmt.Errorf("%w: %w", ErrLeaseLost, err)
		}
	}
}

// own is the revision of the lease that is stored when it is this owner's; 0 otherwise.
func (l *Lease) own(ctx context.Context) uint64 {
	r, err := l.bus.kvFromLeader(ctx, topology.BucketLeases, l.key)
	if err != nil || r == nil || !bytes.Equal(r.data, l.val) {
		return 0
	}
	return r.seq
}

// BreakLeases frees all shards: for the one process that holds the embedded
// server, so that every previous owner is gone.
func (d Deployment) BreakLeases(ctx context.Context) error {
	for shard := range d.bus.Shards() {
		if err := d.bus.deleteEntry(ctx, topology.BucketLeases, topology.ShardKey(shard)); err != nil {
			return fmt.Errorf("free shard %d: %w", shard, err)
		}
	}
	return nil
}

// Owners is who holds each shard; one that no orchestrator holds now is left out.
// When ctx ends first, those seen so far are returned with its error.
func (d Deployment) Owners(ctx context.Context) (map[int]string, error) {
	ttl, err := d.bus.ttlOf(ctx, topology.BucketLeases)
	if err != nil {
		return nil, err
	}
	owners := map[int]string{}
	for shard := range d.bus.Shards() {
		r, err := d.bus.kvFromLeader(ctx, topology.BucketLeases, topology.ShardKey(shard))
		// A server that cannot write does not remove what has expired either.
		if err == nil && r != nil && d.bus.Now().Sub(r.at) < 2*ttl {
			owners[shard] = string(r.data)
		}
	}
	return owners, ctx.Err()
}
