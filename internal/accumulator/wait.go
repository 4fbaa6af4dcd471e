package accumulator

import (
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// answered applies the answer to an input.
func (c *Conversation) answered(e *events.InputAnswered) {
	c.dropInput(e.Input)
	if e.Answer == events.AnswerQueued && !slices.Contains(c.Queue, e.Input) {
		c.Queue = append(c.Queue, e.Input)
	}
	if e.Supersedes != "" && e.Supersedes == c.Turn {
		c.Superseded = true
	}
	c.dequeue(e.Dropped)
	c.approved(e)
	for _, g := range e.Granted {
		if !slices.ContainsFunc(c.Grants, func(o events.Grant) bool { return o.ID == g.ID }) {
			c.Grants = append(c.Grants, g)
		}
	}
	if len(e.Revoked) > 0 {
		c.Grants = slices.DeleteFunc(c.Grants, func(g events.Grant) bool { return slices.Contains(e.Revoked, g.ID) })
	}
	if len(c.Grants) == 0 {
		c.Grants = nil
	}
}

// manyInputs is the number of inputs from which a map replaces the linear
// search.
const manyInputs = 32

// hasInput reports whether an input waits for its answer.
func (c *Conversation) hasInput(input string) bool {
	if len(c.Inputs) < manyInputs {
		return slices.ContainsFunc(c.Inputs, func(in Input) bool { return in.ID == input })
	}
	if c.inputs == nil {
		c.inputs = make(map[string]bool, 2*len(c.Inputs))
		for _, in := range c.Inputs {
			c.inputs[in.ID] = true
		}
	}
	return c.inputs[input]
}

func (c *Conversation) addInput(in Input) {
	c.Inputs = append(c.Inputs, in)
	if c.inputs != nil {
		c.inputs[in.ID] = true
	}
}

// dropInput removes an answered input. Most are answered in order, so the
// shorter side of the slice is moved.
func (c *Conversation) dropInput(input string) {
	i := slices.IndexFunc(c.Inputs, func(in Input) bool { return in.ID == input })
	switch {
	case i < 0:
		return
	case i < len(c.Inputs)/2:
		copy(c.Inputs[1:i+1], c.Inputs[:i])
		c.Inputs[0] = Input{}
		c.Inputs = c.Inputs[1:]
	default:
		c.Inputs = slices.Delete(c.Inputs, i, i+1)
	}
	delete(c.inputs, input)
}

// dequeue removes messages from the queue.
func (c *Conversation) dequeue(ids []string) {
	c.Queue = slices.DeleteFunc(c.Queue, func(id string) bool { return slices.Contains(ids, id) })
	if len(c.Queue) == 0 {
		c.Queue = nil
	}
}

// hooks removes pending hooks.
func (c *Conversation) hooks(done func(events.PendingHook) bool) {
	c.Hooks = slices.DeleteFunc(c.Hooks, done)
	if len(c.Hooks) == 0 {
		c.Hooks = nil
	}
}

// spend adds the usage of an answer that a Decision used. Usage of an answer
// that came too late does not count, so that every reader of the log gets
// the same sum.
func (c *Conversation) spend(provider, model string, usage *events.Usage) {
	if usage == nil {
		return
	}
	c.Usage = c.Usage.Add(usage)
	if c.Spent == nil {
		c.Spent = map[string]*events.Usage{}
	}
	c.Spent[provider+"/"+model] = c.Spent[provider+"/"+model].Add(usage)
}

// released applies the request of a call.
func (c *Conversation) released(e *events.ToolCallRequested) {
	if c.RequestedCalls == nil {
		c.RequestedCalls, c.callSequences = map[string]*events.ToolCallRequested{}, map[string]uint64{}
	}
	c.RequestedCalls[e.Call], c.callSequences[e.Call] = e, c.TurnLane
	c.early(e)
	for i := range c.Calls {
		if s := &c.Calls[i]; s.Call == e.Call {
			status := s.Status
			*s = without(*s)
			s.Status = status
		}
	}
}

// paused records what the turn waits for. A call that already has its result
// waits for nothing.
func (c *Conversation) paused(e *events.Paused) {
	if c.Phase != events.PhasePaused {
		c.Phase, c.PausedMS = events.PhasePaused, e.AtMS
	}
	c.RemindMS, c.Reminders = e.RemindMS, e.Reminder
	for _, a := range e.Awaiting {
		if a.For == events.WaitLimit {
			c.hold(a)
			continue
		}
		for i := range c.Calls {
			if s := &c.Calls[i]; s.Call == a.Call && s.Status == "" {
				if a.For == events.WaitAnswer && s.Question != a.Question {
					continue // it has another question by now
				}
				s.Waits, s.Effect, s.Digest, s.Rule, s.DueMS, s.DeadlineMS = a.For, a.Effect, a.Digest, a.Rule, a.DueMS, a.DeadlineMS
				s.Needs, s.Approved = a.Needs, a.Approved
			}
		}
	}
}

// hold records a question at a limit: the calls that were to run next wait
// for it.
func (c *Conversation) hold(a events.Awaited) {
	c.Question = &events.Question{ID: a.Call, Limit: a.Reason, Digest: a.Digest, DeadlineMS: a.DeadlineMS}
	for i := range c.Calls {
		if s := &c.Calls[i]; s.Status == "" && s.Waits == "" && !s.Early() {
			s.Waits = events.WaitLimit
		}
	}
}

// resumed ends a pause.
func (c *Conversation) resumed(e *events.Resumed) {
	c.Phase = events.PhaseCalling
	c.WaitedMS += max(0, e.AtMS-c.PausedMS)
	c.PausedMS, c.RemindMS, c.Reminders, c.Question = 0, 0, 0, nil
	if e.Extended != "" {
		if c.Extended == nil {
			c.Extended = map[string]int{}
		}
		c.Extended[e.Extended] += max(e.Portions, 1)
	}
	for i := range c.Calls {
		if s := &c.Calls[i]; s.Waits == events.WaitLimit {
			s.Waits = ""
		}
	}
}

// question records a tool's question to a person.
func (c *Conversation) question(call string, e *events.QuestionAsked) {
	for i := range c.Calls {
		if s := &c.Calls[i]; s.Call == call {
			*s = without(*s)
			s.Waits, s.Question, s.Digest = events.WaitAnswer, e.Question, events.Digest(string(e.Arguments()))
		}
	}
	if c.Transcript != nil {
		c.Transcript.questions[e.Question] = e
	}
}

// approved records approvals that do not suffice yet. An answer that is repeated
// records nothing twice.
func (c *Conversation) approved(e *events.InputAnswered) {
	if e.Signer == "" {
		return
	}
	for _, a := range e.Calls {
		if a.Missing <= 0 || a.Answer != events.AnswerAccepted {
			continue
		}
		for i := range c.Calls {
			s := &c.Calls[i]
			if s.Call != a.Call || s.Status != "" || s.Waits != events.WaitApproval {
				continue
			}
			if !slices.ContainsFunc(s.Approved, func(o events.Approval) bool { return o.Signer == e.Signer }) {
				// Drafts and states share the slice.
				s.Approved = append(slices.Clip(s.Approved), events.Approval{Signer: e.Signer, Verdict: e.Input})
			}
		}
	}
}

// anybodyAnswers reports whether a result on the lane of a call that waits for one
// counts. Where particular people must answer, a Verdict does: it can be signed.
func (c *Conversation) anybodyAnswers(call string) bool {
	return !slices.ContainsFunc(c.Calls, func(s events.CallState) bool { return s.Call == call && !s.Needs.Anybody() })
}
