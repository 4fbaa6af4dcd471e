package accumulator

import (
	"github.com/parleybus/parley/internal/events"
)

// Transcript is what was said in a conversation, as facts: inputs, answers and
// results. It grows with the conversation and is kept only where a model is to
// be asked or a person wants to read it.
type Transcript struct {
	Settings events.Settings

	entries []entry
	inputs  map[string]*events.UserMessage // not part of a turn yet
	results map[string]events.Part
	turns   map[string]string // the turns that messages began, by the messages' ids
}

type entry struct {
	message events.Message
	turn    string
}

// NewTranscript is the transcript of a conversation in which nothing was said.
func NewTranscript() *Transcript {
	return &Transcript{inputs: map[string]*events.UserMessage{}, results: map[string]events.Part{}, turns: map[string]string{}}
}

func (t *Transcript) input(in Input) {
	switch e := in.Event.(type) {
	case *events.Settings:
		t.Settings = *e
	case *events.UserMessage:
		t.inputs[in.ID] = e
	}
}

// result keeps the first result of a call.
func (t *Transcript) result(call string, p events.Part) {
	if _, ok := t.results[call]; !ok {
		t.results[call] = p
	}
}

func (t *Transcript) decided(e events.Event) {
	switch e := e.(type) {
	case *events.TurnStarted:
		m := events.Message{Role: events.RoleUser}
		for _, id := range e.Inputs {
			t.turns[id] = e.Turn
			if in := t.inputs[id]; in != nil {
				m.Parts = append(m.Parts, events.Part{Kind: events.PartText, Text: in.Text})
				delete(t.inputs, id)
			}
		}
		if len(m.Parts) > 0 {
			t.entries = append(t.entries, entry{message: m, turn: e.Turn})
		}
	case *events.AssistantMessage:
		if len(e.Message.Parts) > 0 {
			t.entries = append(t.entries, entry{message: e.Message, turn: e.Turn})
		}
	case *events.ToolCallRefused:
		// Stands over a result that came while it was being decided: whoever
		// decided did not know that result, and the model must not either.
		t.results[e.Call] = events.Part{Kind: events.PartResult, Call: e.Call, Text: e.Content, Status: e.Status}
	}
}

// TurnOf is the turn that a message began or joined; empty when none did, and
// for a nil Transcript.
func (t *Transcript) TurnOf(input string) string {
	if t == nil {
		return ""
	}
	return t.turns[input]
}

// Messages is the transcript as it is sent to a model: each assistant message
// with calls is followed by one result per call, in the model's order, and
// nothing stands between. A call without a result gets one of status unknown:
// no provider accepts an unanswered call.
func (t *Transcript) Messages() []events.Message {
	all := []events.Message{}
	for _, e := range t.entries {
		all = append(all, e.message)
		for _, p := range e.message.Parts {
			if p.Kind != events.PartCall {
				continue
			}
			r, ok := t.results[p.Call]
			if !ok {
				r = events.Part{Kind: events.PartResult, Call: p.Call, Status: events.StatusUnknown,
					Text: "there is no result: it is not known whether the call ran"}
			}
			r.Name, r.ProviderID, r.Custom = p.Name, p.ProviderID, p.Custom
			all = append(all, events.Message{Role: events.RoleTool, Parts: []events.Part{r}})
		}
	}
	return all
}

// Arguments are the raw arguments of a call.
func (t *Transcript) Arguments(call string) string {
	for i := len(t.entries) - 1; i >= 0; i-- {
		for _, p := range t.entries[i].message.Parts {
			if p.Kind == events.PartCall && p.Call == call {
				return p.Arguments
			}
		}
	}
	return ""
}
