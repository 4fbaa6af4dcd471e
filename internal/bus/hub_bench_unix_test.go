//go:build unix

package bus

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// tally counts deliveries.
type tally struct {
	n, want atomic.Int64
	full    chan struct{}
}

func (t *tally) got() {
	if t.n.Add(1) == t.want.Load() {
		t.full <- struct{}{}
	}
}

// benchViewers is how many viewers [BenchmarkViewers] has.
const benchViewers = 1000

// watchers are the ways to watch a conversation that [BenchmarkViewers] compares. The chunk
// with an index below 0 is the last.
var watchers = map[string]func(b *testing.B, bus *Bus, id string, got func()) (stop func()){
	"attached": func(b *testing.B, bus *Bus, id string, got func()) func() {
		var all sync.WaitGroup
		for range benchViewers {
			all.Go(func() {
				for m, err := range bus.Conversation(id).Attach(b.Context(), From{}) {
					if err != nil {
						b.Error(err)
						return
					}
					got()
					if m.Lines[0].Event.(*events.TextChunk).Index < 0 {
						return
					}
				}
			})
		}
		return all.Wait
	},
	"plain": func(b *testing.B, bus *Bus, id string, got func()) func() {
		var subs []*nats.Subscription
		for range benchViewers {
			sub, err := bus.nc.Subscribe(topology.Everything(topology.Live, bus.Shards(), id), func(*nats.Msg) { got() })
			if err != nil {
				b.Fatal(err)
			}
			subs = append(subs, sub)
		}
		if err := bus.nc.Flush(); err != nil {
			b.Fatal(err)
		}
		return func() {
			for _, s := range subs {
				_ = s.Unsubscribe() // fails only when the connection is closed
			}
		}
	},
}

// BenchmarkViewers writes a conversation at 200 messages a second for 1,000 viewers in this
// process, and for as many plain NATS subscriptions: processor time for a message that is
// delivered, and memory for a viewer, with what the server in this process has of it.
func BenchmarkViewers(b *testing.B) {
	for name, watch := range watchers {
		b.Run(name, func(b *testing.B) {
			bus := deployment(b)
			id := uuid.Must(uuid.NewV7()).String()
			lane := bus.Lane(topology.At(bus.Shards(), id, events.ChannelGen)).Open(b.Context(), 0)
			write := func(index int) {
				if err := lane.Append(text(index)); err != nil {
					b.Fatal(err)
				}
				if _, err := lane.Flush(); err != nil {
					b.Fatal(err)
				}
			}
			count := tally{full: make(chan struct{}, 1)}
			count.want.Store(benchViewers)
			before := memory()
			stop := watch(b, bus, id, count.got)
			write(0)
			<-count.full
			kept := memory() - before
			count.n.Store(0)
			count.want.Store(int64(b.N) * benchViewers)
			cpu := used(b)
			next := time.NewTicker(5 * time.Millisecond)
			defer next.Stop()
			for n := 0; b.Loop(); n++ {
				write(n + 1)
				<-next.C
			}
			<-count.full
			b.ReportMetric(float64((used(b)-cpu).Nanoseconds())/float64(b.N*benchViewers), "cpu-ns/delivery")
			b.ReportMetric(float64(kept)/benchViewers, "B/viewer")
			write(-1)
			stop()
			if _, err := lane.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// memory is what this process uses of the heap and for stacks.
func memory() int64 {
	for range 5 { // each halves the stacks that are not used
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// used is the processor time that this process has used.
func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
