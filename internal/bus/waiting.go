package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// List lists the conversations that have a timer set, or one that fired and
// that nobody has handled yet: those that wait. In no order.
func (t Timers) List(ctx context.Context) ([]string, error) {
	s, err := t.bus.stream(ctx, topology.StreamTimers)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime) // pages of 100,000
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, fmt.Errorf("list what waits: %w", explainJetStream(err))
	}
	ids := make([]string, 0, len(info.State.Subjects))
	seen := make(map[string]bool, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		id, err := topology.ConversationOf(subject)
		if err == nil && !seen[id] { // another program's subject is no conversation
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// waitingQueue is how many Decisions wait for a slow reader.
const waitingQueue = 4096

// Decisions delivers the turn messages of all conversations as they happen, until
// ctx ends. It is for a display of what waits now; a reader that needs every message
// uses [Conversation.Attach].
//
// resync is called first, when from then on nothing passes unseen, and again
// whenever messages may have been missed: the connection was lost, fn was slower than
// the conversations for longer than the queue lasts, or a log has another leader: one
// that dies between storing a message and republishing it sends it to nobody. It reads the
// current state, for instance [Timers.List]. Because a timer is set after the
// decision that needs it, by the next owner if the first one died in between, it is
// called again a second and two lifetimes of a lease after that. What follows may be
// older than what it read: compare a Message's Sequence. resync and fn run on one
// goroutine; an error of theirs ends Decisions.
func (d Deployment) Decisions(ctx context.Context, fn func(Message) error, resync func() error) error {
	queue := make(chan *nats.Msg, waitingQueue)
	sub, err := d.bus.nc.ChanSubscribe(topology.LiveOfChannel(events.ChannelTurn), queue)
	if err != nil {
		return fmt.Errorf("subscribe to decisions: %w", err)
	}
	// An error here means that the connection is closed, and the subscription
	// with it.
	defer func() { _ = sub.Unsubscribe() }()
	reconnected := d.bus.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer d.bus.nc.RemoveStatusListener(reconnected)
	v := viewer{bus: d.bus}
	lost := v.losses(sub)
	soon, later := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer soon.Stop()
	defer later.Stop()
	elected, done := d.bus.elections(ctx)
	defer done()
	read := func() error {
		err := d.bus.synced(ctx, resync)
		soon.Reset(time.Second)
		later.Reset(2 * topology.LeaseTTL)
		return err
	}
	for err = read(); err == nil; {
		var msg *nats.Msg
		select {
		case <-soon.C:
			err = d.bus.synced(ctx, resync)
		case <-later.C:
			err = d.bus.synced(ctx, resync)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-reconnected:
		case <-elected:
			err = read()
		case msg = <-queue:
		}
		if now := v.losses(sub); err == nil && now != lost {
			lost = now
			err = read()
		}
		if d.bus.nc.IsClosed() {
			err = fmt.Errorf("follow decisions: %w", nats.ErrConnectionClosed)
		}
		if err == nil && msg != nil {
			err = d.bus.decided(ctx, msg, fn)
		}
	}
	return err
}

// synced calls resync once the server has the subscription.
func (b *Bus) synced(ctx context.Context, resync func() error) error {
	asking, cancel := answer(ctx)
	defer cancel()
	// One that fails means that the connection is lost: it comes again with the
	// subscription, and then everything is read anew.
	if err := b.nc.FlushWithContext(asking); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return resync()
}

// decided passes a republished turn message to fn.
func (b *Bus) decided(ctx context.Context, msg *nats.Msg, fn func(Message) error) error {
	r, _, ok := republished(msg)
	if !ok {
		return nil
	}
	m, err := b.message(ctx, r, true)
	if err != nil {
		return err
	}
	return fn(m)
}
