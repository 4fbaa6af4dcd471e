package bus_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// behind returns a connection through a proxy, and one that the proxy does not cut.
func behind(t *testing.T) (cut, steady *bus.Bus, p *proxy) {
	t.Helper()
	s := start(t)
	steady = join(t, s.URL())
	p = through(t, s.URL())
	return join(t, p.url()), steady, p
}

func TestAWorkerIsGoneOnlyAfterALifetimeWithAConnection(t *testing.T) {
	t.Parallel()
	const ttl = 500 * time.Millisecond
	cut, steady, p := behind(t)
	_, js := steady.Raw()
	for _, cfg := range (topology.Plan{}).Buckets() {
		if cfg.Name == topology.BucketStream(topology.BucketPresence) {
			cfg.MaxAge, cfg.Duplicates = ttl, ttl
			if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone := func(sure bool) bool {
		t.Helper()
		wait, err := cut.Presence().UntilGone(t.Context(), "other", sure)
		if err != nil {
			t.Fatal(err)
		}
		return wait == 0
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	offers := []bus.Offer{{Kind: "llm", Name: "x", Worker: "other"}}
	if err := steady.Presence().Announce(ctx, offers); err != nil {
		t.Fatal(err)
	}
	go func() { left <- steady.Presence().Stay(ctx, offers) }()
	<-time.After(2 * ttl)
	if gone(false) || gone(true) {
		t.Error("a worker that is present is gone")
	}
	p.cut()
	eventually(t, func() bool { return !cut.Connected() }, "the connection is not cut")
	eventually(t, cut.Connected, "the connection does not come back")
	leave()
	<-left
	back := time.Now()
	if gone(false) {
		t.Error("a worker counts as gone right after a reconnect")
	}
	eventually(t, func() bool { return gone(false) }, "it is never gone")
	if took := time.Since(back); took < ttl*9/10 {
		t.Errorf("it is gone after %v: an announcement lives for %v", took, ttl)
	}
	if wait, err := cut.Presence().UntilGone(t.Context(), "another", true); wait == 0 || err != nil {
		t.Errorf("a worker that was missed for the first time is gone for sure: %v", err)
	}
	eventually(t, func() bool { return gone(true) }, "it is never gone for sure")
}

// record stores a record of presence as another program would.
func record(t *testing.T, b *bus.Bus, key, text string) {
	t.Helper()
	_, js := b.Raw()
	if _, err := js.Publish(t.Context(), topology.EntrySubject(topology.BucketPresence, key), []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestAWorkerThatMissesItsBeatsIsGone(t *testing.T) {
	t.Parallel()
	b := join(t, start(t).URL())
	left := func(worker string) time.Duration {
		t.Helper()
		wait, err := b.Presence().UntilGone(t.Context(), worker, false)
		if err != nil {
			t.Fatal(err)
		}
		return wait
	}
	record(t, b, "llm.x.beats", `{"kind":"llm","name":"x","worker":"beats","beat_ms":150}`)
	record(t, b, "llm.y.beats", `{"kind":"llm","name":"y","worker":"beats","beat_ms":150}`)
	record(t, b, "llm.x.lives", `{"kind":"llm","name":"x","worker":"lives"}`)
	record(t, b, "llm.x.hasty", `{"kind":"llm","name":"x","worker":"hasty","beat_ms":1}`)
	sent := time.Now()
	if left("beats") == 0 {
		t.Error("a worker that has just announced itself is gone")
	}
	<-time.After(300 * time.Millisecond)
	record(t, b, "llm.y.beats", `{"kind":"llm","name":"y","worker":"beats","beat_ms":150}`)
	again := time.Now()
	eventually(t, func() bool { return left("beats") == 0 }, "a worker that misses its beats is never gone")
	if took := time.Since(again); took < 500*time.Millisecond {
		t.Errorf("it is gone %v after its last beat, want four beats", took)
	}
	if took := time.Since(sent); took > topology.PresenceTTL/2 {
		t.Errorf("it is gone after %v: only when its record expired", took)
	}
	for _, worker := range []string{"lives", "hasty"} {
		if left(worker) == 0 {
			t.Errorf("%q, whose record names no beat that counts, is gone while the record exists", worker)
		}
	}
	if wait, err := b.Presence().UntilGone(t.Context(), "beats", true); wait == 0 || err != nil {
		t.Errorf("it is gone for sure at once: %v", err)
	}
}

func TestARunningWorkerBeatsMoreOftenThanItAnnouncesEverything(t *testing.T) {
	t.Parallel()
	b := join(t, start(t).URL())
	nc, _ := b.Raw()
	sub, err := nc.SubscribeSync(topology.EntrySubject(topology.BucketPresence, ">"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		left <- b.Presence().Stay(ctx, []bus.Offer{{Kind: "llm", Name: "x", Worker: "w", Default: true, Model: "x/m"}, {Kind: "llm", Name: "y", Worker: "w"}})
	}()
	var got []string
	for range 5 { // both, two beats, and the first of both again
		m, err := sub.NextMsg(topology.PresenceTTL)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, topology.EntryKey(topology.BucketPresence, m.Subject))
		if !strings.Contains(string(m.Data), `"beat_ms":1000`) {
			t.Errorf("the record does not name its beat: %s", m.Data)
		}
	}
	leave()
	<-left
	if want := []string{"llm.x.w", "llm.y.w", "llm.x.w", "llm.x.w", "llm.x.w"}; !slices.Equal(got, want) {
		t.Errorf("announced %q, want %q", got, want)
	}
}
