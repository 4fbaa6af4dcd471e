package daemon_test

import (
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// The cost of a message to a waiting turn does not depend on the number of
// earlier messages.
func TestMessagesBehindAPauseCostTheSameHoweverManyCame(t *testing.T) {
	s := play(t, callsScript("hold", `{"as":"ask"}`), &events.Settings{Policy: momentPolicy()})
	s.sendNew(s.conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	s.pause()
	hundred := func() time.Duration {
		started := time.Now()
		for range 100 {
			s.send(&events.UserMessage{Text: "and this"})
		}
		return time.Since(started)
	}
	hundred() // fills the queue
	first := hundred()
	for range 10 {
		hundred()
	}
	if last := min(hundred(), hundred()); last > 4*first {
		t.Errorf("the first hundred took %s, the last %s", first, last)
	}
}
