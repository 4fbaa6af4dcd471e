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

// TestTheCacheOfIdleConversationsHasABound: of many large conversations in a moment only
// some are cached. Before, a thousand were, whatever they held.
func TestTheCacheOfIdleConversationsHasABound(t *testing.T) {
	s := newShard(&Orchestrator{Held: new(atomic.Int64)}, 0, nil)
	s.live = true
	answers := &events.Decision{}
	for i := range 8 << 10 { // 8 MiB of them
		answers.Events = append(answers.Events, events.Line{Event: &events.InputAnswered{Input: callID(i), Answer: events.AnswerRefused}})
	}
	quiet := func(id string) {
		c := s.track(id, 1)
		c.state = &accumulator.Conversation{ID: id, Transcript: accumulator.NewTranscript()}
		c.state.Apply(accumulator.Message{Channel: events.ChannelTurn, Sequence: 1, Lines: []events.Line{{Event: answers}}})
		s.read = 1
		s.evictIfIdle(c)
	}
	for i := range 20 {
		quiet(callID(i))
	}
	if n := len(s.idle); n != maxIdleBytes/(8<<20) {
		t.Errorf("%d are cached, of %d bytes", n, s.idleBytes)
	}
	s.track(callID(0), 2)
	if n := len(s.idle); n != maxIdleBytes/(8<<20)-1 {
		t.Errorf("%d are cached when one is in use again", n)
	}
	s.expire(time.Now().Add(idleTime))
	if len(s.idle) > 0 || s.idleBytes != 0 {
		t.Errorf("%d are cached, of %d bytes, when their time has passed", len(s.idle), s.idleBytes)
	}
}

// TestRunningTurnsAreCountedByWhoStartedThem: while their conversations are in memory,
// and once.
func TestRunningTurnsAreCountedByWhoStartedThem(t *testing.T) {
	s := newShard(&Orchestrator{Held: new(atomic.Int64)}, 0, nil)
	want := func(n int64) {
		t.Helper()
		if got := s.o.meter.turns()[""]; got != n {
			t.Errorf("%d turns are counted, want %d", got, n)
		}
	}
	c := s.track("c", 1)
	s.countTurn(c) // not loaded
	want(0)
	c.state = &accumulator.Conversation{ID: "c"}
	c.state.Turn = "one"
	s.countTurn(c)
	s.countTurn(c)
	want(1)
	c.state.Turn = "two" // the next turn began with the end of the one before
	s.countTurn(c)
	want(1)
	c.state = nil // it is loaded again
	s.countTurn(c)
	want(0)
	c.state = &accumulator.Conversation{ID: "c"}
	c.state.Turn = "two"
	s.countTurn(c)
	want(1)
	s.evict(c)
	want(0)
}
