package orchestrator

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// A hook's answer that came after its turn had ended once evicted a conversation that
// had been loaded again, during its decision.
func TestALateHookAnswerDoesNotEvictAReloadedConversation(t *testing.T) {
	held := new(atomic.Int64)
	s := newShard(&Orchestrator{Held: held}, 0, nil)
	s.live = true
	old := s.track("c", 1)
	old.state = &accumulator.Conversation{}
	s.evictIfIdle(old)
	if s.holds(old) || held.Load() != 0 {
		t.Fatalf("an idle conversation is kept: %d are held", held.Load())
	}
	again := s.track("c", 5)
	s.evictIfIdle(old)
	if !s.holds(again) || held.Load() != 1 {
		t.Errorf("the conversation that was loaded again is evicted: %d are held", held.Load())
	}
}

// A conversation that has just become idle is not loaded again for its next
// message; after a moment it is evicted.
func TestAConversationThatHasJustBecomeQuietIsNotReadAgain(t *testing.T) {
	s := newShard(&Orchestrator{Held: new(atomic.Int64)}, 0, nil)
	s.live = true
	first := s.track("c", 1)
	first.state = &accumulator.Conversation{ID: "c"}
	state := first.state
	s.evictIfIdle(first)
	again := s.track("c", 9)
	if again == first || again.state != state || again.since != 9 {
		t.Errorf("it is loaded again, or the same: %+v", again)
	}
	s.evictIfIdle(again)
	s.applyLate(bus.Message{Address: topology.Address{Conversation: "c", Channel: events.ChannelGen}, Sequence: 7})
	if state.GenLane != 7 {
		t.Error("what came late is not known")
	}
	s.expire(time.Now().Add(idleTime))
	if later := s.track("c", 12); later.state != nil || len(s.idle) > 0 {
		t.Error("it is kept for longer")
	}
	for i := range 2 * maxIdle {
		c := s.track(callID(i), uint64(i))
		c.state = &accumulator.Conversation{}
		s.evictIfIdle(c)
	}
	if len(s.idle) != maxIdle {
		t.Errorf("%d are kept", len(s.idle))
	}
}
