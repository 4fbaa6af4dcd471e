package accumulator

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
)

// Input is an input of the in channel without an answer. Exactly one of
// Event and Bad is set.
type Input struct {
	ID       string
	Sequence uint64
	Line     int // of its message, from 0
	Event    events.Event
	Raw      json.RawMessage // the event as it came
	Bad      error           // why it cannot be read
}

// longestID bounds the id of an input, in bytes. An input with a longer one
// is answered under its cursor.
const longestID = 256

// input takes the inputs of a message, each under its id: the event's own,
// else the message's, else the cursor.
func (c *Conversation) input(m Message) {
	for i, l := range m.Lines {
		c.await(Input{ID: m.inputID(i, eventID(l)), Sequence: m.Sequence, Line: i, Event: l.Event, Raw: l.Raw})
	}
	if m.Bad == nil {
		return
	}
	var id string
	if bad, ok := errors.AsType[*events.BadEventError](m.Bad); ok {
		id = bad.ID
	}
	if fault.Planted(fault.AnswerOtherID) {
		id = ""
	}
	c.await(Input{ID: m.inputID(len(m.Lines), id), Sequence: m.Sequence, Line: len(m.Lines), Bad: m.Bad})
}

// await keeps an input until it is answered. One that was published twice is
// answered once, if the answer comes after both.
func (c *Conversation) await(in Input) {
	if c.hasInput(in.ID) || c.Transcript.answeredAfter(in.ID, in.Sequence) {
		return
	}
	c.addInput(in)
	if c.Transcript != nil {
		c.Transcript.input(in)
	}
}

// inputID returns the id of line i, whose event has the id own.
func (m *Message) inputID(i int, own string) string {
	switch {
	case own != "" && len(own) <= longestID:
		return own
	case m.ID == "" || len(m.ID) > longestID:
		return fmt.Sprintf("%d-%d", m.Sequence, i) // its cursor
	case i == 0:
		return m.ID
	}
	return fmt.Sprintf("%s-%d", m.ID, i)
}

func eventID(l events.Line) string {
	switch e := l.Event.(type) {
	case *events.UserMessage:
		return e.ID
	case *events.Settings:
		return e.ID
	case *events.Verdict:
		return e.ID
	case *events.Cancel:
		return e.ID
	case *events.Delete:
		return e.ID
	case *events.Compact:
		return e.ID
	}
	return events.ID(l.Raw)
}
