package orchestrator

import (
	"sync/atomic"
	"testing"

	"github.com/parleybus/parley/internal/accumulator"
)

// A hook's answer that came after its turn had ended once let go of the
// conversation that was here anew, while it was being decided on.
func TestWhatWasForgottenDoesNotEndWhatIsHereAnew(t *testing.T) {
	held := new(atomic.Int64)
	s := newShard(&Orchestrator{Held: held}, 0, nil)
	s.live = true
	old := s.remember("c", 1)
	old.state = &accumulator.Conversation{}
	s.forget(old)
	if s.holds(old) || held.Load() != 0 {
		t.Fatalf("a quiet conversation is kept: %d are held", held.Load())
	}
	again := s.remember("c", 5)
	s.forget(old)
	if !s.holds(again) || held.Load() != 1 {
		t.Errorf("the conversation that is here anew was let go of: %d are held", held.Load())
	}
}
