package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// desk puts what a conversation waits for before a person while the conversation
// is shown. It asks where somebody sits at a terminal; elsewhere it says once
// what is awaited and which commands decide.
type desk struct {
	q      *question
	s      *session
	screen *screen
	begin  func() error // ends the line of what is shown
	rests  func()       // called when something was put off
	asks   bool         // somebody sits here who can be asked

	mu      sync.Mutex
	waits   []events.Awaited  // in the order in which it came
	past    map[string]bool   // was asked or said; by matter
	later   map[string]bool   // was put off; by matter
	runs    map[string]bool   // calls that run
	tries   map[string]string // attempts that run calls, as far as they are known
	sent    map[string]bool   // verdicts of ours that have no answer yet
	people  map[string]string
	asked   string // call that is asked about
	off     context.CancelCauseFunc
	editing atomic.Bool   // an editor has the screen
	closed  bool          // the turn is being cancelled: nobody is asked
	open    bool          // what became of the message that was said is shown
	more    chan struct{} // something can be asked about
	moved   chan struct{} // something was shown
}

func newDesk(q *question, s *session, begin func() error, rests func()) *desk {
	return &desk{q: q, s: s, screen: q.screen, begin: begin, rests: rests, asks: !q.json && !q.quiet && q.keys.person(),
		past: map[string]bool{}, later: map[string]bool{}, runs: map[string]bool{}, tries: map[string]string{}, sent: map[string]bool{},
		people: map[string]string{}, more: make(chan struct{}, 1), moved: make(chan struct{}, 1)}
}

// seed takes over what waited before anything was shown.
func (d *desk) seed(awaiting []events.Awaited) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(awaiting)
}

// begins lets people be asked.
func (d *desk) begins() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.open {
		d.open = true
		d.wake()
	}
}

// see takes note of what a message changes. It comes before the message is shown.
func (d *desk) see(m bus.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range m.Lines[min(m.Skip, len(m.Lines)):] {
		switch e := l.Event.(type) {
		case *events.Verdict:
			d.people[e.ID] = e.From
		case *events.ToolStarted:
			d.tries[m.Call] = e.Attempt
		case *events.ToolResult:
			if d.counts(m.Call, e.Attempt) {
				delete(d.runs, m.Call)
				d.gone(m.Call, "its result has come")
			}
		case *events.Decision:
			for _, l := range e.Events {
				d.decided(l.Event)
			}
			clear(d.runs)
			for _, c := range e.State.Calls {
				if c.Running() {
					d.runs[c.Call] = true
				}
			}
		}
	}
}

// counts reports whether a result ends its call: no one ends a call that waits for
// a person by writing its result.
func (d *desk) counts(call, attempt string) bool {
	for _, a := range d.waits {
		if a.Call == call && a.For != events.WaitAnswer {
			return a.For == events.WaitResult
		}
	}
	runs, known := d.tries[call]
	return !known || attempt == runs
}

func (d *desk) decided(e events.Event) {
	switch e := e.(type) {
	case *events.Paused:
		if e.Reminder > 0 {
			for matter := range d.later {
				delete(d.past, matter)
			}
			clear(d.later)
		}
		d.add(e.Awaiting)
	case *events.ToolCallRequested:
		switch {
		case e.By == "":
			d.gone(e.Call, "it runs: its time has come")
		case len(e.Arguments) > 0:
			d.gone(e.Call, d.who(e.By)+" edited it: it runs")
		default:
			d.gone(e.Call, d.who(e.By)+" approved it: it runs")
		}
	case *events.QuestionAnswered:
		switch {
		case !slices.ContainsFunc(d.waits, func(a events.Awaited) bool { return a.Question == e.Question }):
		case e.By == "":
			d.gone(e.Call, "nobody answered it")
		case e.Declined:
			d.gone(e.Call, d.who(e.By)+" declined it")
		default:
			d.gone(e.Call, d.who(e.By)+" answered it")
		}
	case *events.ToolCallAnswered:
		d.gone(e.Call, d.who(e.By)+" gave its result")
	case *events.ToolCallRefused:
		d.gone(e.Call, endOf(e.Status))
	case *events.Resumed:
		d.end("the turn goes on")
	case *events.TurnEnded:
		d.end("the turn has ended")
		d.closed = false
	case *events.InputAnswered:
		if !d.sent[e.Input] {
			return
		}
		delete(d.sent, e.Input)
		for _, c := range e.Calls {
			if c.Answer != events.AnswerAccepted {
				d.again(c.Call)
			}
		}
	}
}

