package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// decisions follows the decisions of all conversations.
type decisions struct {
	got    chan bus.Message
	resync chan struct{}
	ended  chan error
	stop   context.CancelCauseFunc
}

func followDecisions(t *testing.T, b *bus.Bus, fn func(bus.Message) error) decisions {
	t.Helper()
	ctx, stop := context.WithCancelCause(t.Context())
	d := decisions{make(chan bus.Message, 20_000), make(chan struct{}, 100), make(chan error, 1), stop}
	go func() {
		d.ended <- b.Deployment().Decisions(ctx, func(m bus.Message) error { d.got <- m; return fn(m) },
			func() error { d.resync <- struct{}{}; return nil })
	}()
	t.Cleanup(func() { stop(nil) })
	return d
}

func nothing(bus.Message) error { return nil }

func TestDecisionsOfAllConversationsAreDeliveredAsTheyHappen(t *testing.T) {
	t.Parallel()
	s := start(t)
	b, viewer := join(t, s.URL()), join(t, s.URL())
	before := id()
	decide(t, b, before, 0, "a")
	d := followDecisions(t, viewer, nothing)
	take(t, d.resync)
	for range 3 {
		conversation := id()
		send(t, b, conversation, "hello") // on another channel
		seq := decide(t, b, conversation, 0, "b")
		m := take(t, d.got)
		if m.Conversation != conversation || m.Sequence != seq || m.Channel != events.ChannelTurn || m.Bad != nil || !m.Live || m.Time.IsZero() || m.Subject != topology.At(1, conversation, events.ChannelTurn).Subject(topology.Conv) {
			t.Errorf("%+v", m)
		}
		if _, ok := m.Lines[0].Event.(*events.Decision); !ok {
			t.Errorf("%s", m.Data)
		}
	}
	nc, _ := b.Raw() // a stranger's message on a live subject is no decision
	if err := errors.Join(nc.Publish("live.0."+id()+".turn", []byte(`{"type":"Decision"}`)), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	decide(t, b, before, 1, "c")
	if m := take(t, d.got); m.Conversation != before {
		t.Errorf("%+v", m)
	}
	why := errors.New("why")
	d.stop(why)
	if err := take(t, d.ended); !errors.Is(err, why) {
		t.Error(err)
	}
	if len(d.resync) > 0 {
		t.Error("it had to resync without a reason")
	}
}

func TestDecisionsThatMayBeMissedCauseAResync(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := join(t, s.URL())
	t.Run("when the connection was lost", func(t *testing.T) {
		p := through(t, s.URL())
		d := followDecisions(t, join(t, p.url()), nothing)
		take(t, d.resync)
		p.cut()
		take(t, d.resync)
		conversation := id()
		decide(t, b, conversation, 0, "a")
		if m := take(t, d.got); m.Conversation != conversation {
			t.Errorf("%+v", m)
		}
	})
	t.Run("when the reader is slow", func(t *testing.T) {
		slow := make(chan struct{})
		d := followDecisions(t, join(t, s.URL()), func(bus.Message) error { <-slow; return nil })
		take(t, d.resync)
		conversation, seq := id(), uint64(0)
		const n = 5000
		for range n {
			seq = decide(t, b, conversation, seq, "a")
		}
		close(slow)
		take(t, d.resync)
		// The first ones may still overflow the queue, and cause another resync.
		for delivered := false; !delivered; {
			seq = decide(t, b, conversation, seq, "b")
			for late := time.After(time.Second); !delivered; {
				select {
				case m := <-d.got:
					delivered = m.Sequence == seq
					continue
				case <-late:
				}
				break
			}
		}
	})
	t.Run("and an error of the reader's ends it", func(t *testing.T) {
		why := errors.New("why")
		d := followDecisions(t, b, func(bus.Message) error { return why })
		take(t, d.resync)
		decide(t, b, id(), 0, "a")
		if err := take(t, d.ended); !errors.Is(err, why) {
			t.Error(err)
		}
		if err := b.Deployment().Decisions(t.Context(), nothing, func() error { return why }); !errors.Is(err, why) {
			t.Error(err)
		}
	})
	t.Run("and a connection that is closed ends it", func(t *testing.T) {
		closed := join(t, s.URL())
		d := followDecisions(t, closed, nothing)
		take(t, d.resync)
		closed.Close()
		if err := take(t, d.ended); err == nil {
			t.Error("it ended well")
		}
	})
}

// TestWhatWaitsIsReadAgainForTimersThatAreSetLater: a decision comes before its timer,
// and a reader that begins between the two sees neither.
func TestWhatWaitsIsReadAgainForTimersThatAreSetLater(t *testing.T) {
	t.Parallel()
	s := start(t)
	b, viewer := join(t, s.URL()), join(t, s.URL())
	conversation := id()
	decide(t, b, conversation, 0, "a")
	d := followDecisions(t, viewer, nothing)
	take(t, d.resync)
	if err := b.Timers().Set(t.Context(), conversation, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	take(t, d.resync)
	if waits, err := viewer.Timers().List(t.Context()); err != nil || len(waits) != 1 || waits[0] != conversation {
		t.Fatalf("%v waits, %v", waits, err)
	}
}
