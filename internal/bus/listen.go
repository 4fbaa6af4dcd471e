package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Listen calls fn with the inputs and Decisions of a conversation from now on, as
// they happen. It is a hint: a message may be missed when the connection is lost,
// and then the lanes refuse outdated writes. fn must not block and may run
// twice at once; it is not called again after stop.
func (c Conversation) Listen(fn func(Message)) (stop func(), err error) {
	var subs []*nats.Subscription
	stop = func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // fails only when the connection is closed
		}
	}
	if err := topology.CheckID("conversation", c.id); err != nil {
		return nil, err
	}
	for _, channel := range []events.Channel{events.ChannelIn, events.ChannelTurn} {
		a := topology.At(c.bus.Shards(), c.id, channel)
		sub, err := c.bus.nc.Subscribe(a.Subject(topology.Live), func(msg *nats.Msg) {
			r, _, ok := republished(msg)
			if !ok {
				return
			}
			m := c.bus.unfetched(r, true)
			// An input in an object is none that stops anything, and to fetch it would
			// hold up the next message: anybody may claim an object.
			if m.Channel == events.ChannelTurn {
				ctx, cancel := context.WithTimeout(context.Background(), appendTimeout)
				defer cancel()
				if err := c.bus.Objects().Fetch(ctx, &m); err != nil {
					m.Bad = err
				}
			}
			fn(m)
		})
		if err != nil {
			stop()
			return nil, fmt.Errorf("listen to conversation %s: %w", c.id, err)
		}
		subs = append(subs, sub)
	}
	return stop, nil
}
