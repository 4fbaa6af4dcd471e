package bus

import (
	"context"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Message is one message of a log as readers get it.
type Message struct {
	topology.Address
	Subject  string // as it was published: conv.…
	Sequence uint64 // in the CONV stream
	Epoch    string // of that stream, see [Cursor]; set by [Conversation.Attach]
	Time     time.Time
	Data     []byte        // the payload as it is on the bus
	ID       string        // the Nats-Msg-Id that the publisher set; empty when there is none
	Protocol int           // that an input's publisher named; 0 on other channels
	Lines    []events.Line // its events; those before the bad line when Bad is set
	Bad      error         // why the payload cannot be read
	Skip     int           // events of the frame that the viewer has seen already
	Live     bool          // it came as it happened, not from the log
}

// Cursor is the position of one event of the frame.
func (m Message) Cursor(index int) Cursor {
	return Cursor{Sequence: m.Sequence, Index: index, Epoch: m.Epoch}
}

// message builds a Message, decodes it, and fetches what it claims. A payload
// that cannot be read is not an error here: the reader gets it with Bad set and
// decides. An object that cannot be fetched now is an error: a retry may succeed.
func (b *Bus) message(ctx context.Context, r raw, live bool) (Message, error) {
	return b.messageWithin(ctx, r, live, MaxInput)
}

// messageWithin is [Bus.message] with a bound on what a message of the in channel
// may claim; below 0 nothing is fetched.
func (b *Bus) messageWithin(ctx context.Context, r raw, live bool, input int64) (Message, error) {
	m := b.unfetched(r, live)
	if input < 0 {
		return m, nil
	}
	err := b.Objects().FetchWithin(ctx, &m, input)
	return m, err
}

// unfetched is [Bus.message] without fetching what the message claims.
func (b *Bus) unfetched(r raw, live bool) Message {
	m := Message{Subject: r.subject, Sequence: r.seq, Time: r.at.UTC(), Data: r.data, ID: r.id(), Live: live}
	if m.Address, m.Bad = topology.Parse(r.subject); m.Bad == nil {
		if m.Channel == events.ChannelIn {
			m.Protocol = r.protocol()
		}
		m.Lines, m.Bad = events.DecodeFrame(r.data)
	}
	return m
}

// Claim is the claim whose object holds the message's events; nil when Lines
// are the events themselves, or [Objects.Fetch] has fetched them.
func (m *Message) Claim() *events.Claim {
	if len(m.Lines) != 1 {
		return nil
	}
	c, _ := m.Lines[0].Event.(*events.Claim)
	return c
}
