package bus_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

func TestLaneKeepsTheOrderOfEachOfItsWriters(t *testing.T) {
	b := inProcess(t)
	conversation := id()
	lane := b.Lane(gen(b, conversation)).Open(t.Context(), 0)
	const writers, each = 8, 500
	attempts := make([]string, writers)
	var all sync.WaitGroup
	for w := range writers {
		attempts[w] = id()
		all.Go(func() {
			for i := range each {
				if err := lane.Append(chunk(attempts[w], i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if _, err := lane.Close(); err != nil {
		t.Fatal(err)
	}
	next := map[string]int{}
	for m, err := range b.Conversation(conversation).Attach(t.Context(), bus.From{Ended: true}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range m.Lines {
			attempt, index := l.Event.(*events.TextChunk).Position()
			if index != next[attempt] {
				t.Fatalf("writer %s: event %d where %d is due", attempt, index, next[attempt])
			}
			next[attempt]++
		}
	}
	for _, a := range attempts {
		if next[a] != each {
			t.Errorf("writer %s: %d events are stored, want %d", a, next[a], each)
		}
	}
}

func TestLaneGathersEventsOnlyWhileItIsLoaded(t *testing.T) {
	b := inProcess(t)
	lane := b.Lane(gen(b, id())).Open(t.Context(), 0)
	for i := range 20 {
		if err := lane.Append(chunk("", i)); err != nil {
			t.Fatal(err)
		}
		if _, err := lane.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if lane.Frames() != 20 {
		t.Errorf("idle: %d frames for 20 events", lane.Frames())
	}
	for i := range 20_000 {
		if err := lane.Append(chunk("", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := lane.Close(); err != nil {
		t.Fatal(err)
	}
	if n := lane.Frames() - 20; n > 5_000 {
		t.Errorf("loaded: %d frames for 20,000 events", n)
	}
}

func TestLaneTakesAnEventLargerThanAMessage(t *testing.T) {
	b := inProcess(t)
	conversation, want := id(), strings.Repeat("é\n", 1<<20)
	lane := b.Lane(gen(b, conversation)).Open(t.Context(), 0)
	for _, e := range []events.Event{chunk("", 0), &events.TextChunk{Origin: events.Origin{Index: 1}, Text: want}, chunk("", 2)} {
		if err := lane.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := lane.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for m, err := range b.Conversation(conversation).Attach(t.Context(), bus.From{Ended: true}) {
		if err != nil || m.Bad != nil {
			t.Fatal(err, m.Bad)
		}
		for _, l := range m.Lines {
			got = append(got, l.Event.(*events.TextChunk).Text)
		}
		if len(m.Data) > 100<<10 {
			t.Errorf("a message of %d bytes", len(m.Data))
		}
	}
	if len(got) != 3 || got[1] != want {
		t.Errorf("%d events came back, or the large one differs", len(got))
	}
}

func TestFence(t *testing.T) {
	b := inProcess(t)
	t.Run("a second writer fences the first, for good", func(t *testing.T) {
		a := gen(b, id())
		first := b.Lane(a).Open(t.Context(), 0)
		if err := first.Append(chunk("first", 0)); err != nil {
			t.Fatal(err)
		}
		at, err := first.Flush()
		if err != nil {
			t.Fatal(err)
		}
		second := b.Lane(a).Open(t.Context(), at)
		if err := second.Append(chunk("second", 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := second.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := first.Append(chunk("first", 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Flush(); !errors.Is(err, bus.ErrFenced) {
			t.Errorf("flush of the fenced lane: %v", err)
		}
		if err := first.Append(chunk("first", 2)); !errors.Is(err, bus.ErrFenced) {
			t.Errorf("append to the fenced lane: %v", err)
		}
		if _, err := first.Close(); !errors.Is(err, bus.ErrFenced) {
			t.Errorf("close of the fenced lane: %v", err)
		}
		if err := second.Append(chunk("second", 1)); err != nil {
			t.Error(err)
		}
		if _, err := second.Close(); err != nil {
			t.Error(err)
		}
		if got := texts(t, b, a.Conversation, bus.From{}); len(got) != 3 || strings.Contains(got[2], "first") {
			t.Errorf("the log holds %q", got)
		}
	})
	t.Run("a first append to a lane that is not empty is fenced", func(t *testing.T) {
		a := gen(b, id())
		if _, err := b.Lane(a).Append(t.Context(), 0, []byte(`{"type":"X","n":1}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Lane(a).Append(t.Context(), 0, []byte(`{"type":"X","n":2}`)); !errors.Is(err, bus.ErrFenced) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("an append after a sequence the lane never had is fenced or refused, never stored", func(t *testing.T) {
		a := gen(b, id())
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := b.Lane(a).Append(ctx, 77, []byte(`{"type":"X"}`)); err == nil {
			t.Error("stored")
		}
		if last, err := b.Lane(a).Last(t.Context()); err != nil || last.Sequence != 0 {
			t.Errorf("the lane's position is %d (%v)", last.Sequence, err)
		}
	})
}

func TestLaneEnds(t *testing.T) {
	b := inProcess(t)
	open := func(t *testing.T, ctx context.Context) *bus.LaneWriter {
		lane := b.Lane(gen(b, id())).Open(ctx, 0)
		if err := lane.Append(chunk("", 0)); err != nil {
			t.Fatal(err)
		}
		return lane
	}
	t.Run("closing twice returns the same position, appending after it fails", func(t *testing.T) {
		lane := open(t, t.Context())
		one, err := lane.Close()
		if err != nil {
			t.Fatal(err)
		}
		two, err := lane.Close()
		if err != nil || one != two || one == 0 {
			t.Errorf("positions %d and %d, %v", one, two, err)
		}
		if err := lane.Append(chunk("", 1)); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("append after close: %v", err)
		}
	})
	t.Run("what was accepted while the lane closes is stored", func(t *testing.T) {
		for range 30 {
			conversation := id()
			lane := b.Lane(gen(b, conversation)).Open(t.Context(), 0)
			accepted := make(chan int)
			started := make(chan struct{})
			go func() {
				n := 0
				for lane.Append(chunk("", n)) == nil {
					if n++; n == 10 {
						close(started)
					}
				}
				accepted <- n
			}()
			<-started
			if _, err := lane.Close(); err != nil {
				t.Fatal(err)
			}
			if err := numbered(texts(t, b, conversation, bus.From{}), "", <-accepted); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("the end of the context ends the lane, with its cause", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		lane := open(t, ctx)
		if _, err := lane.Flush(); err != nil {
			t.Fatal(err)
		}
		why := errors.New("the worker stops")
		cancel(why)
		if err := lane.Append(chunk("", 1)); !errors.Is(err, why) {
			t.Errorf("append: %v", err)
		}
		if _, err := lane.Close(); err != nil {
			t.Errorf("close of a lane on which everything is stored: %v", err)
		}
	})
}

func TestBlockedAppendIsReleased(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := through(t, s.URL())
	for name, release := range map[string]func(stop context.CancelFunc, b *bus.Bus){
		"by the end of the context":       func(stop context.CancelFunc, _ *bus.Bus) { stop() },
		"by the end of the connection":    func(_ context.CancelFunc, b *bus.Bus) { b.Close() },
		"by the return of the connection": func(context.CancelFunc, *bus.Bus) { p.refuse(false) },
	} {
		t.Run(name, func(t *testing.T) {
			p.refuse(false)
			b := join(t, p.url())
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			lane := b.Lane(gen(b, id())).Open(ctx, 0)
			p.refuse(true)
			p.cut()
			// 200 of 64 KiB are more than a lane holds back.
			done := make(chan int)
			half := make(chan struct{})
			text := strings.Repeat("x", 64<<10)
			go func() {
				n := 0
				for ; n < 200; n++ {
					if n == 32 {
						close(half)
					}
					if lane.Append(&events.TextChunk{Origin: events.Origin{Index: n}, Text: text}) != nil {
						break
					}
				}
				done <- n
			}()
			<-half
			select {
			case n := <-done:
				t.Fatalf("%d appends went through without a server", n)
			case <-time.After(150 * time.Millisecond):
			}
			release(stop, b)
			select {
			case n := <-done:
				if all := n == 200; all != strings.Contains(name, "return") {
					t.Errorf("released after %d appends", n)
				}
			case <-time.After(10 * time.Second):
				t.Error("still blocked")
			}
			_, err := lane.Close()
			if ok := err == nil; ok != strings.Contains(name, "return") {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// The connection is cut, and sometimes muted first, while frames go out: every
// event is stored exactly once, in order.
func TestLaneThroughCutConnections(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := through(t, s.URL())
	b := join(t, p.url())
	const lanes, each = 4, 1500
	var conversations [lanes]string
	var writing sync.WaitGroup
	ctx := within(t, 60*time.Second)
	for n := range lanes {
		conversations[n] = id()
		writing.Go(func() {
			lane := b.Lane(gen(b, conversations[n])).Open(ctx, 0)
			for i := range each {
				if err := lane.Append(chunk("", i)); err != nil {
					t.Error(err)
					break
				}
				if i%3 == 0 {
					if _, err := lane.Flush(); err != nil {
						t.Error(err)
						break
					}
				}
			}
			if _, err := lane.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	cuts, done := 0, make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		case <-time.After(time.Duration(20+rand.N(60)) * time.Millisecond):
			if cuts++; cuts > 8 {
				continue // enough: let it end
			}
			if cuts%2 == 0 {
				p.mute()
				select {
				case <-done:
				case <-time.After(5 * time.Millisecond):
				}
			}
			p.cut()
		}
	}
	clean := join(t, s.URL())
	for _, c := range conversations {
		if err := numbered(texts(t, clean, c, bus.From{}), "", each); err != nil {
			t.Error(err)
		}
	}
}