// again lets a call be asked about again if it waits still.
func (d *desk) again(call string) {
	for _, a := range d.waits {
		if a.Call == call {
			delete(d.past, matter(a))
		}
	}
	d.wake()
}

// matter names what is decided: a call may ask several things while it runs.
func matter(a events.Awaited) string { return a.Call + " " + a.Question }

// endOf says how a call ended that nobody waits for any longer.
func endOf(s events.Status) string {
	switch s {
	case events.StatusRefused:
		return "it was rejected"
	case events.StatusExpired:
		return "nobody decided in time"
	case events.StatusCancelled:
		return "it was cancelled"
	case events.StatusSuperseded:
		return "a new message took its place"
	}
	return "it ended as " + string(s)
}

func (d *desk) who(verdict string) string {
	if from := d.people[verdict]; from != "" {
		return plainLine(from)
	}
	return "somebody"
}

// add takes what is awaited and was not before.
func (d *desk) add(awaiting []events.Awaited) {
	for _, a := range awaiting {
		if slices.ContainsFunc(d.waits, func(o events.Awaited) bool { return o.Call == a.Call && o.Question != a.Question }) {
			d.gone(a.Call, "the tool asks anew") // another worker runs it
		}
		if !slices.ContainsFunc(d.waits, func(o events.Awaited) bool { return o.Call == a.Call }) {
			d.waits = append(d.waits, a)
		}
		if !d.asks && !d.past[matter(a)] {
			d.past[matter(a)] = true
			d.screen.callOff(d.q.app.howToDecide(d.q.conversation, a))
		}
	}
	d.wake()
}

// gone takes a call off, and calls a question about it off.
func (d *desk) gone(call, why string) {
	d.waits = slices.DeleteFunc(d.waits, func(a events.Awaited) bool { return a.Call == call })
	if d.asked == call && call != "" {
		d.callOff(why)
	}
}

func (d *desk) end(why string) {
	d.waits = nil
	if d.asked != "" {
		d.callOff(why)
	}
}

// callOff ends the question that is open, and says why.
func (d *desk) callOff(why string) {
	p := errorProfile()
	d.asked = ""
	d.off(errCalledOff)
	d.screen.callOff(p.Dim("— " + why + " —"))
}

// close stops asking: the turn is being cancelled.
func (d *desk) close(why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.asked != "" {
		d.asked = ""
		d.off(errCalledOff)
	}
	d.screen.callOff(why)
}

func (d *desk) wake() { signalled(d.more) }

// soon is how long a person is kept from saying something else by a turn that
// goes on by itself.
const soon = time.Minute

// resting reports whether the turn waits, there is nothing to ask about, and
// nothing happens soon.
func (d *desk) resting() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.asks || d.closed || !d.open || d.asked != "" || len(d.waits) == 0 || len(d.sent) > 0 || len(d.runs) > 0 {
		return false
	}
	if slices.ContainsFunc(d.waits, func(a events.Awaited) bool {
		return a.For == events.WaitTime && time.Until(time.UnixMilli(a.DueMS)) < soon
	}) {
		return false
	}
	_, more := d.nextToAsk()
	return !more
}

func (d *desk) nextToAsk() (events.Awaited, bool) {
	if d.closed || !d.open {
		return events.Awaited{}, false
	}
	for _, a := range d.waits {
		// What waits for its time needs nobody.
		if !d.past[matter(a)] && a.For != events.WaitTime {
			return a, true
		}
	}
	return events.Awaited{}, false
}
