package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/topology"
)

// A follower is sent each message at once while few come. When gatherAfter have come
// faster than one in half of gatherEvery, it lets them gather for gatherEvery, or until it
// is woken: most are of answers that stream, on which nothing is decided, and one by one
// each costs the server a write and the follower a read.
const (
	gatherEvery = 50 * time.Millisecond
	gatherAfter = 16
)

// wake wakes the owner of a shard. A wake-up that is lost costs it [gatherEvery].
func (b *Bus) wake(shard int) {
	subject := topology.Wake(shard)
	if b.denied.has(subject) {
		return // by the configuration of an earlier version
	}
	_ = b.nc.Publish(subject, nil) // fails only without a connection
}

// waker is what wakes a follower.
type waker struct {
	woken chan struct{}
	subs  []*nats.Subscription
}

// newWaker subscribes to what wakes the owner of a shard.
func (b *Bus) newWaker(shard int) (*waker, error) {
	w := &waker{woken: make(chan struct{}, 1)}
	for _, subject := range topology.Wakes(shard) {
		sub, err := b.nc.Subscribe(subject, func(*nats.Msg) {
			select {
			case w.woken <- struct{}{}:
			default:
			}
		})
		if err != nil {
			w.close()
			return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		w.subs = append(w.subs, sub)
	}
	return w, nil
}

func (w *waker) close() {
	for _, sub := range w.subs {
		_ = sub.Unsubscribe() // fails only when the connection is closed
	}
}

// wait waits until messages have gathered for so long, or something has come on which a
// decision may be due.
func (w *waker) wait(ctx context.Context, every time.Duration) {
	t := time.NewTimer(every)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-w.woken:
	}
}
