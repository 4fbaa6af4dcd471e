package bus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// listed are the ids of a page.
func listed(t *testing.T, b *bus.Bus, before uint64, limit int) (ids []string, next uint64, more bool) {
	t.Helper()
	page, more, err := b.Deployment().Conversations(t.Context(), before, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range page {
		ids = append(ids, c.ID)
		next = c.Position
		if c.Last.IsZero() || c.Begun.IsZero() || c.Error != "" {
			t.Errorf("%+v", c)
		}
	}
	return ids, next, more
}

func TestConversationsAreListedByLastActivity(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	var want []string
	for range 5 {
		c := id()
		send(t, b, c, "hello "+c)
		want = append([]string{c}, want...)
	}
	send(t, b, want[3], "again")
	want = append([]string{want[3]}, slices.Delete(slices.Clone(want), 3, 4)...)
	if got, _, more := listed(t, b, 0, 0); !slices.Equal(got, want) || more {
		t.Errorf("listed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	copied(t, b, 6)
	if got, _, _ := listed(t, b, 0, 20); !slices.Equal(got, want) {
		t.Errorf("once copied\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	page, _, err := b.Deployment().Conversations(t.Context(), 0, 1)
	if err != nil || page[0].First != "hello "+want[0] || page[0].State.Turns != 0 {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestAPageOfConversationsContinuesAfterAnother(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	var want []string
	for range 1000 { // more than a window
		c := id()
		send(t, b, c, "hello")
		want = append(want, c)
	}
	send(t, b, want[0], "again") // on the first page, and also in a later window
	want = append(want[1:], want[0])
	slices.Reverse(want)
	copied(t, b, 1001)
	var all []string
	for before := uint64(0); ; {
		got, next, more := listed(t, b, before, 70)
		all = append(all, got...)
		if !more {
			break
		}
		if len(got) != 70 {
			t.Fatalf("a page of %d", len(got))
		}
		before = next
	}
	if !slices.Equal(all, want) {
		t.Errorf("%d conversations on all pages, want %d in their order", len(all), len(want))
	}
}

// A stranger's messages must not break a list.
func TestAListIsNotBrokenByOneEntry(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	nc, js := b.Raw()
	good, poisoned := id(), id()
	send(t, b, good, "hello")
	decide(t, b, poisoned, 0, "a")
	hostile := []*nats.Msg{
		{Subject: "conv.0.chat42.in", Data: []byte(`{"type":"UserMessage","text":"hi"}`)},
		{Subject: "conv.0." + strings.ToUpper(id()) + ".in", Data: []byte(`{"type":"UserMessage","text":"hi"}`)},
		{Subject: "conv.0.chat42.turn", Data: []byte("no JSON")},
		{Subject: "conv.0.chat42.call.x"}, {Subject: "conv.0.chat42.nothing"}, {Subject: "conv.0.x"},
	}
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		hostile = append(hostile, &nats.Msg{Subject: "conv.0." + id() + ".in", Header: nats.Header{"Status": {status}}})
	}
	hostile = append(hostile,
		&nats.Msg{Subject: "conv.0." + id() + ".in", Header: nats.Header{"Nats-Sequence": {"1"}, "Nats-Time-Stamp": {"x"}, "Nats-Subject": {"conv.0." + good + ".in"}, "Nats-Stream": {"X"}}, Data: []byte("{")},
		&nats.Msg{Subject: "conv.0." + poisoned + ".turn", Header: nats.Header{"Nats-Sequence": {"x"}}, Data: []byte("no decision")})
	for _, m := range hostile {
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before", "after"} {
		page, _, err := b.Deployment().Conversations(t.Context(), 0, 0)
		if err != nil {
			t.Fatalf("%s the copy: %v", when, err)
		}
		var ids []string
		for _, c := range page {
			ids = append(ids, c.ID)
			if c.Last.IsZero() || c.Begun.IsZero() {
				t.Errorf("%s the copy: %+v", when, c)
			}
		}
		if len(ids) != 8 || ids[0] != poisoned || ids[7] != good {
			t.Errorf("%s the copy: %s", when, strings.Join(ids, "\n"))
		}
		copied(t, b, 2+4+5+2)
	}
}

// What is copied while a list is made is not missed.
func TestAListIsCompleteWhileConversationsBegin(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	var mu sync.Mutex
	var started []string
	var talking sync.WaitGroup
	defer talking.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	talking.Go(func() {
		often := time.NewTicker(time.Millisecond)
		defer often.Stop()
		for ctx.Err() == nil {
			<-often.C
			c, input := id(), id()
			if _, err := b.Conversation(c).Publish(ctx, input, &events.UserMessage{ID: input, Text: "hello"}); err != nil {
				return
			}
			mu.Lock()
			started = append(started, c)
			mu.Unlock()
		}
	})
	for range 60 {
		mu.Lock()
		newest := slices.Clone(started[max(len(started)-5, 0):])
		mu.Unlock()
		var got []string
		if err := b.Deployment().Recent(t.Context(), 0, func(r bus.Recent) (bool, error) {
			got = append(got, r.ID)
			return len(got) < 60, nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, c := range newest {
			if !slices.Contains(got, c) {
				t.Fatalf("of %d conversations listed none is %s, which started before", len(got), c)
			}
		}
	}
}

func TestAListIsCompleteWhileHistoryIsBehind(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	_, js := b.Raw()
	old, both := id(), id()
	send(t, b, old, "hello")
	send(t, b, both, "hello")
	copied(t, b, 2)
	// HISTORY takes nothing more.
	s, err := js.Stream(t.Context(), topology.StreamHistory)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	sources := cfg.Sources
	cfg.Sources = nil
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	var fresh string
	for range 600 {
		fresh = id()
		send(t, b, fresh, "hello")
	}
	send(t, b, both, "again")
	for i := range 600 { // tokens, which are no activity
		if err := b.Lane(topology.OfCall(1, old, events.ChannelOut, id())).Show(&events.ToolOutput{Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	got, _, _ := listed(t, b, 0, 0)
	if len(got) != 602 || got[0] != both || got[1] != fresh || got[601] != old {
		t.Errorf("%d conversations listed", len(got))
	}
	cfg.Sources = sources
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	copied(t, b, 603)
	if again, _, _ := listed(t, b, 0, 0); !slices.Equal(again, got) {
		t.Errorf("%d conversations listed when HISTORY has caught up", len(again))
	}
}

// The cost of a page does not grow with the number of conversations.
func TestAPageCostsTheSameAmongManyConversations(t *testing.T) {
	b := inProcess(t)
	fill(t, b, 0, 1000)
	few := quickest(t, b)
	fill(t, b, 1000, 100_000)
	many := quickest(t, b)
	t.Logf("a page of 20 among 1,000 conversations took %s, among 100,000 %s", few, many)
	if many > 5*few {
		t.Errorf("a page of 20 takes %s among 100,000 conversations and %s among 1,000", many, few)
	}
}

// quickest is the shortest time that the first page took.
func quickest(t *testing.T, b *bus.Bus) time.Duration {
	t.Helper()
	best := time.Hour
	for range 10 {
		started := time.Now()
		if got, _, _ := listed(t, b, 0, 20); len(got) != 20 {
			t.Fatalf("%d listed", len(got))
		}
		best = min(best, time.Since(started))
	}
	return best
}

// fill begins conversations until there are n, and waits until HISTORY has them.
func fill(t *testing.T, b *bus.Bus, from, n int) {
	t.Helper()
	nc, _ := b.Raw()
	for i := from; i < n; i++ {
		if err := nc.Publish("conv.0."+id()+".in", []byte(`{"type":"UserMessage","id":"x","text":"hello"}`)); err != nil {
			t.Fatal(err)
		}
		if i%5000 == 4999 || i == n-1 { // no more than the server takes in at once
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			copied(t, b, i+1)
		}
	}
}
