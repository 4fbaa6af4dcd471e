package bus_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// write puts frames of chunks on a conversation's gen lane and returns their
// sequences.
func write(t *testing.T, b *bus.Bus, conversation string, after uint64, frames ...[]int) []uint64 {
	t.Helper()
	var at []uint64
	for _, f := range frames {
		var frame []events.Event
		for _, i := range f {
			frame = append(frame, chunk("", i))
		}
		raw, err := events.AppendFrame(nil, frame...)
		if err != nil {
			t.Fatal(err)
		}
		if after, err = b.Lane(gen(b, conversation)).Append(t.Context(), after, raw); err != nil {
			t.Fatal(err)
		}
		at = append(at, after)
	}
	return at
}

func TestAttachBegins(t *testing.T) {
	b := inProcess(t)
	conversation := id()
	at := write(t, b, conversation, 0, []int{0, 1, 2}, []int{3}, []int{4, 5})
	all := texts(t, b, conversation, bus.From{})
	if err := numbered(all, "", 6); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		after string
		want  int
	}{
		"inside a frame":              {bus.Cursor{Sequence: at[0], Index: 1}.String(), 2},
		"after the end of a frame":    {bus.Cursor{Sequence: at[0], Index: 2}.String(), 3},
		"after a whole message":       {bus.Cursor{Sequence: at[0], Index: bus.Whole}.String(), 3},
		"after an index past a frame": {bus.Cursor{Sequence: at[0], Index: 99}.String(), 3},
		"after the largest index":     {fmt.Sprintf("%d-%d", at[0], math.MaxInt), 3},
		"after the last event":        {bus.Cursor{Sequence: at[2], Index: 1}.String(), 6},
	} {
		t.Run("a cursor "+name+" yields what follows it", func(t *testing.T) {
			cursor, err := bus.ParseCursor(c.after)
			if err != nil {
				t.Fatal(err)
			}
			if got := texts(t, b, conversation, bus.From{After: cursor}); !slices.Equal(got, all[c.want:]) {
				t.Errorf("cursor %s yields %d events, want the last %d: %q", c.after, len(got), 6-c.want, got)
			}
		})
	}
	t.Run("a time yields what was stored at or after it", func(t *testing.T) {
		var when []time.Time
		for m := range b.Conversation(conversation).Attach(t.Context(), bus.From{Ended: true}) {
			when = append(when, m.Time)
		}
		if got := texts(t, b, conversation, bus.From{Since: when[1]}); !slices.Equal(got, all[3:]) {
			t.Errorf("%d events since the second message", len(got))
		}
	})
	t.Run("a conversation without messages is empty", func(t *testing.T) {
		if got := texts(t, b, id(), bus.From{}); len(got) != 0 {
			t.Errorf("%q", got)
		}
	})
	t.Run("what is no conversation is refused", func(t *testing.T) {
		for _, c := range []string{"", "*", ">", "a.b", "x y", strings.Repeat("a", 10<<10), strings.ToUpper(conversation), conversation + ".in"} {
			for _, err := range b.Conversation(c).Attach(t.Context(), bus.From{}) {
				if !errors.Is(err, topology.ErrBadID) || len(err.Error()) > 300 {
					t.Errorf("%.40q: %v", c, err)
				}
			}
			if _, err := b.Conversation(c).Listen(func(bus.Message) {}); !errors.Is(err, topology.ErrBadID) {
				t.Errorf("listen to %.40q: %v", c, err)
			}
			if _, _, err := b.Conversation(c).LastDecision(t.Context(), 0); !errors.Is(err, topology.ErrBadID) {
				t.Errorf("last decision of %.40q: %v", c, err)
			}
		}
	})
}

