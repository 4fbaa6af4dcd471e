package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// filled is a roster that runs until the test ends.
func filled(t *testing.T, b *bus.Bus) *bus.Roster {
	t.Helper()
	roster, ended := b.Presence().NewRoster(), make(chan error, 1)
	go func() { ended <- roster.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	take(t, roster.Ready())
	return roster
}

func named(worker string, names ...string) (all []bus.Offer) {
	for _, name := range names {
		all = append(all, bus.Offer{Kind: "tool", Name: name, Worker: worker, Tool: &events.ToolSpec{Name: name}})
	}
	return all
}

// A look at a roster of 1,000 tools costs as little as at one of 4, until
// something in it changes.
func TestASnapshotOfTheRosterCostsNothingWhileItStaysTheSame(t *testing.T) {
	b := inProcess(t)
	roster := filled(t, b)
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("tool-%d", i))
	}
	p := b.Presence().NewAnnouncement()
	set := func(offers []bus.Offer) {
		t.Helper()
		if _, err := p.Set(t.Context(), offers); err != nil {
			t.Fatal(err)
		}
	}
	set(named("w", names...))
	eventually(t, func() bool { return len(roster.Offers("tool")) == len(names) }, "the roster does not fill")
	before := roster.Snapshot()
	if n := testing.AllocsPerRun(100, func() { roster.Offers("tool"); roster.Offers(""); roster.Snapshot() }); n > 0 {
		t.Errorf("a look allocates %v times", n)
	}
	set(named("w", names...)) // the same once more
	set(named("w", append(names, "late")...))
	eventually(t, func() bool { return len(roster.Offers("tool")) == len(names)+1 }, "the roster does not change")
	if roster.Snapshot() == before || len(before.Offers) != len(names) {
		t.Error("a snapshot has changed")
	}
}

func TestAHeartbeatIsNoChange(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	const ttl = 600 * time.Millisecond
	shortenTTL(t, b, topology.BucketPresence, ttl)
	roster := filled(t, b)
	ctx, stop := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- b.Presence().Stay(ctx, named("w", "clock")) }()
	eventually(t, func() bool { return len(roster.Offers("tool")) == 1 }, "the roster does not fill")
	before := roster.Snapshot()
	select { // several heartbeats
	case <-time.After(2 * ttl):
	case err := <-left:
		t.Fatal(err)
	}
	if roster.Snapshot() != before {
		t.Error("a heartbeat makes another snapshot")
	}
	stop()
	take(t, left)
}

func TestAWithdrawnToolIsDistinguishedFromOneWhoseWorkerLeft(t *testing.T) {
	b := inProcess(t)
	const ttl = 2 * time.Second
	shortenTTL(t, b, topology.BucketPresence, ttl)
	roster := filled(t, b)
	shows := func(offers int, withdrawn ...string) {
		t.Helper()
		eventually(t, func() bool {
			s := roster.Snapshot()
			for _, name := range withdrawn {
				if _, is := s.Withdrawn[name]; !is {
					return false
				}
			}
			return len(s.Offers) == offers && len(s.Withdrawn) == len(withdrawn)
		}, fmt.Sprintf("the roster does not reach %d offers and %q withdrawn", offers, withdrawn))
	}
	goesOn, leaves := b.Presence().NewAnnouncement(), b.Presence().NewAnnouncement()
	for p, offers := range map[*bus.Announcement][]bus.Offer{goesOn: named("one", "clock", "hammer"), leaves: named("two", "clock", "saw")} {
		if _, err := p.Set(t.Context(), offers); err != nil {
			t.Fatal(err)
		}
	}
	shows(4)
	leaves.Leave(t.Context())
	shows(2)
	if _, err := goesOn.Set(t.Context(), named("one", "clock")); err != nil {
		t.Fatal(err)
	}
	shows(1, "hammer")
	if got, err := b.Presence().Offers(t.Context()); err != nil || len(got) != 1 || got[0].Name != "clock" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := leaves.Set(t.Context(), []bus.Offer{{Kind: "tool", Name: "hammer", Worker: "two", Tool: &events.ToolSpec{Name: "hammer", Effect: events.EffectPure}}}); err != nil {
		t.Errorf("the name of a withdrawn tool is not free: %v", err)
	}
	if _, err := goesOn.Set(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	shows(1, "clock", "hammer")
	t.Run("and not withdrawn while another worker offers it", func(t *testing.T) {
		if _, err := goesOn.Set(t.Context(), named("one", "saw", "axe")); err != nil {
			t.Fatal(err)
		}
		other := b.Presence().NewAnnouncement()
		if _, err := other.Set(t.Context(), named("three", "saw")); err != nil {
			t.Fatal(err)
		}
		if _, err := goesOn.Set(t.Context(), named("one", "axe")); err != nil {
			t.Fatal(err)
		}
		other.Leave(t.Context())
		eventually(t, func() bool { return len(roster.Offers("")) == 2 }, "the roster does not change")
		if _, is := roster.Snapshot().Withdrawn["saw"]; is {
			t.Error("the saw is withdrawn")
		}
		if _, err := goesOn.Set(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	})
	leaves.Leave(t.Context())
	shows(0) // when the withdrawals have expired
}

func TestKnownTools(t *testing.T) {
	b := inProcess(t)
	spec := events.ToolSpec{Name: "clock", Description: "tells the time", Schema: []byte(`{"type":"object"}`), Effect: events.EffectPure}
	seen := time.UnixMilli(1_700_000_000_000)
	keep := func(spec events.ToolSpec, revision uint64) uint64 {
		t.Helper()
		now, err := b.Presence().KeepTool(t.Context(), offer.Known{Tool: spec, SeenMS: seen.UnixMilli()}, revision)
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	keep(events.ToolSpec{Name: "hammer"}, 0)
	revision := keep(spec, keep(events.ToolSpec{Name: "clock"}, 0))
	for _, old := range []uint64{0, revision - 1} {
		if _, err := b.Presence().KeepTool(t.Context(), offer.Known{Tool: events.ToolSpec{Name: "clock"}}, old); !errors.Is(err, bus.ErrChanged) {
			t.Errorf("in place of revision %d: %v", old, err)
		}
	}
	if err := b.Presence().DropTool(t.Context(), "hammer"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Presence().KeepTool(t.Context(), offer.Known{Tool: events.ToolSpec{Name: "a.b"}}, 0); err == nil {
		t.Error("a name that is no token is kept")
	}
	known, err := b.Presence().KnownTools(t.Context())
	if changed, err := b.Presence().KnownSince(t.Context(), revision+1); err != nil || changed == nil || changed.Name != "hammer" || !changed.Removed {
		t.Errorf("changed after %d: %+v, %v", revision, changed, err)
	}
	if got := known["clock"]; err != nil || len(known) != 1 || fmt.Sprint(got.Tool) != fmt.Sprint(spec) || got.SeenMS != seen.UnixMilli() {
		t.Errorf("%+v, %v", known, err)
	}
}
