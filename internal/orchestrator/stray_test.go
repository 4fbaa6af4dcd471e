package orchestrator

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/parleybus/parley/internal/bus"
)

// TestSubjectsOfNoConversationCostNoGoroutine: however many come, they wait in one
// bounded queue.
func TestSubjectsOfNoConversationCostNoGoroutine(t *testing.T) {
	s := newShard(&Orchestrator{Held: new(atomic.Int64), Log: slog.New(slog.DiscardHandler)}, 0, nil)
	before := runtime.NumGoroutine()
	for i := range 10 * maxDeadLetters {
		s.take(t.Context(), bus.Message{Subject: fmt.Sprintf("conv.0.chat%d.in", i), Sequence: uint64(i + 1), Bad: errors.New("not a UUID")})
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines, %d before", now, before)
	}
	if len(s.strays.queue) != maxDeadLetters || len(s.conversations) > 0 {
		t.Errorf("%d messages wait and %d conversations are held", len(s.strays.queue), len(s.conversations))
	}
	if s.strays.before() != 0 {
		t.Errorf("the checkpoint may move to %d, before what waits", s.strays.before())
	}
}
