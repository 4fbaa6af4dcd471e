package bus_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// shortenTTL shortens the time to live of a bucket, so that its entries expire
// during a test.
func shortenTTL(t *testing.T, b *bus.Bus, bucket string, ttl time.Duration) jetstream.KeyValue {
	t.Helper()
	_, js := b.Raw()
	stream, err := js.Stream(t.Context(), topology.BucketStream(bucket))
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config // with its replicas
	cfg.MaxAge, cfg.Duplicates = ttl, ttl
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestLease(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	const ttl = 600 * time.Millisecond
	kv := shortenTTL(t, b, topology.BucketLeases, ttl)
	// keep takes a shard and keeps it until stop is called, which waits.
	keep := func(t *testing.T, shard int, owner string) (ended chan error, stop context.CancelFunc) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		l, err := b.Shard(shard).TakeLease(within(t, 10*time.Second), owner)
		if err != nil {
			stop()
			t.Fatal(err)
		}
		ended = make(chan error, 1)
		go func() { ended <- l.Keep(ctx) }()
		t.Cleanup(stop)
		return ended, stop
	}
	t.Run("has one holder, and the next when that one stops, at once", func(t *testing.T) {
		ended, stop := keep(t, 0, "one")
		if _, err := b.Shard(0).TakeLease(within(t, 2*ttl), "two"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a second holder: %v", err)
		}
		began := time.Now()
		stop()
		if err := take(t, ended); !errors.Is(err, context.Canceled) {
			t.Errorf("keep ended with %v", err)
		}
		_, stop = keep(t, 0, "two")
		defer stop()
		if d := time.Since(began); d > ttl {
			t.Errorf("the next holder waited %s", d)
		}
	})
	t.Run("of different shards are independent", func(t *testing.T) {
		keep(t, 1, "one")
		keep(t, 2, "two")
	})
	t.Run("runs out when its holder goes silent", func(t *testing.T) {
		if _, err := b.Shard(3).TakeLease(t.Context(), "killed"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		keep(t, 3, "next")
		if d := time.Since(began); d > 3*ttl {
			t.Errorf("the next holder waited %s", d)
		}
	})
	t.Run("that somebody else has now is lost", func(t *testing.T) {
		ended, _ := keep(t, 4, "one")
		if _, err := kv.Put(t.Context(), "shard.4", []byte("two")); err != nil {
			t.Fatal(err)
		}
		if err := take(t, ended); !errors.Is(err, bus.ErrLeaseLost) {
			t.Errorf("keep ended with %v", err)
		}
	})
	t.Run("that was broken is lost and free", func(t *testing.T) {
		ended, _ := keep(t, 0, "one")
		if err := b.Deployment().BreakLeases(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := take(t, ended); !errors.Is(err, bus.ErrLeaseLost) {
			t.Errorf("keep ended with %v", err)
		}
		keep(t, 0, "two")
	})
}

func TestLeaseIsLostWithTheServer(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := through(t, s.URL())
	b := join(t, p.url())
	const ttl = 600 * time.Millisecond
	shortenTTL(t, b, topology.BucketLeases, ttl)
	l, err := b.Shard(0).TakeLease(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	p.refuse(true)
	p.cut()
	began := time.Now()
	if err := l.Keep(within(t, 10*time.Second)); !errors.Is(err, bus.ErrLeaseLost) {
		t.Errorf("keep ended with %v", err)
	}
	if d := time.Since(began); d > 2*ttl {
		t.Errorf("it was noticed after %s, when another may have owned the shard for long", d)
	}
}

// TestALeaseIsKeptWhenTheAnswerToARenewalIsLost: it was stored, so that the next one names
// another revision than the last.
func TestALeaseIsKeptWhenTheAnswerToARenewalIsLost(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := through(t, s.URL())
	b, other := join(t, s.URL()), join(t, p.url())
	kv := shortenTTL(t, b, topology.BucketLeases, 4*time.Second)
	l, err := other.Shard(0).TakeLease(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	renewals, err := kv.Watch(t.Context(), topology.ShardKey(0), jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = renewals.Stop() }) // its consumer ends with the server
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	p.mute()
	go func() { ended <- l.Keep(ctx) }()
	takeIn(t, renewals.Updates(), 10*time.Second) // and its answer is lost
	p.cut()
	for range 3 {
		select {
		case <-renewals.Updates():
		case err := <-ended:
			t.Fatalf("keep ended with %v", err)
		case <-time.After(20 * time.Second):
			t.Fatal("the lease is not renewed")
		}
	}
	stop()
	if err := take(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("keep ended with %v", err)
	}
}

// TestALeaseIsTakenWhenTheAnswerIsLost: its taker has it, and must not wait until it runs
// out.
func TestALeaseIsTakenWhenTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := through(t, s.URL())
	b, other := join(t, s.URL()), join(t, p.url())
	kv := shortenTTL(t, b, topology.BucketLeases, 2*time.Second)
	if _, err := b.Shard(0).TakeLease(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	nc, _ := b.Raw()
	key := topology.EntrySubject(topology.BucketLeases, topology.ShardKey(0))
	tries := make(chan *nats.Msg, 64)
	subscribe(t, nc, key, func(m *nats.Msg) { tries <- m })
	taken := make(chan error, 1)
	ctx := within(t, 30*time.Second)
	go func() {
		_, err := other.Shard(0).TakeLease(ctx, "two")
		taken <- err
	}()
	take(t, tries) // in vain
	p.mute()
	eventually(t, func() bool {
		held, err := kv.Get(t.Context(), topology.ShardKey(0))
		return err == nil && string(held.Value()) == "two"
	}, "the other does not take it")
	shortenTTL(t, b, topology.BucketLeases, time.Hour)
	p.cut()
	if err := take(t, taken); err != nil {
		t.Errorf("it has the lease, and does not see it: %v", err)
	}
}

func TestCheckpoint(t *testing.T) {
	b := inProcess(t)
	for _, want := range []uint64{0, 1, 812, 1<<64 - 1, 7} {
		if want > 0 {
			if err := b.Shard(3).SetCheckpoint(t.Context(), want); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := b.Shard(3).Checkpoint(t.Context()); err != nil || got != want {
			t.Errorf("checkpoint %d, %v; want %d", got, err, want)
		}
	}
	if got, err := b.Shard(4).Checkpoint(t.Context()); err != nil || got != 0 {
		t.Errorf("checkpoint of another shard: %d, %v", got, err)
	}
}

func TestRoster(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	const ttl = 600 * time.Millisecond
	shortenTTL(t, b, topology.BucketPresence, ttl)
	roster := b.Presence().NewRoster()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- roster.Run(ctx) }()
	take(t, roster.Ready())
	if len(roster.Offers("")) > 0 {
		t.Error("somebody is there")
	}
	names := func(kind string) (all []string) {
		for _, o := range roster.Offers(kind) {
			all = append(all, o.Kind+" "+o.Name+" of "+o.Worker)
		}
		return all
	}
	shows := func(t *testing.T, want ...string) {
		t.Helper()
		eventually(t, func() bool { return slices.Equal(names(""), want) }, "the roster does not become what it should")
	}
	present, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		left <- b.Presence().Stay(present, []bus.Offer{
			{Kind: "tool", Name: "clock", Worker: "w1", Tool: &events.ToolSpec{Name: "clock"}},
			{Kind: "llm", Name: "ollama", Worker: "w1", Model: "ollama/llama3"},
		})
	}()
	shows(t, "llm ollama of w1", "tool clock of w1")
	if got := names("llm"); len(got) != 1 {
		t.Errorf("of kind llm: %q", got)
	}
	t.Run("shows who stays, past the time to live", func(t *testing.T) {
		select {
		case <-time.After(2 * ttl):
		case err := <-left:
			t.Fatal(err)
		}
		shows(t, "llm ollama of w1", "tool clock of w1")
	})
	t.Run("is complete for a caller without one", func(t *testing.T) {
		got, err := b.Presence().Offers(t.Context())
		if err != nil || len(got) != 2 || got[1].Tool == nil || got[1].Tool.Name != "clock" {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("drops who leaves", func(t *testing.T) {
		leave()
		if err := take(t, left); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		shows(t)
	})
	t.Run("drops who goes silent", func(t *testing.T) {
		if err := b.Presence().Announce(t.Context(), named("killed", "clock")); err != nil {
			t.Fatal(err)
		}
		shows(t, "tool clock of killed")
		shows(t)
	})
	t.Run("runs again after it ended", func(t *testing.T) {
		stop()
		if err := take(t, ended); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		go func() { ended <- roster.Run(ctx) }()
		go func() { left <- b.Presence().Stay(ctx, named("w2", "late")) }()
		shows(t, "tool late of w2")
		stop()
		take(t, ended)
		take(t, left)
	})
}

func TestAnnounceRefusesNamesThatAreNoTokens(t *testing.T) {
	b := inProcess(t)
	for _, o := range []bus.Offer{{Kind: "tool", Name: "a.b", Worker: "w"}, {Kind: "tool", Name: "a", Worker: "w.*"}, {Kind: "tool", Worker: "w"}, {Kind: "a.>", Name: "a", Worker: "w"}} {
		if err := b.Presence().Announce(t.Context(), []bus.Offer{o}); !errors.Is(err, topology.ErrBadID) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
