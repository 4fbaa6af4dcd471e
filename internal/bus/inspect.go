package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// StreamState is the state of one stream of the deployment.
type StreamState struct {
	Name    string
	Missing bool
	Wrong   []string // settings that differ from what Parley needs
	Leader  bool     // a replicated stream has a leader, or the stream is not replicated
	Offline []string // replicas that are not connected
	Lagging []string // replicas that are behind
}

// States reads the state of every stream, bucket and object store.
func (d Deployment) States(ctx context.Context) ([]StreamState, error) {
	var all []StreamState
	for _, p := range d.bus.parts(d.bus.plan) {
		info, err := d.bus.info(ctx, p.name)
		if err != nil {
			return nil, d.bus.explainDenied(err)
		}
		state := StreamState{Name: p.name, Missing: info == nil, Leader: true}
		if info != nil {
			_, state.Wrong = p.want(info.Config)
		}
		if info != nil && info.Cluster != nil && info.Config.Replicas > 1 {
			state.Leader = info.Cluster.Leader != ""
			for _, r := range info.Cluster.Replicas {
				switch {
				case r.Offline:
					state.Offline = append(state.Offline, r.Name)
				case !r.Current:
					state.Lagging = append(state.Lagging, fmt.Sprintf("%s by %d", r.Name, r.Lag))
				}
			}
		}
		all = append(all, state)
	}
	return all, nil
}

// Changes returns what [Connect] created or corrected while it set the deployment
// up; empty when everything was as it should be.
func (d Deployment) Changes() []string { return d.bus.changes }

// Repair makes what is missing and corrects what is wrong, and returns what was
// done. It loses no stored data.
func (d Deployment) Repair(ctx context.Context) (done []string, err error) {
	var problems []error
	for _, p := range d.bus.parts(d.bus.plan) {
		change, err := d.bus.ensure(ctx, p, topology.Plan{}, true)
		if err != nil {
			problems = append(problems, d.bus.explainDenied(err))
		} else if change != "" {
			done = append(done, p.name+" "+change)
		}
	}
	return done, errors.Join(problems...)
}

// ClockSkew is by how much this machine's clock is ahead of the server's.
func (d Deployment) ClockSkew(ctx context.Context) (time.Duration, error) {
	best, skew := time.Hour, time.Duration(0)
	for range 3 { // the quickest answer is the most exact one
		sent := time.Now()
		info, err := d.bus.info(ctx, topology.StreamHistory)
		if err != nil {
			return 0, err
		}
		if info == nil || info.TimeStamp.IsZero() {
			return 0, errors.New("the server does not say what time it is")
		}
		if took := time.Since(sent); took < best {
			best, skew = took, sent.Add(took/2).Sub(info.TimeStamp)
		}
	}
	return skew, nil
}

// Space is how much JetStream stores for this account and how much it may; zero
// when there is no limit.
func (d Deployment) Space(ctx context.Context) (used, most uint64, err error) {
	ctx, cancel := answer(ctx)
	defer cancel()
	account, err := d.bus.js.AccountInfo(ctx)
	if err != nil {
		return 0, 0, d.bus.explainDenied(explainJetStream(err))
	}
	used = account.Store
	if account.Limits.MaxStore > 0 {
		most = uint64(account.Limits.MaxStore)
	}
	return used, most, nil
}

// TestWrites stores a message in the log of each shard and in the bucket of
// presence, and a chunk in the object store, and returns why one is not stored.
// Followers skip the messages, and a sweep removes the chunks.
func (d Deployment) TestWrites(ctx context.Context) error {
	type place struct{ name, subject string }
	places := []place{{topology.BucketPresence + "." + topology.ProbeKey, topology.EntrySubject(topology.BucketPresence, topology.ProbeKey)}}
	for shard := range d.bus.Shards() {
		places = append(places, place{topology.Probe(shard), topology.Probe(shard)})
	}
	for _, p := range places {
		try, cancel := context.WithTimeout(ctx, appendTimeout)
		_, err := d.bus.js.Publish(try, p.subject, nil, jetstream.WithRetryAttempts(0))
		cancel()
		if denied := d.bus.denial(p.subject); denied != nil {
			continue // this user may not, which tells nothing about other users
		}
		if err != nil {
			return fmt.Errorf("a write to %s is not stored: %w", p.name, explainWrite(err))
		}
	}
	return d.bus.probeObjects(ctx)
}

// Behind is how far HISTORY is behind the log of a shard, in sequences of CONV.
type Behind struct {
	Shard     int
	End       uint64 // last message of CONV
	Fact      uint64 // last fact in CONV
	FactAt    time.Time
	Copied    uint64 // last fact that HISTORY has
	Diverging bool   // HISTORY has what CONV has lost
}

// HistoryBehind compares the last fact of each shard with its last copy.
func (d Deployment) HistoryBehind(ctx context.Context) ([]Behind, error) {
	var all []Behind
	for shard := range d.bus.Shards() {
		at := Behind{Shard: shard}
		copied, err := d.bus.lastCopy(ctx, topology.HistoryOf(shard))
		if err != nil {
			return nil, fmt.Errorf("last copy of shard %d: %w", shard, d.bus.explainDenied(err))
		}
		if copied != nil {
			at.Copied = copied.seq
		}
		for _, channel := range topology.FactChannels() {
			m, err := d.bus.lastFromLeader(ctx, topology.ConvStream(shard), topology.OfShard(shard, channel))
			if err != nil {
				return nil, fmt.Errorf("last fact of shard %d: %w", shard, d.bus.explainDenied(err))
			}
			if m != nil && m.seq > at.Fact {
				at.Fact, at.FactAt = m.seq, m.at
			}
		}
		// Last: it grows meanwhile, and the copy must not seem to be past it.
		conv, err := d.bus.info(ctx, topology.ConvStream(shard))
		if err != nil || conv == nil {
			return nil, err
		}
		at.End = conv.State.LastSeq
		at.Diverging = at.Copied > at.End
		all = append(all, at)
	}
	return all, nil
}

// Full reports whether the server has no space left: then workers cannot even
// announce themselves. It is nil also when that cannot be found out.
func (d Deployment) Full(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	if _, err := d.bus.putEntry(ctx, topology.BucketPresence, topology.ProbeKey, nil); isFull(err) {
		return err
	}
	return nil
}
