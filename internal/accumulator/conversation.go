package accumulator

import (
	"cmp"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// Conversation is the state of a conversation: the fold of its log. The zero
// value is a conversation without events; [Resume] starts at a Decision
// instead.
type Conversation struct {
	events.State
	ID string
	// TurnLane is the position of the turn lane: the sequence of its last
	// message.
	TurnLane uint64
	// In is the position of the in channel.
	In uint64
	// Open accumulates the generation that State.Generation names; nil until
	// it starts.
	Open *Generation
	// Inputs wait for an answer, in log order.
	Inputs []Input
	inputs map[string]bool // their ids, when there are many
	// drafted is the number of inputs of the original that a draft was made
	// with.
	drafted int
	// Requested is the request of the open generation, Asked has those of
	// the step's calls. They are nil when the conversation was resumed after
	// them.
	Requested      *events.GenerationRequested
	RequestedCalls map[string]*events.ToolCallRequested
	callSequences  map[string]uint64 // of the Decisions that requested calls
	// Started are the calls of the step that a worker has started.
	Started map[string]bool
	// Unreadable has the reason why a message on the lane of a running call
	// cannot be read, by call: its result may be lost.
	Unreadable map[string]error
	attempts   map[string]string // the attempt that runs a call: the latest to start
	// generationSequence is the sequence of the Decision that requested the
	// open generation.
	generationSequence uint64
	// behind has the messages of the in channel and of calls' lanes that
	// follow an unanswered input: they are applied in log order after its
	// answer.
	behind           []Message
	lastCallSequence uint64 // last sequence on any call's lane
	// Transcript has the messages and results; nil when it is not kept.
	Transcript *Transcript
}

// Resume returns the conversation after a Decision at sequence seq.
func Resume(id string, state events.State, seq uint64) *Conversation {
	return &Conversation{ID: id, State: state.Clone(), TurnLane: seq}
}

// TakeResults takes over results and running attempts from another fold of the
// same log. A Decision's state may lack some: results that came after it
// without leading to another Decision, and those that its owner had not
// read.
func (c *Conversation) TakeResults(by *Conversation) {
	for call, attempt := range by.attempts {
		if c.open(call) {
			c.runs(call, attempt)
		}
	}
	for _, call := range by.Calls {
		if call.Status != "" {
			c.endIfOpen(call.Call, call.Status)
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

// Apply applies a message of the log. Messages of a channel come in log order; one
// that comes again changes nothing. An owner may apply its own Decision before the
// messages between it and the state that it was made on: the result is the same.
//
// Results that follow an unanswered input are applied after its answer, so that a
// Cancel or a Verdict is decided on the messages before it.
//
// An unreadable message waits for an answer on the in channel like any input. On
// the gen lane it cuts the open generation, on the lane of a running call it makes
// the call's outcome unknown; elsewhere it is skipped.
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
				c.applyDecision(d)
			}
		}
	case events.ChannelGen:
		if m.Sequence <= c.GenLane {
			return
		}
		c.GenLane = m.Sequence
		c.generation(m)
	case events.ChannelCall:
		if m.Sequence <= c.lastCallSequence {
			return
		}
		c.lastCallSequence = m.Sequence
		c.take(m)
	}
}

// take applies a message of the in channel or of a call's lane, or keeps it
// until the inputs before it are answered.
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

// Drain applies the messages kept behind unanswered inputs, for readers at
// the end of a log in which an input may have expired before its answer.
// Results count all the same. The inputs still wait.
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

// next reports whether a message can be applied before the waiting inputs
// are answered.
func (c *Conversation) next(m Message) bool {
	return m.Channel == events.ChannelIn || len(c.Inputs) == 0
}

// catchUp applies kept messages whose preceding inputs have been answered.
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

// endIfOpen ends a call of the step and reports whether it was open. Results
// after a cancel or a timeout change nothing.
func (c *Conversation) endIfOpen(call string, status events.Status) bool {
	if !c.open(call) {
		return false
	}
	c.end(call, status)
	return true
}

// end sets the status of a call, even if it has one: a Decision wins over a
// result that its owner had not read.
func (c *Conversation) end(call string, status events.Status) {
	for i := range c.Calls {
		if s := &c.Calls[i]; s.Call == call {
			*s = without(*s)
			s.Status = status
		}
	}
}

// setRoute sets the model that is called. Another model has another window.
func (c *Conversation) setRoute(route string) {
	if c.Route != route {
		c.Route, c.Window = route, 0
	}
}

