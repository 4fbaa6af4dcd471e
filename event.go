package parley

import (
	"encoding/json"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// Event is one event of a conversation's log.
type Event struct {
	// Cursor is the position after the event: From{After: e.Cursor} continues
	// behind it.
	Cursor Cursor
	// Time is when the server stored it.
	Time         time.Time
	Conversation string
	// Channel is that of its writer, Call on which call's channel it is; Call is empty on
	// the channels in, turn and gen.
	Channel Channel
	Call    string
	// Body is the event's content; *[Unknown] for a type that this version does not
	// know, nil where Err is set. Other viewers in this process share it and Raw: they
	// must not be changed.
	Body Body
	// Raw is the event as it is in the log, one JSON object, including fields that
	// this version does not know.
	Raw json.RawMessage
	// Err is the reason why the rest of a message cannot be read; Body and Raw are nil then.
	Err error
	// Live reports that the event came as it happened, not from the log.
	Live bool
	// Decided reports that the event is one of those in a [Decision]. They come one
	// by one, with the position before the Decision as their cursor; the Decision
	// itself comes last, with its own.
	Decided bool
	// Superseded reports that the event does not count: another attempt took over
	// before it was stored. Supersedes, in a [GenerationStarted] or [ToolStarted],
	// is the attempt that it replaces: what that attempt streamed does not count. Both
	// are also set behind a cursor, unless the start of the attempt that counted there
	// has expired.
	Superseded bool
	Supersedes string
}

// attempts follows which attempt of each lane counts.
type attempts struct {
	generation string            // attempt of the answer that is open
	done       string            // attempt whose AssistantMessage is decided
	calls      map[string]string // attempt that runs, by call
}

// mark sets what the event supersedes, or that it is superseded.
func (a *attempts) mark(e *Event) {
	switch body := e.Body.(type) {
	case *events.GenerationStarted:
		e.Supersedes, a.generation = other(a.generation, body.Attempt), body.Attempt
	case events.Stamped:
		attempt, _ := body.Position()
		e.Superseded = other(a.generation, attempt) != "" || a.done != "" && attempt == a.done
	case *events.AssistantMessage:
		// What was streamed is decided. An answer that failed has none: the next try
		// supersedes it.
		a.done, a.generation = a.generation, ""
	case *events.ToolStarted:
		if a.calls == nil {
			a.calls = map[string]string{}
		}
		e.Supersedes, a.calls[e.Call] = other(a.calls[e.Call], body.Attempt), body.Attempt
	case *events.ToolOutput:
		e.Superseded = other(a.calls[e.Call], body.Attempt) != ""
	case *events.ToolResult:
		e.Superseded = other(a.calls[e.Call], body.Attempt) != ""
		if !e.Superseded {
			delete(a.calls, e.Call)
		}
	case *events.TurnEnded:
		*a = attempts{} // memory does not grow with the number of calls
	}
}

// other returns current if it is known and another one than attempt.
func other(current, attempt string) string {
	if current == attempt {
		return ""
	}
	return current
}

// eventsOf calls yield with the events of a message; it returns false when yield
// does.
func (a *attempts) eventsOf(m *bus.Message, before Cursor, yield func(Event) bool) bool {
	for i, l := range m.Lines {
		give := yield
		if i < m.Skip {
			give = func(Event) bool { return true } // the viewer had it; it may start an attempt
		}
		e := Event{Cursor: m.Cursor(i), Time: m.Time, Conversation: m.Conversation, Channel: m.Channel, Call: m.Call, Live: m.Live}
		if d, ok := l.Event.(*events.Decision); ok {
			for _, inner := range d.Events {
				one := e
				one.Cursor, one.Decided, one.Body, one.Raw = before, true, inner.Event, inner.Raw
				a.mark(&one)
				if !give(one) {
					return false
				}
			}
		}
		e.Body, e.Raw = l.Event, l.Raw
		a.mark(&e)
		if !give(e) {
			return false
		}
		before = e.Cursor
	}
	if m.Bad == nil {
		return true
	}
	at := m.Cursor(bus.Whole)
	return yield(Event{Cursor: at, Time: m.Time, Conversation: m.Conversation, Channel: m.Channel, Call: m.Call, Live: m.Live, Err: m.Bad})
}
