package bus

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

const (
	// stalledAfter is for how long a source of HISTORY is silent that no longer copies:
	// it sends a heartbeat each second.
	stalledAfter = 3 * time.Second
	// stepDownFirst and stepDownMost bound the time until HISTORY gets another leader
	// again, if that did not help.
	stepDownFirst, stepDownMost = 10 * time.Second, 2 * time.Minute
)

// KeepCopying watches that HISTORY copies, until ctx ends. When a server of a cluster
// fails, HISTORY's leader may wait for up to a minute before it asks a log for its
// messages again (30 s for an answer that will not come, then a pause that grows); a new
// leader asks at once. So a leader that hears nothing from a log that has one steps down.
// Stopping a server normally, or an only server, needs none of this.
//
// Each orchestrator runs it, whether or not it owns a shard: HISTORY stands still just
// when owners change. They look at different moments, and each gives a new leader time.
func (d Deployment) KeepCopying(ctx context.Context) {
	var c copying
	for Pause(ctx, keepEvery/2+rand.N(keepEvery)) {
		if !d.bus.Connected() {
			continue
		}
		if err := d.bus.keepCopying(ctx, &c); err != nil && ctx.Err() == nil {
			d.bus.log.Debug("cannot see whether HISTORY copies", "error", err)
		}
	}
}

func (b *Bus) keepCopying(ctx context.Context, c *copying) error {
	info, err := b.askOnce(ctx, topology.StreamHistory)
	if err != nil {
		return err
	}
	silent := c.look(info, time.Now())
	if silent == "" {
		return nil
	}
	log, err := b.askOnce(ctx, silent)
	if err != nil {
		return err
	}
	if log.Cluster == nil || log.Cluster.Leader == "" {
		return nil // there is nobody to ask
	}
	b.log.Warn("HISTORY hears nothing from a log, its leader steps down so that the next one asks again", "log", silent, "leader", info.Cluster.Leader)
	c.steppedDown(time.Now())
	return b.callAPI(ctx, "STREAM.LEADER.STEPDOWN."+topology.StreamHistory, nil, nil)
}

// askOnce is [Bus.infoOf] without a wait for an election.
func (b *Bus) askOnce(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, keepEvery)
	defer cancel()
	return b.requestInfo(ctx, stream)
}

// copying is what is known of HISTORY's leader.
type copying struct {
	leader string
	since  time.Time     // when it was seen first
	next   time.Time     // not before, another leader
	pause  time.Duration // after the next time
}

// look returns a source that HISTORY's leader has not heard from for too long; none while
// it has no other server that could lead, and while the last change has yet to help.
func (c *copying) look(info *jetstream.StreamInfo, now time.Time) string {
	if info.Cluster == nil || len(info.Cluster.Replicas) == 0 {
		return ""
	}
	if leader := info.Cluster.Leader; leader != c.leader {
		c.leader, c.since = leader, now
	}
	i := slices.IndexFunc(info.Sources, func(s *jetstream.StreamSourceInfo) bool {
		silent := s.Active
		if silent < 0 { // since this leader leads
			silent = now.Sub(c.since)
		}
		return silent > stalledAfter
	})
	if i < 0 {
		c.next, c.pause = time.Time{}, 0
		return ""
	}
	if now.Before(c.next) {
		return ""
	}
	return info.Sources[i].Name
}

// steppedDown is called when the leader is asked to step down.
func (c *copying) steppedDown(now time.Time) {
	c.pause = min(max(2*c.pause, stepDownFirst), stepDownMost)
	c.next = now.Add(c.pause)
}
