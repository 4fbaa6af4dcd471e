package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// BenchmarkTimersFire measures how late timers fire at the follower: those that
// fire alone, those that fire within 250 ms of others, for which the server
// waits, and with many others set.
func BenchmarkTimersFire(b *testing.B) {
	for _, c := range []struct {
		n, others int
		gap       time.Duration
	}{{20, 0, 300 * time.Millisecond}, {200, 0, 10 * time.Millisecond}, {200, 10_000, 10 * time.Millisecond}} {
		b.Run(fmt.Sprintf("every %s with %d others", c.gap, c.others), func(b *testing.B) {
			s, err := broker.Start(broker.Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Stop() }()
			conn, err := bus.Connect(b.Context(), bus.Config{Options: []nats.Option{s.InProcess()}}, &topology.Plan{})
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			for range c.others {
				if err := conn.Timers().Set(b.Context(), id(), time.Now().Add(time.Hour)); err != nil {
					b.Fatal(err)
				}
			}
			var late, sets, drops []time.Duration
			for b.Loop() {
				for i := range c.n {
					began := time.Now()
					if err := conn.Timers().Set(b.Context(), id(), began.Add(500*time.Millisecond+time.Duration(i)*c.gap)); err != nil {
						b.Fatal(err)
					}
					sets = append(sets, time.Since(began))
				}
				ctx, stop := context.WithCancel(b.Context())
				left := c.n
				if err := conn.Shard(0).FollowDue(ctx, func(d bus.Due) error {
					late = append(late, time.Since(d.At))
					if left--; left == 0 {
						stop()
					}
					began := time.Now()
					err := conn.Timers().DropDue(b.Context(), d)
					drops = append(drops, time.Since(began))
					return err
				}); !errors.Is(err, context.Canceled) {
					b.Fatal(err)
				}
			}
			for name, all := range map[string][]time.Duration{"late": late, "set": sets, "drop": drops} {
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, name+"-p50-ms")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, name+"-p99-ms")
			}
		})
	}
}
