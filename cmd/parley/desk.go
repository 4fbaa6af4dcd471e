package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parleybus/parley"
)

// desk asks a person for decisions that a conversation waits for, while the
// conversation is shown. At a terminal it prompts; elsewhere it prints once what is
// awaited and which commands decide.
type desk struct {
	q         *question
	conv      *parley.Conversation
	screen    *screen
	begin     func() error // ends the line that is being shown
	postponed func()       // called when a decision was postponed
	asks      bool         // a person at a terminal can be asked

	mu      sync.Mutex
	waits   []parley.Awaited  // in the order in which it came
	past    map[string]bool   // was asked or printed; by matter
	later   map[string]bool   // was postponed; by matter
	runs    map[string]bool   // calls that run
	tries   map[string]string // attempts that run calls, as far as they are known
	sent    map[string]bool   // verdicts of ours that have no answer yet
	people  map[string]string
	asked   string // call of the open question
	off     context.CancelCauseFunc
	editing atomic.Bool   // an editor has the screen
	closed  bool          // the turn is being cancelled: nobody is asked
	open    bool          // the answer to the message that was sent is shown
	more    chan struct{} // something can be asked about
	moved   chan struct{} // something was shown
}

func newDesk(q *question, conv *parley.Conversation, begin func() error, postponed func()) *desk {
	return &desk{q: q, conv: conv, screen: q.screen, begin: begin, postponed: postponed, asks: !q.json && !q.quiet && q.keys.person(),
		past: map[string]bool{}, later: map[string]bool{}, runs: map[string]bool{}, tries: map[string]string{}, sent: map[string]bool{},
		people: map[string]string{}, more: make(chan struct{}, 1), moved: make(chan struct{}, 1)}
}

// seed takes over what waited before anything was shown.
func (d *desk) seed(waiting []parley.Waiting) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(awaited(waiting))
}

// begins allows questions.
func (d *desk) begins() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.open {
		d.open = true
		d.wake()
	}
}

// see records what an event changes, before the event is shown.
func (d *desk) see(e parley.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch body := e.Body.(type) {
	case *parley.Verdict:
		d.people[body.ID] = author("", body.From)
	case *parley.ToolStarted:
		d.tries[e.Call] = body.Attempt
	case *parley.ToolResult:
		if d.counts(e.Call, body.Attempt) {
			delete(d.runs, e.Call)
			d.gone(e.Call, "its result has come")
		}
	case *parley.Decision:
		for _, l := range body.Events {
			if a, ok := l.Event.(*parley.InputAnswered); ok && a.Signer != "" {
				d.people[a.Input] = author(a.Signer, "")
			}
		}
		for _, l := range body.Events {
			d.decided(l.Event)
		}
		clear(d.runs)
		for _, c := range body.State.Calls {
			if c.Running() {
				d.runs[c.Call] = true
			}
		}
	}
}

// counts reports whether a result ends its call: a result on the lane does not end a
// call that waits for a person.
func (d *desk) counts(call, attempt string) bool {
	for _, a := range d.waits {
		if a.Call == call && a.For != parley.WaitAnswer {
			return a.For == parley.WaitResult && a.Needs.Anybody()
		}
	}
	runs, known := d.tries[call]
	return !known || attempt == runs
}

