package orchestrator

import (
	"encoding/json"
	"fmt"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// conversationLog is the log of one conversation and its owner, who folds it
// and appends Decisions. The owner may be behind: then its Decisions come in the log
// after messages that it does not know.
type conversationLog struct {
	id       string
	messages []accumulator.Message
	known    int // messages the owner has folded
	state    *accumulator.Conversation
	// complete are the blocks whose calls have become complete since a decision.
	complete []int
	// states are the states in the Decisions, by sequence.
	states map[uint64]events.State
}

func newLog(id string) *conversationLog {
	return &conversationLog{id: id, state: empty(id), states: map[uint64]events.State{}}
}

func empty(id string) *accumulator.Conversation {
	return &accumulator.Conversation{ID: id, Transcript: accumulator.NewTranscript()}
}

func (l *conversationLog) append(m accumulator.Message) uint64 {
	m.Sequence = uint64(len(l.messages) + 1)
	m.Position = fmt.Sprintf("%d-%d", m.Sequence, len(m.Lines))
	l.messages = append(l.messages, m)
	return m.Sequence
}

// fold lets the owner read one more message; it reports whether there was one.
func (l *conversationLog) fold() bool {
	if l.known == len(l.messages) {
		return false
	}
	m := l.messages[l.known]
	l.state.Apply(m)
	l.known++
	for _, line := range m.Lines {
		if e, ok := line.Event.(*events.ToolCallEnd); ok && m.Channel == events.ChannelGen {
			l.complete = append(l.complete, e.Block)
		}
	}
	return true
}

func (l *conversationLog) foldAll() {
	for l.fold() {
	}
}

// decided appends a Decision and adopts it as the owner does: at once, before the
// messages in between.
func (l *conversationLog) decided(d *events.Decision, draft *accumulator.Conversation) {
	m := accumulator.Message{Channel: events.ChannelTurn, Lines: []events.Line{overTheWire(d)}}
	m.Sequence = l.append(m)
	l.states[m.Sequence] = d.State
	l.state.Adopt(draft, d, m.Sequence)
}

// eventsOf are the events of a Decision; none of nil.
func eventsOf(d *events.Decision) []events.Event {
	if d == nil {
		return nil
	}
	var all []events.Event
	for _, l := range d.Events {
		all = append(all, l.Event)
	}
	return all
}

// overTheWire is what a reader of the log gets.
func overTheWire(e events.Event) events.Line {
	raw, err := events.Append(nil, e)
	if err == nil {
		var line events.Line
		if line, err = events.DecodeLine(raw); err == nil {
			return line
		}
	}
	panic(err) // a test that writes what cannot be read
}

// looks writes all of a conversation that the next decision or request depends on.
func looks(c *accumulator.Conversation) string {
	type view struct {
		State     events.State
		Inputs    []string
		Open      *events.Message
		Ended     bool
		Started   map[string]bool
		Calls     int
		Requested string
		Messages  []events.Message
		Settings  events.Settings
		Document  accumulator.Document
		Lost      []string        // calls whose result cannot be read
		By        map[string]bool // who requested the turn
		Unsigned  bool
		Speakers  []accumulator.Speaker
	}
	v := view{State: c.State, Started: c.Started, Calls: len(c.RequestedCalls), Messages: c.Transcript.Messages(), Settings: c.Transcript.Settings, Document: c.Transcript.Document}
	v.By, v.Unsigned = c.Transcript.Requesters(c.Turn)
	v.Speakers = c.Transcript.Speakers()
	for _, in := range c.Inputs {
		v.Inputs = append(v.Inputs, in.ID)
	}
	for _, call := range c.Calls {
		if call.Status == "" && c.Unreadable[call.Call] != nil {
			v.Lost = append(v.Lost, call.Call)
		}
	}
	if c.Open != nil {
		m := c.Open.Message()
		v.Open, v.Ended = &m, c.Open.Ended != nil
	}
	if c.Requested != nil {
		v.Requested = c.Requested.Generation
	}
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
