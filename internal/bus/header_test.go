package bus_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// FuzzHeaders publishes inputs with any header, and reads each where it is.
func FuzzHeaders(f *testing.F) {
	for _, status := range []string{"100", "204", "404", "408", "409", "503"} {
		f.Add("Status", status, "Description", "Consumer Deleted", []byte(""))
		f.Add("Status", status, "Nats-Num-Pending", "0", []byte(`{"type":"Cancel"}`))
	}
	for _, header := range []string{"Nats-Sequence", "Nats-Stream", "Nats-Subject", "Nats-Time-Stamp", "Nats-Last-Sequence", "Nats-Num-Pending", "Nats-Stream-Source", "Nats-Msg-Id", "Nats-TTL", "nats-sequence"} {
		f.Add(header, "1", header, "x", []byte("{}"))
	}
	b := inProcess(f)
	_, js := b.Raw()
	conversation := id()
	subject := topology.At(b.Shards(), conversation, events.ChannelIn).Subject(topology.Conv)
	f.Fuzz(func(t *testing.T, name, value, other, another string, body []byte) {
		m := &nats.Msg{Subject: subject, Header: nats.Header{name: {value}}, Data: body}
		m.Header[other] = append(m.Header[other], another)
		ack, err := js.PublishMsg(t.Context(), m)
		if err != nil || ack.Duplicate {
			return // refused by the server, or by the client
		}
		got, read := uint64(0), errors.New("read")
		err = b.Shard(0).Read(t.Context(), ack.Sequence-1, subject, func(m bus.Message) error { got = m.Sequence; return read })
		if !errors.Is(err, read) || got != ack.Sequence {
			t.Errorf("the reader got %d where %d is due: %v", got, ack.Sequence, err)
		}
		last, err := b.Lane(topology.At(b.Shards(), conversation, events.ChannelIn)).Last(t.Context())
		if err != nil || last.Sequence != ack.Sequence || string(last.Data) != string(body) {
			t.Errorf("the last message is %d %q, not %d %q: %v", last.Sequence, last.Data, ack.Sequence, body, err)
		}
	})
}