func TestAttachCannotGive(t *testing.T) {
	b := inProcess(t)
	conversation := id()
	at := write(t, b, conversation, 0, []int{0}, []int{1}, []int{2, 3}, []int{4}, []int{5})
	_, js := b.Raw()
	s, err := js.Stream(t.Context(), topology.ConvStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(at[3])); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		after bus.Cursor
		lost  bool
	}{
		"long gone":                            {bus.Cursor{Sequence: at[0]}, true},
		"gone, perhaps with more in its frame": {bus.Cursor{Sequence: at[2], Index: 0}, true},
		"in the first message there is":        {bus.Cursor{Sequence: at[3], Index: 0}, false},
		"past the end of the log":              {bus.Cursor{Sequence: 1 << 40}, true},
		"the largest there is":                 {bus.Cursor{Sequence: math.MaxUint64, Index: math.MaxInt}, true},
	} {
		t.Run("a cursor "+name, func(t *testing.T) {
			var failed error
			for _, err := range b.Conversation(conversation).Attach(t.Context(), bus.From{After: c.after, Ended: true}) {
				failed = err
			}
			if errors.Is(failed, bus.ErrCursorExpired) != c.lost || !c.lost && failed != nil {
				t.Errorf("%v", failed)
			}
		})
	}
	for _, text := range []string{"", "-", "a", "1-x", "1--1", "-1", "1-2-3", "18446744073709551616", strings.Repeat("9", 10<<10)} {
		var bad *bus.BadCursorError
		if _, err := bus.ParseCursor(text); !errors.As(err, &bad) || len(err.Error()) > 200 {
			t.Errorf("cursor %.20q: %v", text, err)
		}
	}
}

// follow reads a conversation until it has n events, as a viewer without a
// deadline does.
func follow(ctx context.Context, b *bus.Bus, conversation string, from bus.From, n int) ([]string, error) {
	var got []string
	for m, err := range b.Conversation(conversation).Attach(ctx, from) {
		if err != nil {
			return got, err
		}
		if m.Bad != nil {
			return got, m.Bad
		}
		if got = append(got, lines(m)...); len(got) >= n {
			break
		}
	}
	return got, nil
}

