package bus

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// A viewer of a conversation with 10,000 calls keeps as little of them as one
// with 1,000, and yields every message once and in order.
func TestAViewersMemoryDoesNotGrowWithCalls(t *testing.T) {
	const calls = 10_000
	b := deployment(t)
	conversation := uuid.Must(uuid.NewV7()).String()
	output := func(call int) string {
		id := fmt.Sprintf("0198c0de-0000-7000-8000-%012d", call)
		return topology.OfCall(b.Shards(), conversation, events.ChannelOut, id).Subject(topology.Conv)
	}
	write := func(call int) {
		if err := b.nc.Publish(output(call), []byte(`{"type":"ToolOutput"}`)); err != nil {
			t.Error(err)
		}
	}
	for call := range calls / 2 { // in the log before the viewer attaches
		write(call)
	}
	last, most := uint64(0), 0
	v := &viewer{bus: b, conversation: conversation}
	v.yield = func(m Message, err error) bool {
		if err != nil || m.Bad != nil {
			t.Error(err, m.Bad)
			return false
		}
		if m.Sequence != last+1 {
			t.Errorf("message %d follows %d", m.Sequence, last)
			return false
		}
		last, most = m.Sequence, max(most, len(v.seen.newer)+len(v.seen.old))
		switch n := int(m.Sequence); { // the rest live, as fast as it is seen
		case n == calls/2:
			for call := calls / 2; call < calls; call++ {
				write(call)
			}
		case n == calls: // and once more of each, evicted long ago
			for call := range calls {
				write(call)
			}
		}
		return m.Sequence < 2*calls
	}
	if err := v.run(t.Context()); !errors.Is(err, errStopped) {
		t.Error(err)
	}
	if last != 2*calls || most > positionsMost {
		t.Fatalf("the viewer gave %d messages of %d and kept %d subjects, want at most %d", last, 2*calls, most, positionsMost)
	}
	t.Run("and finds holes, and no doubles, in subjects it has evicted", func(t *testing.T) {
		var got []uint64
		v.yield = func(m Message, err error) bool { got = append(got, m.Sequence-2*calls); return err == nil }
		for _, call := range []int{8, 7, 7, 9, 6, 9} {
			write(call)
		}
		if err := b.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		second := func(call int) uint64 { return uint64(calls + call + 1) }
		for range 2 { // the second time all are doubles
			for _, m := range []*nats.Msg{
				liveMessage(output(8), 2*calls+1, second(8)),
				liveMessage(output(7), 2*calls+3, 2*calls+2), // the one before it was lost
				liveMessage(output(6), 2*calls+5, second(6)), // overtakes one of 9 that was lost
				liveMessage(output(9), 2*calls+6, 2*calls+4),
			} {
				if err := v.live(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
		}
		if fmt.Sprint(got) != "[1 2 3 5 4 6]" && fmt.Sprint(got) != "[1 2 3 4 5 6]" {
			t.Errorf("the viewer gave the messages %d", got)
		}
	})
}

// liveMessage is a message as the server republishes it.
func liveMessage(subject string, sequence, before uint64) *nats.Msg {
	live := string(topology.Live) + strings.TrimPrefix(subject, string(topology.Conv))
	return &nats.Msg{Subject: live, Data: []byte(`{"type":"ToolOutput"}`), Header: nats.Header{
		"Nats-Sequence":      {fmt.Sprint(sequence)},
		"Nats-Last-Sequence": {fmt.Sprint(before)},
		"Nats-Time-Stamp":    {time.Now().UTC().Format(time.RFC3339Nano)},
	}}
}

// deployment is an embedded server and a connection to it.
func deployment(t testing.TB) *Bus {
	t.Helper()
	s, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	b, err := Connect(t.Context(), Config{Name: t.Name(), Options: []nats.Option{s.InProcess()}}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}
