package bus

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// watched are viewers of one conversation that stop to read when they are told to.
type watched struct {
	*testing.T
	bus  *Bus
	id   string
	lane *LaneWriter
	all  sync.WaitGroup
}

func newWatched(t *testing.T) *watched {
	w := &watched{T: t, bus: deployment(t), id: uuid.Must(uuid.NewV7()).String()}
	w.lane = w.bus.Lane(topology.At(w.bus.Shards(), w.id, events.ChannelGen)).Open(t.Context(), 0)
	t.Cleanup(func() {
		if _, err := w.lane.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// write stores messages: chunks, and inputs in between, which have another subject.
func (w *watched) write(n int) {
	w.Helper()
	for i := range n {
		if i%5 == 4 {
			w.input()
			continue
		}
		if err := w.lane.Append(text(i)); err != nil {
			w.Fatal(err)
		}
		if _, err := w.lane.Flush(); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *watched) input() {
	w.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	if _, err := w.bus.Conversation(w.id).Publish(w.Context(), id, &events.UserMessage{ID: id, Text: "hello"}); err != nil {
		w.Fatal(err)
	}
}

// view reads the conversation up to the message with a sequence, and calls each with every
// message's. It closes the channel that it returns at the end.
func (w *watched) view(last uint64, each func(seq uint64)) <-chan struct{} {
	w.Helper()
	done := make(chan struct{})
	w.all.Go(func() {
		defer close(done)
		var due uint64
		for m, err := range w.bus.Conversation(w.id).Attach(w.Context(), From{}) {
			if err != nil {
				w.Error(err)
				return
			}
			if due++; m.Sequence != due {
				w.Errorf("message %d comes when %d is due", m.Sequence, due)
				return
			}
			if each(due); due == last {
				return
			}
		}
	})
	return done
}

// TestViewersOfAConversationShareASubscription: also one that comes later, and none is left.
func TestViewersOfAConversationShareASubscription(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	w.write(5)
	before := w.bus.nc.NumSubscriptions()
	const viewers = 50
	var here sync.WaitGroup
	here.Add(viewers)
	for range viewers {
		var once sync.Once
		w.view(40, func(seq uint64) {
			if seq == 5 {
				once.Do(here.Done)
			}
		})
	}
	here.Wait()
	if n := w.bus.nc.NumSubscriptions() - before; n != 1 {
		t.Errorf("%d viewers have %d subscriptions", viewers, n)
	}
	w.write(35)
	w.all.Wait()
	if n := w.bus.nc.NumSubscriptions(); n != before {
		t.Errorf("%d subscriptions are left of %d", n, before)
	}
	if len(w.bus.hubs.all) > 0 {
		t.Error("a hub is left")
	}
}

// TestAViewerThatStallsSlowsNobody: it reads what the window does not hold any more from
// the log, in order, once. The window holds a bounded number of messages meanwhile.
func TestAViewerThatStallsSlowsNobody(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	const last = 3 * hubWindow
	stalled, goOn := make(chan struct{}), make(chan struct{})
	w.view(last, func(seq uint64) {
		if seq == 3 {
			close(stalled)
			<-goOn
		}
	})
	fast := w.view(last, func(uint64) {})
	w.write(3)
	<-stalled
	w.write(last - 3)
	<-fast
	for _, h := range w.bus.hubs.all {
		h.mu.RLock()
		if n := len(h.window); n > 2*hubWindow {
			t.Errorf("the window has %d messages", n)
		}
		h.mu.RUnlock()
	}
	close(goOn)
	w.all.Wait()
}

// TestViewersComeAndGoWhileAConversationStreams: each sees every message once, in order.
func TestViewersComeAndGoWhileAConversationStreams(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	const last = 600
	w.all.Go(func() { w.write(last) })
	for n := range uint64(40) {
		<-w.view(min(10+15*n, last), func(uint64) {})
		w.view(last, func(uint64) {})
	}
	w.all.Wait()
}

// TestAWindowHoldsWhatIsNotTaken: of messages that all viewers have taken, few are kept.
func TestAWindowHoldsWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	h := &hub{changed: make(chan struct{}), trimAt: hubTrim, seats: map[*seat]bool{}}
	fast, slow := h.sit(), h.sit()
	var got []uint64
	for n := range uint64(10 * hubWindow) {
		h.add(&Message{Sequence: n, Data: make([]byte, 10)})
		some, _, ok := h.take(fast)
		if !ok {
			t.Fatalf("the fast viewer has fallen behind at %d", n)
		}
		for _, m := range some {
			got = append(got, m.Sequence)
		}
		if n < hubWindow/2 {
			h.take(slow)
		}
	}
	if len(got) != 10*hubWindow || !slices.IsSorted(got) {
		t.Errorf("the fast viewer got %d messages", len(got))
	}
	if _, _, ok := h.take(slow); ok {
		t.Error("the slow viewer has not fallen behind")
	}
	if n := len(h.window); n > hubWindow+hubTrim+1 || h.bytes != 10*n {
		t.Errorf("the window has %d messages of %d bytes", n, h.bytes)
	}
	delete(h.seats, slow)
	for range 2 * hubWindow {
		h.add(&Message{Data: make([]byte, 10)})
		h.take(fast)
	}
	if n := len(h.window); n > 2*hubTrim+1 {
		t.Errorf("the window keeps %d messages that all have taken", n)
	}
	h.add(&Message{Data: make([]byte, hubBytes)})
	h.add(&Message{Data: make([]byte, hubBytes)})
	if n := len(h.window); n != 1 {
		t.Errorf("the window has %d messages of more bytes than it may hold", n)
	}
	h.end()
	for range 2 {
		if _, _, ok := h.take(fast); !ok {
			return
		}
	}
	t.Error("the viewer is not told that the hub has ended")
}

// TestAHubThatEndsIsReplaced: its viewers go on with another one, without a gap.
func TestAHubThatEndsIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	const last = 300
	var here sync.WaitGroup
	here.Add(5)
	for range 5 {
		var once sync.Once
		w.view(last, func(uint64) { once.Do(here.Done) })
	}
	w.write(10)
	here.Wait()
	for n := 10; n < last; n += 10 {
		w.bus.hubs.mu.Lock()
		for _, h := range w.bus.hubs.all {
			h.stop()
		}
		w.bus.hubs.mu.Unlock()
		w.write(10)
	}
	w.all.Wait()
}

// TestAMessageThatWasNeverRepublishedIsNotOvertaken: its leader died in between, and the
// next one's first message is on another subject.
func TestAMessageThatWasNeverRepublishedIsNotOvertaken(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	sub, err := w.bus.nc.SubscribeSync(topology.Everything(topology.Live, w.bus.Shards(), w.id))
	if err != nil {
		t.Fatal(err)
	}
	next := func() *nats.Msg {
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	w.write(2)
	w.input()
	first, _, last := next(), next(), next()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got, live, ended := make(chan uint64, 10), make(chan *nats.Msg), make(chan error, 1)
	v := viewer{bus: w.bus, conversation: w.id, yield: func(m Message, _ error) bool { got <- m.Sequence; return true }}
	if err := v.begin(ctx); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- v.follow(ctx, sub, live) }()
	live <- first
	<-time.After(attachQuiet + 100*time.Millisecond) // until there is another leader
	live <- last
	for want := range uint64(3) {
		select {
		case seq := <-got:
			if seq != want+1 {
				t.Errorf("message %d comes when %d is due", seq, want+1)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("message %d does not come", want+1)
		}
	}
	cancel()
	<-ended
}

// TestWhatIsReadLateOvertakesNothing: a hub that begins in the middle of a turn reads the
// log for what came before it, while messages of other subjects wait.
func TestWhatIsReadLateOvertakesNothing(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	everything, err := w.bus.nc.SubscribeSync(topology.Everything(topology.Live, w.bus.Shards(), w.id))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got, live, ended := make(chan uint64, 20), make(chan *nats.Msg, 20), make(chan error, 1)
	v := viewer{bus: w.bus, conversation: w.id, yield: func(m Message, _ error) bool { got <- m.Sequence; return true }}
	if err := v.begin(ctx); err != nil {
		t.Fatal(err)
	}
	w.input()  // 1, before the hub subscribes
	w.write(2) // 2 and 3
	w.input()  // 4
	w.write(2) // 5 and 6
	w.input()  // 7
	for n := range 7 {
		m, err := everything.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			live <- m
		}
	}
	go func() { ended <- v.follow(ctx, everything, live) }()
	seen := map[uint64]int{}
	for len(seen) < 7 {
		select {
		case seq := <-got:
			seen[seq]++
		case <-time.After(10 * time.Second):
			t.Fatalf("of 7 messages these came, and how often: %v", seen)
		}
	}
	cancel()
	<-ended
	for seq, n := range seen {
		if n != 1 {
			t.Errorf("message %d came %d times", seq, n)
		}
	}
}
