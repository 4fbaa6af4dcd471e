package orchestrator

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// The earlier Decisions are purged, so each Decision of a conversation that is being
// deleted, or was, has the whole state by itself.
func TestADecisionOfADeletedConversationIsEnoughByItself(t *testing.T) {
	s := &script{t: t, log: newLog("00000000-0000-7000-8000-c00000000000"), env: testEnv(), names: map[string]string{}, now: time.UnixMilli(1000)}
	for i, step := range []struct {
		arrives string
		purged  *events.ConversationDeleted
	}{
		{arrives: `in {"type":"UserMessage","id":"u1","text":"hello"}`},
		{arrives: `in {"type":"Delete","id":"x1"}`},
		{arrives: `in {"type":"UserMessage","id":"u2","text":"late"}`},
		{arrives: `in {"type":"Delete","id":"x2"}`},
		{arrives: `in {"type":"Verdict","id":"v1","verdict":"revoke"}`},
		{purged: &events.ConversationDeleted{Messages: 7}},
		{arrives: `in {"type":"Settings","id":"s1"}`},
		{arrives: `in {"type":"Delete","id":"x3"}`},
	} {
		if s.env.Purged = step.purged; step.arrives != "" {
			s.arrive(step.arrives)
		}
		if s.decide() == "" {
			t.Fatalf("step %d: nothing was decided", i)
		}
		if i == 0 {
			continue
		}
		last := s.log.messages[len(s.log.messages)-1]
		alone := &accumulator.Conversation{ID: s.log.id}
		alone.Apply(last)
		if diff := cmp.Diff(s.log.state.State, alone.State, cmpopts.EquateEmpty()); diff != "" || !alone.Gone() {
			t.Errorf("step %d: the last Decision alone folds to another state (-all +alone):\n%s", i, diff)
		}
	}
}
