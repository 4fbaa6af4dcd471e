package accumulator

import (
	"encoding/json"
	"fmt"

	"github.com/parleybus/parley/internal/events"
)

// generation applies a message of the gen lane. Messages before the request
// of the open generation belong to another.
func (c *Conversation) generation(m Message) {
	if c.Generation == "" || m.Sequence <= c.generationSequence {
		return
	}
	for _, l := range m.Lines {
		c.piece(l)
	}
	if m.Bad != nil {
		c.fail(nil, events.ErrCut, "a part of the answer cannot be read: "+m.Bad.Error())
	}
}

// piece applies an event of the open generation. The generation fails when
// an event does not name its attempt, and counts as cut when
// events are missing: only complete answers are used.
func (c *Conversation) piece(l events.Line) {
	e, ok := l.Event.(events.Stamped)
	if !ok {
		c.Open.countUnknown(l)
		return
	}
	attempt, index := e.Position()
	switch e := e.(type) {
	case *events.GenerationStarted:
		switch {
		case e.Generation == "":
			c.incomplete(e, "generation")
			return
		case e.Generation != c.Generation:
			return // an earlier generation
		case attempt == "":
			c.incomplete(e, "attempt")
			return
		case c.Open == nil:
			c.Open = new(Generation)
		}
		c.Open.Apply(e)
		return
	case *events.GenerationEnded:
		if attempt != "" && e.Generation == c.Generation && !c.Open.writes(attempt) && !c.Open.replaced(attempt) {
			c.fail(e, events.ErrCut, "the beginning of the answer is missing from the log")
			return
		}
	}
	call, begins := e.(*events.ToolCallStart)
	switch {
	case attempt == "":
		c.incomplete(e, "attempt")
	case !c.Open.writes(attempt): // a worker that was replaced
	case index < c.Open.next:
		c.fail(nil, events.ErrInternal, fmt.Sprintf("a worker wrote a %s with \"index\" %d after an event with \"index\" %d: the events of an attempt are numbered from 0 without gaps; correct the worker",
			e.Type(), index, c.Open.next-1))
	case begins && call.Call == "":
		c.incomplete(e, "call")
	default:
		c.extend(e)
	}
}

// extend applies an event of the running attempt.
func (c *Conversation) extend(e events.Stamped) {
	if end, ok := e.(*events.GenerationEnded); ok {
		if missing := end.EventCount - c.Open.count - 1; missing > 0 && end.Error == nil {
			c.fail(end, events.ErrCut, fmt.Sprintf("%d of the answer's %d events are missing from the log", missing, end.EventCount))
			return
		}
		e = known(end)
	}
	c.Open.Apply(e)
}

func (c *Conversation) incomplete(e events.Event, field string) {
	c.fail(nil, events.ErrInternal, fmt.Sprintf("a worker wrote a %s without %q, so the answer cannot be used: correct the worker", e.Type(), field))
}

// fail ends the open generation with an error; end is the end that its
// worker wrote, if that could be read.
func (c *Conversation) fail(end *events.GenerationEnded, class events.ErrorClass, why string) {
	if c.Open == nil {
		c.Open = new(Generation)
	}
	if c.Open.Ended != nil {
		return
	}
	failed := &events.GenerationEnded{Generation: c.Generation}
	if end != nil {
		*failed = *end
	}
	failed.Finish, failed.Terminated, failed.Error = events.FinishError, false, &events.Error{Class: class, Message: why}
	c.Open.Ended = failed
}

// known returns the end of an answer with unknown words mapped to ours.
func known(end *events.GenerationEnded) *events.GenerationEnded {
	odd := end.Error != nil && !end.Error.Class.Known()
	if end.Finish.Known() && !odd {
		return end
	}
	mapped := *end
	if !end.Finish.Known() {
		mapped.Finish = events.FinishOther
	}
	if odd {
		e := *end.Error
		e.Class = events.ErrInternal
		mapped.Error = &e
	}
	return &mapped
}

// writes reports whether an attempt is the running one.
func (g *Generation) writes(attempt string) bool {
	return g != nil && g.Started != nil && g.attempt == attempt
}

// replaced reports whether another attempt took the lane from this one.
func (g *Generation) replaced(attempt string) bool {
	return g != nil && g.old[attempt]
}

// countUnknown counts an event of a type that this version does not know.
func (g *Generation) countUnknown(l events.Line) {
	var o events.Origin
	if g == nil || json.Unmarshal(l.Raw, &o) != nil || !g.writes(o.Attempt) || o.Index < g.next {
		return
	}
	g.next, g.count = o.Index+1, g.count+1
}

// Model returns the provider and the model that answer; empty until known.
func (g *Generation) Model() (provider, model string) {
	if g.Started == nil {
		return "", ""
	}
	return g.Started.Provider, g.Started.Model
}