func (d *desk) decided(e parley.Body) {
	switch e := e.(type) {
	case *parley.Paused:
		if e.Reminder > 0 {
			for matter := range d.later {
				delete(d.past, matter)
			}
			clear(d.later)
		}
		d.add(e.Awaiting)
	case *parley.ToolCallRequested:
		switch {
		case e.By == "":
			d.gone(e.Call, "it runs: its time has come")
		case len(e.Arguments) > 0:
			d.gone(e.Call, d.who(e.By)+" edited it: it runs")
		default:
			d.gone(e.Call, d.who(e.By)+" approved it: it runs")
		}
	case *parley.QuestionAnswered:
		switch {
		case !slices.ContainsFunc(d.waits, func(a parley.Awaited) bool { return a.Question == e.Question }):
		case e.By == "":
			d.gone(e.Call, "nobody answered it")
		case e.Declined:
			d.gone(e.Call, d.who(e.By)+" declined it")
		default:
			d.gone(e.Call, d.who(e.By)+" answered it")
		}
	case *parley.ToolCallAnswered:
		d.gone(e.Call, d.who(e.By)+" gave its result")
	case *parley.ToolCallRefused:
		d.gone(e.Call, endOf(e.Status))
	case *parley.Resumed:
		d.end("the turn continues")
	case *parley.TurnEnded:
		d.end("the turn has ended")
		d.closed = false
	case *parley.InputAnswered:
		if !d.sent[e.Input] {
			return
		}
		delete(d.sent, e.Input)
		for _, c := range e.Calls {
			if c.Answer != parley.AnswerAccepted {
				d.again(c.Call)
			}
		}
	}
}

// again asks about a call again if it still waits.
func (d *desk) again(call string) {
	for _, a := range d.waits {
		if a.Call == call {
			delete(d.past, matter(a))
		}
	}
	d.wake()
}

// matter names what is decided: a call may ask several things while it runs.
func matter(a parley.Awaited) string { return a.Call + " " + a.Question }

// endOf describes how a call ended that is not awaited any more.
func endOf(s parley.Status) string {
	switch s {
	case parley.StatusRefused:
		return "it was rejected"
	case parley.StatusExpired:
		return "nobody decided in time"
	case parley.StatusCancelled:
		return "it was cancelled"
	case parley.StatusSuperseded:
		return "a new message took its place"
	}
	return "it ended as " + string(s)
}

func (d *desk) who(verdict string) string {
	return cmp.Or(d.people[verdict], author("", ""))
}

// add adds what is newly awaited.
func (d *desk) add(awaiting []parley.Awaited) {
	for _, a := range awaiting {
		if slices.ContainsFunc(d.waits, func(o parley.Awaited) bool { return o.Call == a.Call && o.Question != a.Question }) {
			d.gone(a.Call, "the tool asks again") // another worker runs it
		}
		if !slices.ContainsFunc(d.waits, func(o parley.Awaited) bool { return o.Call == a.Call }) {
			d.waits = append(d.waits, a)
		}
		if !d.asks && !d.past[matter(a)] {
			d.past[matter(a)] = true
			d.screen.callOff(d.q.app.howToDecide(d.q.conversation, a))
		}
	}
	d.wake()
}

// gone removes a call, and cancels the question about it.
func (d *desk) gone(call, why string) {
	d.waits = slices.DeleteFunc(d.waits, func(a parley.Awaited) bool { return a.Call == call })
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

// callOff ends the open question, and prints the reason.
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

// soon is how long a turn that continues by itself keeps the person from sending
// another message.
const soon = time.Minute

// onlyWaits reports whether the turn waits, there is nothing to ask about, and
// nothing happens soon.
func (d *desk) onlyWaits() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.asks || d.closed || !d.open || d.asked != "" || len(d.waits) == 0 || len(d.sent) > 0 || len(d.runs) > 0 {
		return false
	}
	if slices.ContainsFunc(d.waits, func(a parley.Awaited) bool {
		return a.For == parley.WaitTime && time.Until(time.UnixMilli(a.DueMS)) < soon
	}) {
		return false
	}
	_, more := d.nextToAsk()
	return !more
}

func (d *desk) nextToAsk() (parley.Awaited, bool) {
	if d.closed || !d.open {
		return parley.Awaited{}, false
	}
	for _, a := range d.waits {
		// A call that waits for its time needs no decision.
		if !d.past[matter(a)] && a.For != parley.WaitTime {
			return a, true
		}
	}
	return parley.Awaited{}, false
}
