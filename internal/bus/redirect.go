package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// errDuplicate reports that the server takes a message for one that it has.
var errDuplicate = errors.New("dropped as a duplicate")

// Redirect publishes an input that was sent to a shard other than its
// conversation's to the right one. Its id stays, or is made from where it was
// found, so that the conversation takes it once however often this is done.
func (c Conversation) Redirect(ctx context.Context, m Message) error {
	id := m.ID
	if id == "" {
		id = fmt.Sprintf("%s-%d", topology.ConvStream(m.Shard), m.Sequence)
	}
	to := topology.At(c.bus.Shards(), c.id, events.ChannelIn)
	ack, err := c.bus.store(ctx, &nats.Msg{Subject: to.Subject(topology.Conv), Data: m.Data}, jetstream.WithMsgID(id))
	if err != nil || !ack.Duplicate {
		return err
	}
	// The server dropped it. The id must stay, because the input is answered
	// under: it goes through when the server's window for duplicates has passed.
	if to.Shard == m.Shard && ack.Sequence == m.Sequence {
		return fmt.Errorf("%w: it is the one that is to be published again", errDuplicate)
	}
	r, err := c.bus.fromLeader(ctx, topology.ConvStream(to.Shard), getRequest{Sequence: ack.Sequence})
	if err == nil && r != nil && r.subject != to.Subject(topology.Conv) {
		err = fmt.Errorf("%w: an input of another conversation has the message id %q", errDuplicate, id)
	}
	return err
}
