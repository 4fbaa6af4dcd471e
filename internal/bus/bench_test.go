package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// benchBus is a deployment of its own and a connection to it.
func benchBus(b *testing.B) *bus.Bus {
	b.Helper()
	s, err := broker.Start(broker.Config{Dir: b.TempDir(), Port: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Stop(); err != nil {
			b.Error(err)
		}
	})
	c, err := bus.Connect(b.Context(), bus.Config{Name: b.Name()}.InProcess(s.InProcess()), &topology.Plan{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

func benchFrame(b *testing.B, n int) []byte {
	b.Helper()
	var es []events.Event
	for i := range n {
		es = append(es, chunk("01938a5c-7c1e-7000-8000-000000000001", i))
	}
	frame, err := events.AppendFrame(nil, es...)
	if err != nil {
		b.Fatal(err)
	}
	return frame
}

// BenchmarkAppend is a compare-and-append from call to acknowledgement.
func BenchmarkAppend(b *testing.B) {
	c := benchBus(b)
	a, seq, frame := gen(c, id()), uint64(0), benchFrame(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if seq, err = c.Lane(a).Append(b.Context(), seq, frame); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLane appends events: as fast as the lane accepts them, and each after
// the one before it is stored.
func BenchmarkLane(b *testing.B) {
	for name, flush := range map[string]bool{"gathering": false, "each acknowledged": true} {
		b.Run(name, func(b *testing.B) {
			c := benchBus(b)
			lane := c.Lane(gen(c, id())).Open(b.Context(), 0)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				err := lane.Append(chunk("a", n))
				if err == nil && flush {
					_, err = lane.Flush()
				}
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if _, err := lane.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(n)/float64(lane.Frames()), "events/frame")
		})
	}
}

// BenchmarkAttachLive is an append and its way to a viewer that is attached.
func BenchmarkAttachLive(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d events in a frame", n), func(b *testing.B) {
			c := benchBus(b)
			conversation := id()
			a, frame := gen(c, conversation), benchFrame(b, n)
			seq, err := c.Lane(a).Append(b.Context(), 0, frame)
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			seen, done := make(chan uint64), make(chan error, 1)
			go func() {
				for m, err := range c.Conversation(conversation).Attach(ctx, bus.From{}) {
					if err != nil {
						done <- err
						return
					}
					select {
					case seen <- m.Sequence:
					case <-ctx.Done():
					}
				}
				done <- nil
			}()
			<-seen
			b.ReportAllocs()
			for b.Loop() {
				if seq, err = c.Lane(a).Append(b.Context(), seq, frame); err != nil {
					b.Fatal(err)
				}
				if got := <-seen; got != seq {
					b.Fatalf("the viewer saw %d, not %d", got, seq)
				}
			}
			stop()
			if err := <-done; !errors.Is(err, context.Canceled) {
				b.Error(err)
			}
		})
	}
}

// BenchmarkFollowCatchesUp reads a log that many conversations wrote in turns,
// as an orchestrator does that takes over. The cost of a message must not grow
// with the number of conversations.
func BenchmarkFollowCatchesUp(b *testing.B) {
	for _, conversations := range []int{10, 1000} {
		b.Run(fmt.Sprintf("%d conversations", conversations), func(b *testing.B) {
			c := benchBus(b)
			const total = 10_000
			fillLog(b, c, conversations, total)
			caughtUp := errors.New("caught up")
			for b.Loop() {
				n := 0
				err := c.Shard(0).Follow(b.Context(), 0, func(bus.Message) error { n++; return nil }, func() error { return caughtUp })
				if !errors.Is(err, caughtUp) || n != total {
					b.Fatalf("%d messages: %v", n, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/total, "µs/message")
		})
	}
}

func fillLog(b *testing.B, c *bus.Bus, conversations, total int) {
	b.Helper()
	nc, js := c.Raw()
	subjects := make([]string, conversations)
	for i := range subjects {
		subjects[i] = gen(c, id()).Subject(topology.Conv)
	}
	frame := benchFrame(b, 1)
	for i := range total {
		var err error
		if i%256 == 255 || i == total-1 { // what is acknowledged bounds what is under way
			_, err = js.Publish(b.Context(), subjects[i%conversations], frame)
		} else {
			err = nc.Publish(subjects[i%conversations], frame)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFacts reads the first facts of a conversation with a new message: alone,
// and with 20,000 facts of other conversations behind or between those that are
// read.
func BenchmarkFacts(b *testing.B) {
	for name, others := range map[string]struct{ between, behind int }{"quiet": {}, "behind": {behind: 20_000}, "between": {between: 20_000}} {
		b.Run(name, func(b *testing.B) {
			c := benchBus(b)
			conversation := id()
			send := func(conversation string) uint64 {
				input := id()
				seq, err := c.Conversation(conversation).Publish(b.Context(), input, &events.UserMessage{ID: input, Text: "hello"})
				if err != nil {
					b.Fatal(err)
				}
				return seq
			}
			send(conversation)
			send(conversation)
			publishFacts(b, c, others.between)
			last := send(conversation)
			publishFacts(b, c, others.behind)
			send(conversation)
			copied(b, c, others.between+others.behind+4)
			for b.Loop() {
				n := 0
				if err := c.Conversation(conversation).Facts(b.Context(), last, func(bus.Message) error { n++; return nil }); err != nil || n != 3 {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// publishFacts publishes n facts of other conversations, four of each.
func publishFacts(b *testing.B, c *bus.Bus, n int) {
	b.Helper()
	_, js := c.Raw()
	frame := benchFrame(b, 1)
	for i := range n {
		other := fmt.Sprintf("01938a5c-7c1e-7000-8000-%012d", i/4)
		if _, err := js.PublishAsync(topology.At(c.Shards(), other, events.ChannelIn).Subject(topology.Conv), frame); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			<-js.PublishAsyncComplete()
		}
	}
	<-js.PublishAsyncComplete()
}
