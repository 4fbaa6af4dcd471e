package orchestrator

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func TestACallWhoseToolIsWithdrawnWhileItWaitsEndsAtOnce(t *testing.T) {
	for _, ruling := range []events.Ruling{events.RulingApprove, events.RulingAlways} {
		s := newScene(t)
		s.env.Policy = nil // asks about a tool with effects
		s.say("go")
		call := s.part("g", "{}")
		if paused := only[*events.Paused](s.model("", call)); len(paused) != 1 {
			t.Fatal("the call does not wait")
		}
		delete(s.env.Tools, "g")
		es := s.in(s.ruling(ruling, call.Call))
		refused := only[*events.ToolCallRefused](es)
		if len(refused) != 1 || refused[0].Status != events.StatusUnknownTool || !strings.Contains(refused[0].Content, "not run") {
			t.Errorf("%s: refused %+v", ruling, refused)
		}
		if answered := only[*events.InputAnswered](es); len(answered) != 1 || answered[0].Answer != events.AnswerAccepted || !strings.Contains(answered[0].Reason+answered[0].Calls[0].Reason, "no longer served") {
			t.Errorf("%s: answered %+v", ruling, answered)
		}
		if next := only[*events.GenerationRequested](es); len(next) != 1 {
			t.Errorf("%s: the turn does not go on: %d requests", ruling, len(next))
		}
	}
}