// setPool sets the pool that the model was chosen from, and its models that failed in
// the step.
func (c *Conversation) setPool(e *events.GenerationRequested) {
	c.Pool = e.Pool
	if e.Try == 1 {
		c.Failed = nil
	}
	if e.Failed != nil {
		c.Failed = events.WithFailed(c.Failed, *e.Failed)
	}
}

// answer applies the model's answer: its calls are those of the step.
func (c *Conversation) answer(e *events.AssistantMessage) {
	c.Window = cmp.Or(c.Window, e.Window) // what a refusal named counts
	c.spend(e.Message.Provider, e.Message.Model, e.Usage)
	c.Phase, c.Generation, c.Open, c.Requested = events.PhaseCalling, "", nil, nil
	c.complete(e.Message)
}

// lasting returns the part of the state that lasts from one turn to the next.
func (c *Conversation) lasting() events.State {
	return events.State{Phase: events.PhaseIdle, Turns: c.Turns, Route: c.Route, Pool: c.Pool, Window: c.Window, Queue: c.Queue, GenLane: c.GenLane, Grants: c.Grants, Hooks: c.Hooks}
}

// applyDecision applies the events of a Decision.
func (c *Conversation) applyDecision(d *events.Decision) {
	for _, l := range d.Events {
		c.ApplyDecided(l.Event)
	}
	c.catchUp()
}

// ApplyDecided applies one event of a Decision.
func (c *Conversation) ApplyDecided(e events.Event) {
	c.Phase = cmp.Or(c.Phase, events.PhaseIdle)
	switch e := e.(type) {
	case *events.InputAnswered:
		c.answered(e)
	case *events.TurnStarted:
		c.Turns++
		c.State = c.lasting()
		c.Phase, c.Turn, c.StartedMS = events.PhaseGenerating, e.Turn, e.AtMS
		c.clearCalls()
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
		if g := c.Open; g != nil {
			usage := e.Usage
			if usage == nil && e.Try > 1 && g.Ended != nil { // written by an older version
				usage = g.Ended.Usage
			}
			provider, model := g.Model()
			c.spend(provider, model, usage)
		}
		c.Phase, c.Generation, c.Step, c.Try, c.Refused = events.PhaseGenerating, e.Generation, e.Step, e.Try, e.Refused
		c.setRoute(e.Route)
		c.setPool(e)
		c.Open, c.Requested, c.generationSequence = nil, e, c.TurnLane
		c.clearCalls()
	case *events.AnswerRejected:
		c.Rejected++
	case *events.Compacted:
		c.Window = cmp.Or(e.Window, c.Window)
	case *events.AssistantMessage:
		c.answer(e)
	case *events.ToolCallRequested:
		c.released(e)
	case *events.ToolCallsQueued:
		for i := range c.Calls {
			if s := &c.Calls[i]; slices.Contains(e.Calls, s.Call) && s.Status == "" {
				s.Waits = events.WaitSlot
			}
		}
	case *events.ToolCallRefused:
		c.refused(e)
	case *events.ToolCallAnswered:
		c.end(e.Call, events.StatusOK)
	case *events.QuestionAnswered:
		for i := range c.Calls {
			if s := &c.Calls[i]; s.Call == e.Call && s.Status == "" && s.Question == e.Question {
				*s = without(*s)
			}
		}
	case *events.Paused:
		c.paused(e)
	case *events.Resumed:
		c.resumed(e)
	case *events.TurnEnded:
		c.State = c.lasting()
		c.hooks(func(h events.PendingHook) bool { return h.Turn == e.Turn && h.When == events.HookBefore })
		c.Open, c.Requested = nil, nil
		c.clearCalls()
	case *events.DeletionStarted:
		c.deleting(e)
	case *events.ConversationDeleted:
		c.State = events.State{Phase: events.PhaseDeleted, Deleted: e, GenLane: c.GenLane}
	}
	if c.Transcript != nil {
		c.Transcript.decided(e, c.TurnLane)
	}
}

// deleting clears the state: nothing of it is used again.
func (c *Conversation) deleting(e *events.DeletionStarted) {
	c.State = events.State{Phase: events.PhaseDeleting, Deletes: e.Inputs, Deleters: e.Signers, GenLane: c.GenLane}
	c.Open, c.Requested = nil, nil
	c.clearCalls()
	for _, id := range e.Inputs {
		c.dropInput(id)
	}
}

func (c *Conversation) clearCalls() {
	c.Calls, c.RequestedCalls, c.callSequences, c.Started, c.Unreadable, c.attempts = nil, nil, nil, nil, nil, nil
}

// Quiet reports whether there is neither work in progress nor a waiting
// input: the last Decision has the whole state.
func (c *Conversation) Quiet() bool { return !c.Busy() && len(c.Inputs) == 0 }
