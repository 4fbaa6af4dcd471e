package daemon_test

import (
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// The cost of a message to a waiting turn does not depend on the number of
// earlier messages: it costs about the same in a conversation where 1,200 wait as
// in one where few do. Both are measured in turn, so that what else the machine
// does meets both.
func TestMessagesBehindAPauseCostTheSameHoweverManyCame(t *testing.T) {
	s := play(t, callsScript("hold", `{"as":"ask"}`), &events.Settings{Policy: momentPolicy()})
	s.pauseTurn()
	many, few := s, s.another()
	few.send(&events.Settings{Policy: momentPolicy()})
	few.pauseTurn()
	batch := func(s *stage, n int) time.Duration {
		started := time.Now()
		for range n {
			s.send(&events.UserMessage{Text: "and this"})
		}
		return time.Since(started)
	}
	batch(many, 1200)
	least := float64(1 << 20)
	for range 3 {
		last, first := batch(many, 50), batch(few, 50)
		t.Logf("50 messages behind 1,200: %s; behind few: %s", last, first)
		least = min(least, float64(last)/float64(first))
	}
	if least > 3 {
		t.Errorf("a message behind 1,200 took %.1f times as long as one behind few", least)
	}
}

// another returns the stage with another conversation.
func (s *stage) another() *stage {
	other := *s
	other.conversation = newID(s.t)
	other.viewer = s.view(s.ctx, other.conversation)
	return &other
}

// pauseTurn starts a turn and waits for its call's approval.
func (s *stage) pauseTurn() {
	s.t.Helper()
	s.goes()
	s.pause()
}
