package accumulator

import (
	"cmp"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// Conversation is the state of a conversation: the fold of its log. The zero
// value is a conversation in which nothing has happened; [Resume] begins at a
// Decision instead.
type Conversation struct {
	events.State
	ID string
	// TurnLane is where the turn lane stands: the sequence of its last message.
	TurnLane uint64
	// In is where the in channel stands.
	In uint64
	// Open accumulates the generation that State.Generation names; nil until it
	// starts.
	Open *Generation
	// Inputs wait for an answer, in log order.
	Inputs []Input
	inputs map[string]bool // their ids, where they are many
	// drafted is how many of the original's inputs a draft was made with.
	drafted int
	// Requested asked for the open generation, Asked for the step's calls; they
	// are nil where the conversation was resumed later than that.
	Requested *events.GenerationRequested
	Asked     map[string]*events.ToolCallRequested
	askedAt   map[string]uint64 // where the Decision stands that asked for a call
	// Begun are the calls of the step that a worker has begun.
	Begun map[string]bool
	// Unreadable says why a message on the lane of a call that runs cannot be
	// read, by call: its result may be lost.
	Unreadable map[string]error
	attempts   map[string]string // the attempt that runs a call: the latest to start
	// openAt is where the Decision stands that asked for the open generation.
	openAt uint64
	// behind is what came after an input that has no answer yet, of the in channel
	// and the calls' lanes: who was first in the log is first.
	behind  []Message
	callsAt uint64 // where the calls' lanes stand, taken together
	// Transcript is what was said; nil when it is not kept.
	Transcript *Transcript
}

// Resume is the conversation as a Decision at sequence seq left it.
func Resume(id string, state events.State, seq uint64) *Conversation {
	return &Conversation{ID: id, State: state.Clone(), TurnLane: seq}
}

// Settled takes over the results that another fold of the same log knows, and
// which attempts run. A Decision's state may lack some: those that came after it
// and were not worth another, and those that its owner did not know.
func (c *Conversation) Settled(by *Conversation) {
	for call, attempt := range by.attempts {
		if c.open(call) {
			c.runs(call, attempt)
		}
	}
	for _, call := range by.Calls {
		if call.Status != "" {
			c.settle(call.Call, call.Status)
		}
	}
}

// Message is one message of the log, as the fold takes it.
type Message struct {
	Channel  events.Channel
	Call     string
	Sequence uint64
	Lines    []events.Line
	Bad      error  // why the rest of it cannot be read
	ID       string // the publisher's message id; empty when it set none
	Position string // cursor of what cannot be read
}

// Apply folds a message in. Messages of a channel are given in log order; one
// that was given before changes nothing. An owner may apply its own Decision
// before what stands between it and what it was made on: the result is the same.
// Results that stand behind an input are folded in when that has its answer, so
// that a Cancel or a Verdict is decided on what stood before it.
// What cannot be read waits for an answer on the in channel like any input. On
// the gen lane it cuts the open generation, on the lane of a running call it
// makes the call's outcome unknown; elsewhere it is skipped.
func (c *Conversation) Apply(m Message) {
	switch m.Channel {
	case events.ChannelIn:
		if m.Sequence <= c.In {
			return
		}
		c.In = m.Sequence
		c.take(m)
	case events.ChannelTurn:
		if m.Sequence <= c.TurnLane {
			return
		}
		c.TurnLane = m.Sequence
		for _, l := range m.Lines {
			if d, ok := l.Event.(*events.Decision); ok {
				c.Decide(d)
			}
		}
	case events.ChannelGen:
		if m.Sequence <= c.GenLane {
			return
		}
		c.GenLane = m.Sequence
		c.generation(m)
	case events.ChannelCall:
		if m.Sequence <= c.callsAt {
			return
		}
		c.callsAt = m.Sequence
		c.take(m)
	}
}

// take folds in an input or a message of a call's lane, or keeps it behind the
// inputs that stand before it and have no answer yet.
func (c *Conversation) take(m Message) {
	switch {
	case len(c.behind) > 0, !c.next(m):
		c.behind = append(c.behind, m)
	case m.Channel == events.ChannelIn:
		c.input(m)
	default:
		c.call(m)
	}
}

// Drain folds in what came behind inputs that have no answer: for who has read a
// log to its end, in which an input may have expired before it was answered. The
// results count all the same. The inputs still wait.
func (c *Conversation) Drain() {
	behind := c.behind
	c.behind = nil
	for _, m := range behind {
		if m.Channel == events.ChannelIn {
			c.input(m)
		} else {
			c.call(m)
		}
	}
}

// next reports whether a message can be folded in before the inputs that wait
// have their answers.
func (c *Conversation) next(m Message) bool {
	return m.Channel == events.ChannelIn || len(c.Inputs) == 0
}

// catchUp folds in what came behind inputs that have been answered now.
func (c *Conversation) catchUp() {
	for len(c.behind) > 0 && c.next(c.behind[0]) {
		behind := c.behind
		c.behind = nil
		c.take(behind[0])
		c.behind = behind[1:]
	}
	if len(c.behind) == 0 {
		c.behind = nil
	}
}

func (c *Conversation) open(call string) bool {
	return slices.ContainsFunc(c.Calls, func(s events.CallState) bool { return s.Call == call && s.Status == "" })
}

// settle ends a call of the step; it reports whether the call was open. What
// comes late, after a cancel or a timeout, changes nothing.
func (c *Conversation) settle(call string, status events.Status) bool {
	if !c.open(call) {
		return false
	}
	c.end(call, status)
	return true
}

// end gives a call its status, also over one that it has: whoever decided did
// not know the result that stands between, and the decision is what counts.
func (c *Conversation) end(call string, status events.Status) {
	for i := range c.Calls {
		if s := &c.Calls[i]; s.Call == call {
			*s = events.CallState{Call: s.Call, Tool: s.Tool, Status: status}
		}
	}
}

// Decide folds a Decision's events in.
func (c *Conversation) Decide(d *events.Decision) {
	for _, l := range d.Events {
		c.Decided(l.Event)
	}
	c.catchUp()
}

// Decided folds one event of a Decision in.
func (c *Conversation) Decided(e events.Event) {
	c.Phase = cmp.Or(c.Phase, events.PhaseIdle)
	switch e := e.(type) {
	case *events.InputAnswered:
		c.answered(e)
	case *events.TurnStarted:
		c.Turns++
		c.State = events.State{Phase: events.PhaseGenerating, Turns: c.Turns, Turn: e.Turn, StartedMS: e.AtMS, Route: c.Route,
			Queue: c.Queue, GenLane: c.GenLane, Grants: c.Grants, Hooks: c.Hooks}
		c.forgetCalls()
		c.dequeue(e.Inputs)
	case *events.HooksRequested:
		if e.When == events.HookBefore {
			c.Phase = events.PhasePreparing
		}
		for _, h := range e.Hooks {
			c.Hooks = append(c.Hooks, events.PendingHook{Turn: e.Turn, Hook: h})
		}
	case *events.HookAnswered:
		c.hooks(func(h events.PendingHook) bool { return h.Turn == e.Turn && h.When == e.When && h.Name == e.Hook })
	case *events.GenerationRequested:
		if g := c.Open; e.Try > 1 && g != nil && g.Ended != nil {
			provider, model := g.Model()
			c.spend(provider, model, g.Ended.Usage) // of the try that failed
		}
		c.Phase, c.Generation, c.Step, c.Try = events.PhaseGenerating, e.Generation, e.Step, e.Try
		c.Route = e.Route
		c.Open, c.Requested, c.openAt = nil, e, c.TurnLane
		c.forgetCalls()
	case *events.AssistantMessage:
		c.spend(e.Message.Provider, e.Message.Model, e.Usage)
		c.Phase, c.Generation, c.Open, c.Requested = events.PhaseCalling, "", nil, nil
		c.forgetCalls()
		for _, p := range e.Message.Parts {
			if p.Kind == events.PartCall {
				c.Calls = append(c.Calls, events.CallState{Call: p.Call, Tool: p.Name})
			}
		}
	case *events.ToolCallRequested:
		c.released(e)
	case *events.ToolCallsQueued:
		for i := range c.Calls {
			if s := &c.Calls[i]; slices.Contains(e.Calls, s.Call) && s.Status == "" {
				s.Waits = events.WaitSlot
			}
		}
	case *events.ToolCallRefused:
		c.end(e.Call, e.Status)
	case *events.ToolCallAnswered:
		c.end(e.Call, events.StatusOK)
	case *events.QuestionAnswered:
		for i := range c.Calls {
			if s := &c.Calls[i]; s.Call == e.Call && s.Status == "" && s.Question == e.Question {
				*s = events.CallState{Call: s.Call, Tool: s.Tool}
			}
		}
	case *events.Paused:
		c.paused(e)
	case *events.Resumed:
		c.resumed(e)
	case *events.TurnEnded:
		c.State = events.State{Phase: events.PhaseIdle, Turns: c.Turns, Route: c.Route, Queue: c.Queue, GenLane: c.GenLane, Grants: c.Grants, Hooks: c.Hooks}
		c.hooks(func(h events.PendingHook) bool { return h.Turn == e.Turn && h.When == events.HookBefore })
		c.Open, c.Requested = nil, nil
		c.forgetCalls()
	case *events.DeletionStarted:
		c.deleting(e)
	case *events.ConversationDeleted:
		c.State = events.State{Phase: events.PhaseDeleted, Deleted: e, GenLane: c.GenLane}
	}
	if c.Transcript != nil {
		c.Transcript.decided(e, c.TurnLane)
	}
}

// deleting drops all state: nothing of it is used again.
func (c *Conversation) deleting(e *events.DeletionStarted) {
	c.State = events.State{Phase: events.PhaseDeleting, Deletes: e.Inputs, GenLane: c.GenLane}
	c.Open, c.Requested = nil, nil
	c.forgetCalls()
	for _, id := range e.Inputs {
		c.dropInput(id)
	}
}

func (c *Conversation) forgetCalls() {
	c.Calls, c.Asked, c.askedAt, c.Begun, c.Unreadable, c.attempts = nil, nil, nil, nil, nil, nil
}

// Quiet reports whether nothing is under way and no input waits: what is not in
// the last Decision's state does not matter.
func (c *Conversation) Quiet() bool { return !c.Busy() && len(c.Inputs) == 0 }
