package daemon_test

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestATurnThatCannotContinueEndsAsFailed: the server permanently refuses the job of
// one conversation. Its turn fails with the reason, its next turn works, and other
// conversations are not affected.
func TestATurnThatCannotContinueEndsAsFailed(t *testing.T) {
	d := start(t, scriptFile(t, "model: demo\nrules:\n  - match: .\n    steps:\n      - text: Hello there.\n"), builtins(t))
	_, js := d.Raw()
	s, err := js.Stream(t.Context(), topology.StreamJobs)
	if err != nil {
		t.Fatal(err)
	}
	limit := func(bytes int32) {
		t.Helper()
		cfg := s.CachedInfo().Config
		cfg.MaxMsgSize = bytes
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	limit(32 << 10)
	conversation := newID(t)
	_, end := d.turn(conversation, strings.Repeat("long ", 20<<10))
	if end.Outcome != events.OutcomeFailed || end.Error == nil || !strings.Contains(end.Error.Message, "message size exceeds maximum") {
		t.Errorf("the turn ended as %s: %v", end.Outcome, end.Error)
	}
	if _, end := d.turn(newID(t), "hello"); end.Outcome != events.OutcomeCompleted {
		t.Errorf("another conversation: %s %v", end.Outcome, end.Error)
	}
	limit(-1)
	if _, end := d.turn(conversation, "and now?"); end.Outcome != events.OutcomeCompleted {
		t.Errorf("its next turn: %s %v", end.Outcome, end.Error)
	}
}
