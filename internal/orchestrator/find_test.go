package orchestrator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
)

func specNames(all []events.ToolSpec) []string {
	var names []string
	for _, t := range all {
		names = append(names, t.Name)
	}
	return names
}

func TestAModelFindsAndCallsAToolThatWasNotOffered(t *testing.T) {
	s := newScene(t)
	for i := range 200 {
		name := fmt.Sprintf("t%03d", i)
		s.env.Tools[name] = events.ToolSpec{Name: name, Server: "a", Effect: events.EffectPure, Description: "tool"}
	}
	requested := only[*events.GenerationRequested](s.say("use t150"))
	if len(requested) != 1 || requested[0].Searchable == 0 {
		t.Fatalf("requested %+v, want one that says how many tools are searchable", requested)
	}
	before := s.env.offered(s.state.Transcript)
	if len(before.Tools) > offer.MaxOffered || slices.Contains(specNames(before.Tools), "t150") {
		t.Fatalf("%d tools are offered: %v", len(before.Tools), specNames(before.Tools))
	}
	find := s.part(offer.FindTools, `{"query":"t150"}`)
	es := s.model("", find)
	answered := only[*events.ToolCallAnswered](es)
	if len(answered) != 1 || answered[0].By != events.ByParley || !strings.Contains(answered[0].Content, "t150") {
		t.Fatalf("answered %+v", answered)
	}
	if next := only[*events.GenerationRequested](es); len(next) != 1 || next[0].Step != 2 {
		t.Fatalf("the next step is not requested: %+v", next)
	}
	after := specNames(s.env.offered(s.state.Transcript).Tools)
	if !slices.Equal(after, append(specNames(before.Tools), "t150")) {
		t.Errorf("offered %v, want what was offered before, and t150", after)
	}
	if c, _ := s.state.Transcript.Call(find.Call); c.Answered {
		t.Error("the result counts as a person's")
	}
	call := s.part("t150", "{}")
	if run := only[*events.ToolCallRequested](s.model("", call)); len(run) != 1 || run[0].Tool != "t150" {
		t.Errorf("the tool found does not run: %+v", run)
	}
}

func TestASearchThatCannotRunIsAnsweredWithTheReason(t *testing.T) {
	for arguments, status := range map[string]events.Status{`{"query":`: events.StatusInvalidArguments, `{"query":7}`: events.StatusInvalidArguments, `{}`: events.StatusInvalidArguments} {
		s := newScene(t)
		for i := range 200 {
			name := fmt.Sprintf("t%03d", i)
			s.env.Tools[name] = events.ToolSpec{Name: name}
		}
		s.say("find")
		if refused := only[*events.ToolCallRefused](s.model("", s.part(offer.FindTools, arguments))); len(refused) != 1 || refused[0].Status != status {
			t.Errorf("%s: refused %+v", arguments, refused)
		}
	}
}

func TestWithFewToolsThereIsNoSearch(t *testing.T) {
	s := newScene(t)
	if requested := only[*events.GenerationRequested](s.say("find")); requested[0].Searchable != 0 {
		t.Errorf("%d tools are searchable", requested[0].Searchable)
	}
	if refused := only[*events.ToolCallRefused](s.model("", s.part(offer.FindTools, `{"query":"f"}`))); len(refused) != 1 || refused[0].Status != events.StatusUnknownTool {
		t.Errorf("refused %+v", refused)
	}
}

func TestASearchFindsOnlyWhatTheConversationMayUse(t *testing.T) {
	s := newScene(t)
	for i := range 400 {
		name := fmt.Sprintf("%s%03d", map[bool]string{true: "in", false: "out"}[i%2 == 0], i)
		s.env.Tools[name] = events.ToolSpec{Name: name, Description: "thing"}
	}
	s.in(&events.Settings{ID: s.id(), Tools: []string{"in*"}})
	s.say("find")
	for query, finds := range map[string]bool{"in100": true, "out101": false} {
		answered := only[*events.ToolCallAnswered](s.model("", s.part(offer.FindTools, `{"query":"`+query+`"}`)))
		if len(answered) != 1 || strings.Contains(answered[0].Content, `"`+query+`"`) != finds {
			t.Errorf("%s: answered %+v", query, answered)
		}
	}
}
