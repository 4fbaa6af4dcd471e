package bus_test

import (
	"context"
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
