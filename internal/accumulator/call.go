package accumulator

import (
	"slices"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
)

// call applies a message of a call's lane. Only the lane of a call that was
// requested before, or that waits for an external result, counts: writing a
// result does not end a call that waits for a person.
func (c *Conversation) call(m Message) {
	for _, l := range m.Lines {
		if c.expects(m.Call, m.Sequence) {
			c.called(l.Event, m.Call)
		}
	}
	if m.Bad != nil && c.expects(m.Call, m.Sequence) && c.waits(m.Call) != events.WaitResult {
		if c.Unreadable == nil {
			c.Unreadable = map[string]error{}
		}
		c.Unreadable[m.Call] = m.Bad
	}
}

// called applies an event of a call. Events of a worker count while its
// attempt is the latest to have started: other results may come from a
// worker that was replaced, or from an unauthorized writer.
func (c *Conversation) called(e events.Event, call string) {
	switch e := e.(type) {
	case *events.ToolStarted:
		c.runs(call, e.Attempt)
	case *events.QuestionAsked:
		if c.running(call, e.Attempt) {
			c.question(call, e)
		}
	case *events.ToolResult:
		if c.waits(call) != events.WaitResult && !c.running(call, e.Attempt) && !fault.Planted(fault.CountDeadAttempt) {
			return
		}
		status := e.Status
		if !status.Known() {
			status = events.StatusUnknown // any result ends its call
		}
		c.end(call, status)
		if c.Transcript != nil {
			c.Transcript.result(call, events.Part{Kind: events.PartResult, Call: call, Text: e.Content, Status: status, Object: e.Object,
				Attachments: stored(e.Attachments)})
		}
	}
}

// stored returns the attachments whose bytes are stored.
func stored(all []events.Attachment) []events.Attachment {
	if !slices.ContainsFunc(all, missing) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), missing)
}

func missing(a events.Attachment) bool { return a.Object == nil }

// runs records that an attempt has taken a call's lane.
func (c *Conversation) runs(call, attempt string) {
	if c.Started == nil {
		c.Started, c.attempts = map[string]bool{}, map[string]string{}
	}
	c.Started[call], c.attempts[call] = true, attempt
	if c.Transcript != nil {
		c.Transcript.started[call] = true
	}
}

// running reports whether an attempt is the one that runs a call.
func (c *Conversation) running(call, attempt string) bool {
	runs, started := c.attempts[call]
	return started && attempt == runs
}

// expects reports whether a message on a call's lane at sequence seq may
// count.
func (c *Conversation) expects(call string, seq uint64) bool {
	if !c.open(call) {
		return false
	}
	switch c.waits(call) {
	case events.WaitResult:
		return c.anybodyAnswers(call)
	case "", events.WaitAnswer:
		return seq > c.callSequences[call]
	}
	return false
}

// RequestedAt is the sequence of the Decision that requested a call, which is not of an
// earlier step or turn; 0 when this fold has not seen it.
func (c *Conversation) RequestedAt(call string) uint64 { return c.callSequences[call] }

// waits returns what a call waits for; empty while it runs, and for a call
// of another step.
func (c *Conversation) waits(call string) events.Wait {
	i := slices.IndexFunc(c.Calls, func(s events.CallState) bool { return s.Call == call })
	if i < 0 {
		return ""
	}
	return c.Calls[i].Waits
}
