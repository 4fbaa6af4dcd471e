package bus

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// electionEvery is how often the leaders of replicated logs are looked at.
const electionEvery = 5 * time.Second

// elections returns a channel that gets a value some seconds after a shard's log has got
// another leader. Logs without replicas have none: who loses their server loses the
// connection. done ends it.
func (b *Bus) elections(ctx context.Context) (elected <-chan struct{}, done func()) {
	if b.plan.Replicas <= 1 {
		return nil, func() {}
	}
	news := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		leaders := make([]leadership, b.Shards())
		for {
			if b.elected(ctx, leaders) {
				select {
				case news <- struct{}{}:
				default:
				}
			}
			if !Pause(ctx, electionEvery) {
				return
			}
		}
	})
	return news, func() { cancel(); watching.Wait() }
}

// leadership is who leads a log, and since when.
type leadership struct {
	name  string
	since time.Time
}

// elected notes who leads the logs, and reports whether one has another leader than before.
// A log whose leader is not known now is looked at the next time.
func (b *Bus) elected(ctx context.Context, leaders []leadership) (anew bool) {
	for shard := range leaders {
		info, err := b.askOnce(ctx, topology.ConvStream(shard))
		if err != nil {
			continue
		}
		now := leaderOf(info)
		if before := leaders[shard]; now.name != "" && now != before {
			anew = anew || before.name != ""
			leaders[shard] = now
		}
	}
	return anew
}

func leaderOf(info *jetstream.StreamInfo) (l leadership) {
	if info.Cluster == nil {
		return l
	}
	if l.name = info.Cluster.Leader; info.Cluster.LeaderSince != nil {
		l.since = *info.Cluster.LeaderSince
	}
	return l
}
