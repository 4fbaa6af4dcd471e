package bus

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// crowd writes PARLEY_STREAM messages of other conversations to the log of a shard.
func crowd(b *testing.B, c *Bus, shard int) {
	b.Helper()
	frame, err := events.AppendFrame(nil, text(1))
	if err != nil {
		b.Fatal(err)
	}
	brokertest.Crowd(b, c.js, c.Shards(), shard, frame)
}

// stream writes a conversation of so many events, one in a message.
func stream(b testing.TB, c *Bus, a topology.Address, n int) {
	b.Helper()
	lane := c.Lane(a).Open(b.Context(), 0)
	for i := range n {
		if err := lane.Append(text(i)); err != nil {
			b.Fatal(err)
		}
		if _, err := lane.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := lane.Close(); err != nil {
		b.Fatal(err)
	}
}

// attach reads a conversation after a cursor to the end of the log.
func attach(ctx context.Context, c *Bus, id string, after uint64) (got int, last uint64, err error) {
	for m, err := range c.Conversation(id).Attach(ctx, From{After: Cursor{Sequence: after, Index: Whole}, Ended: true}) {
		if err != nil {
			return got, last, err
		}
		got, last = got+len(m.Lines), m.Sequence
	}
	return got, last, nil
}

// BenchmarkCatchUp reads a conversation of so many events, one in a message, to its end,
// in a log with PARLEY_STREAM messages of others before it and as many behind it.
func BenchmarkCatchUp(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bus := deployment(b)
			id := uuid.Must(uuid.NewV7()).String()
			a := topology.At(bus.Shards(), id, events.ChannelGen)
			crowd(b, bus, a.Shard)
			stream(b, bus, a, n)
			crowd(b, bus, a.Shard)
			for b.Loop() {
				got, _, err := attach(b.Context(), bus, id, 0)
				if err != nil || got != n {
					b.Fatalf("%d events, want %d; %v", got, n, err)
				}
			}
		})
	}
}

// BenchmarkResume reads the last 10 of so many events, like a viewer that was away for a
// moment.
func BenchmarkResume(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bus := deployment(b)
			id := uuid.Must(uuid.NewV7()).String()
			a := topology.At(bus.Shards(), id, events.ChannelGen)
			crowd(b, bus, a.Shard)
			stream(b, bus, a, n)
			_, last, err := attach(b.Context(), bus, id, 0)
			if err != nil {
				b.Fatal(err)
			}
			crowd(b, bus, a.Shard)
			for b.Loop() {
				got, _, err := attach(b.Context(), bus, id, last-10)
				if err != nil || got != 10 {
					b.Fatalf("%d events, want 10; %v", got, err)
				}
			}
		})
	}
}
