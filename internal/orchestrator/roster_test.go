package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// known is an orchestrator's knowledge of the workers, and the bus they are on.
func known(t *testing.T) (*bus.Bus, *offerings) {
	t.Helper()
	server, err := broker.Start(broker.Config{Dir: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	b, err := bus.Connect(t.Context(), bus.Config{}.InProcess(server.InProcess()), &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	roster, ended := b.Presence().NewRoster(), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- roster.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-roster.Ready()
	return b, offeringsOf(t, b, roster)
}

func offeringsOf(t *testing.T, b *bus.Bus, r *bus.Roster) *offerings {
	return newOfferings(b, r, slog.New(slog.NewTextHandler(t.Output(), nil)), func(string) events.Effect { return "" })
}

func tools(worker string, names ...string) (all []bus.Offer) {
	for _, name := range names {
		all = append(all, bus.Offer{Kind: "tool", Name: name, Worker: worker, Low: true, Tool: &events.ToolSpec{Name: name}})
	}
	return all
}

func set(t *testing.T, p *bus.Announcement, offers []bus.Offer) {
	t.Helper()
	if _, err := p.Set(t.Context(), offers); err != nil {
		t.Fatal(err)
	}
}

// offers waits until so many tools are offered and known.
func (o *offerings) offers(t *testing.T, offered, known int) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.After(10 * time.Second); ; {
		e := o.env(time.Now())
		if len(e.Tools) == offered && len(e.Known) == known {
			return
		}
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("%d tools are offered and %d known, want %d and %d", len(e.Tools), len(e.Known), offered, known)
		}
	}
}

func TestADecisionCopiesNoOffers(t *testing.T) {
	b, o := known(t)
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("tool-%d", i))
	}
	set(t, b.Presence().NewAnnouncement(), tools("w", names...))
	o.offers(t, 1000, 1000)
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() { o.env(now) }); n > 0 {
		t.Errorf("what a decision knows of 1,000 tools allocates %v times", n)
	}
}

func TestAToolIsKnownUntilItIsWithdrawn(t *testing.T) {
	b, o := known(t)
	one, two := b.Presence().NewAnnouncement(), b.Presence().NewAnnouncement()
	set(t, one, tools("one", "clock", "hammer", "saw"))
	set(t, two, tools("two", "clock"))
	o.offers(t, 3, 3)
	if err := o.save(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	t.Run("by a worker that continues, where no other offers it", func(t *testing.T) {
		set(t, one, tools("one", "clock", "saw"))
		set(t, one, tools("one", "saw"))
		o.offers(t, 2, 2)
		if _, is := o.env(time.Now()).Known["clock"]; !is {
			t.Error("the clock that another worker offers is unknown")
		}
	})
	t.Run("not when the last worker leaves", func(t *testing.T) {
		one.Leave(t.Context())
		two.Leave(t.Context())
		for len(o.roster.Offers("tool")) > 0 {
			o.env(time.Now())
		}
		o.offers(t, 2, 2)
		later := time.Now().Add(2 * topology.PresenceTTL)
		if e := o.env(later); len(e.Tools) != 0 || len(e.Known) != 2 || !o.low("clock") {
			t.Errorf("%d offered, %d known after the time to live, low %t", len(e.Tools), len(e.Known), o.low("clock"))
		}
	})
	t.Run("also for an orchestrator that starts later", func(t *testing.T) {
		if err := o.save(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		roster := b.Presence().NewRoster() // not the one in which the clock's withdrawal has not expired
		after := offeringsOf(t, b, roster)
		if err := after.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		var names []string
		for name := range after.env(time.Now().Add(time.Hour)).Known {
			names = append(names, name)
		}
		if len(names) != 2 || !reflect.DeepEqual(after.view.known, o.view.known) {
			t.Errorf("it knows %q", names)
		}
	})
	t.Run("and not for longer than a tool is kept", func(t *testing.T) {
		if e := o.env(time.Now().Add(topology.ToolsTTL + time.Hour)); len(e.Known) != 0 {
			t.Errorf("%d are known", len(e.Known))
		}
	})
}

func TestTheBucketOfToolsIsWrittenWhenSomethingIsNew(t *testing.T) {
	b, o := known(t)
	p := b.Presence().NewAnnouncement()
	set(t, p, tools("w", "clock"))
	o.offers(t, 1, 1)
	now := time.Now()
	saved := func(what string, now time.Time, want int64) {
		t.Helper()
		if err := o.save(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		all, err := b.Presence().KnownTools(t.Context())
		if err != nil || all["clock"].SeenMS != want {
			t.Errorf("%s: %+v, %v", what, all, err)
		}
	}
	saved("a new tool", now, now.UnixMilli())
	saved("the same", now.Add(time.Minute), now.UnixMilli())
	saved("the same half an hour later", now.Add(30*time.Minute), now.UnixMilli())
	saved("after more than an hour", now.Add(2*time.Hour), now.Add(2*time.Hour).UnixMilli())
	offers := tools("w", "clock")
	offers[0].Tool.Description = "tells the time"
	set(t, p, offers)
	for o.env(time.Now()).Tools["clock"].Description == "" {
	}
	saved("a changed tool", now.Add(121*time.Minute), now.Add(121*time.Minute).UnixMilli())
}

// TestTheDefaultModelOutlivesARestartOfItsWorkers: a worker withdraws its offers one by
// one. Before, the orchestrator took what was left for a moment, a provider without a
// model, for the default, and turns that were sent before the workers were back failed
// (seed 11 of make chaos).
func TestTheDefaultModelOutlivesARestartOfItsWorkers(t *testing.T) {
	dated := func(models ...string) (all []offer.Dated) {
		for i, m := range models {
			model, isDefault := strings.CutSuffix(m, "!")
			all = append(all, offer.Dated{Offer: offer.Offer{Kind: offer.LLM, Model: model, Default: isDefault}, Since: uint64(i)})
		}
		return all
	}
	for name, c := range map[string]struct {
		before string
		seen   []offer.Dated
		want   string
	}{
		"nobody is there":                       {"a/1", nil, "a/1"},
		"a provider without a model":            {"a/1", dated("b/"), "a/1"},
		"the same, and no default before":       {"", dated("b/"), "b/"},
		"another model":                         {"a/1", dated("b/2"), "b/2"},
		"another, and the one before":           {"a/1", dated("b/2", "a/1"), "a/1"},
		"the default of another worker":         {"a/1", dated("a/1", "b/2!"), "b/2"},
		"a model, and a provider that has none": {"", dated("b/", "a/1"), "a/1"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := defaultRoute(c.before, c.seen); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