// 200 viewers join 20 conversations at any moment while these are written: all
// see the same.
func TestViewersOfLiveConversations(t *testing.T) {
	s := start(t)
	b, watching := join(t, s.URL()), join(t, s.URL())
	const conversations, viewers, each = 20, 200, 400
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var ids [conversations]string
	for i := range ids {
		ids[i] = id()
	}
	var writing, viewing sync.WaitGroup
	steps := make([]chan struct{}, conversations)
	for n := range conversations {
		steps[n] = make(chan struct{}, each)
		writing.Go(func() {
			lane := b.Lane(gen(b, ids[n])).Open(ctx, 0)
			for i := range each {
				if err := lane.Append(chunk("", i)); err != nil {
					t.Error(err)
				}
				if i%40 == 0 {
					if _, err := lane.Flush(); err != nil {
						t.Error(err)
					}
				}
				steps[n] <- struct{}{}
			}
			if _, err := lane.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for v := range viewers {
		c := v % conversations
		for range each / (viewers / conversations) { // join when this much more was written
			<-steps[c]
		}
		viewing.Go(func() {
			got, err := follow(ctx, watching, ids[c], bus.From{}, each)
			if err == nil {
				err = numbered(got, "", each)
			}
			if err != nil {
				t.Errorf("viewer %d: %v", v, err)
			}
		})
	}
	writing.Wait()
	ended := make(chan struct{})
	go func() { viewing.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("viewers still wait for events")
		stop()
		<-ended
	}
}

func TestViewerThroughCutConnections(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := through(t, s.URL())
	watching, b := join(t, p.url()), join(t, s.URL())
	conversation := id()
	const each = 3000
	lane := b.Lane(gen(b, conversation)).Open(t.Context(), 0)
	got := make(chan error, 4)
	seen := make(chan int, each)
	for v := range 4 {
		go func() {
			var all []string
			for m, err := range watching.Conversation(conversation).Attach(within(t, 30*time.Second), bus.From{}) {
				if err != nil {
					got <- err
					return
				}
				all = append(all, lines(m)...)
				if v == 0 {
					seen <- len(all)
				}
				if len(all) >= each {
					break
				}
			}
			got <- numbered(all, "", each)
		}()
	}
	for i := range each {
		if err := lane.Append(chunk("", i)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if _, err := lane.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if i%700 == 650 {
			p.cut()
		}
		if i%700 == 699 { // what is written meanwhile is missed; wait for its return
			for n := 0; n < i-48; {
				select {
				case n = <-seen:
				case err := <-got:
					t.Fatalf("a viewer ended early: %v", err)
				}
			}
		}
	}
	if _, err := lane.Close(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
}

func TestSlowViewerHeals(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	conversation := id()
	const each = 6000 // more messages than wait for a viewer
	first := write(t, b, conversation, 0, []int{0})
	ctx := within(t, 30*time.Second)
	next, stop := iter.Pull2(b.Conversation(conversation).Attach(ctx, bus.From{}))
	defer stop()
	m, err, _ := next()
	if err != nil {
		t.Fatal(err)
	}
	got := lines(m)
	after := first[0]
	for i := 1; i < each; i++ {
		after = write(t, b, conversation, after, []int{i})[0]
	}
	for len(got) < each {
		m, err, ok := next()
		if err != nil || !ok {
			t.Fatal(len(got), err)
		}
		got = append(got, lines(m)...)
	}
	if err := numbered(got, "", each); err != nil {
		t.Error(err)
	}
}

func TestAttachEnds(t *testing.T) {
	b := inProcess(t)
	conversation := id()
	write(t, b, conversation, 0, []int{0}, []int{1}, []int{2})
	t.Run("with a break, even when the context ended before it", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range b.Conversation(conversation).Attach(ctx, bus.From{}) {
			cancel()
			break
		}
	})
	t.Run("with the context, saying its cause in one line", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		why := errors.New("the window was closed")
		var last error
		for m, err := range b.Conversation(conversation).Attach(ctx, bus.From{}) {
			if last = err; m.Sequence == 3 {
				cancel(why)
			}
		}
		if !errors.Is(last, why) || strings.Contains(last.Error(), "\n") {
			t.Errorf("%v", last)
		}
	})
	t.Run("and leaves no subscription and no reader behind", func(t *testing.T) {
		nc, js := b.Raw()
		before := nc.NumSubscriptions()
		for range 20 {
			if _, err := follow(t.Context(), b, conversation, bus.From{}, 1); err != nil {
				t.Fatal(err)
			}
		}
		s, err := js.Stream(t.Context(), topology.ConvStream(0))
		if err != nil {
			t.Fatal(err)
		}
		if n := nc.NumSubscriptions(); n > before+1 {
			t.Errorf("%d subscriptions more", n-before)
		}
		eventually(t, func() bool { // nobody waits until they are deleted
			left, err := s.Info(t.Context())
			return err == nil && left.State.Consumers == 0
		}, "readers are left")
	})
}

func TestIdleConversationCostsLittle(t *testing.T) {
	b := inProcess(t)
	nc, _ := b.Raw()
	conversation := id()
	if got := texts(t, b, conversation, bus.From{}); len(got) != 0 { // what is requested once only
		t.Fatal(got)
	}
	before := nc.Stats().OutMsgs
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		for range b.Conversation(conversation).Attach(ctx, bus.From{}) {
		}
		close(ended)
	}()
	// Once the live pattern is subscribed to and the log was read, nothing more
	// is requested.
	for nc.Stats().OutMsgs < before+3 {
		select {
		case <-t.Context().Done():
			t.Fatal("no request")
		case <-time.After(time.Millisecond):
		}
	}
	select {
	case <-ended:
		t.Fatal("ended")
	case <-time.After(100 * time.Millisecond):
	}
	if n := nc.Stats().OutMsgs - before; n > 3 {
		t.Errorf("%d requests for an idle conversation, want one to make a reader, one to drop it, and one that shows that nothing has expired meanwhile", n)
	}
	cancel()
	<-ended
}
