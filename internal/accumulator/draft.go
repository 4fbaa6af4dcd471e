package accumulator

import (
	"maps"
	"math"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// unstored is the sequence of a Decision that is not stored yet.
const unstored = math.MaxUint64

// Draft returns a copy to decide on, with the first inputs that wait: the events of
// the Decision are applied to it one by one with [Conversation.ApplyDecided], and its
// State is that of the Decision. The original does not change. The copy shares the
// open generation and has no transcript. [Conversation.Adopt] takes it over.
func (c *Conversation) Draft(inputs int) *Conversation {
	part := *c
	part.Inputs = c.Inputs[:inputs]
	d := part.Clone()
	d.TurnLane, d.drafted = unstored, inputs
	return d
}

// Adopt takes over a draft whose Decision is stored at sequence seq: the result is
// that of [Conversation.Apply] with the stored message. Nothing may have been
// applied to the conversation since the draft was made of it.
func (c *Conversation) Adopt(draft *Conversation, d *events.Decision, seq uint64) {
	transcript, inputs, all := c.Transcript, c.inputs, c.Inputs
	*c = *draft
	c.Transcript, c.inputs, c.TurnLane, c.drafted = transcript, inputs, seq, 0
	// The inputs that the draft did not take are not copied: a flood of them takes
	// many Decisions.
	c.Inputs = all[draft.drafted-len(draft.Inputs):]
	copy(c.Inputs, draft.Inputs)
	if c.generationSequence == unstored {
		c.generationSequence = seq
	}
	for call, at := range c.callSequences {
		if at == unstored {
			c.callSequences[call] = seq
		}
	}
	for _, l := range d.Events {
		if transcript != nil {
			transcript.decided(l.Event, seq)
		}
		switch e := l.Event.(type) {
		case *events.InputAnswered:
			delete(inputs, e.Input)
		case *events.DeletionStarted:
			for _, id := range e.Inputs {
				delete(inputs, id)
			}
		}
	}
	c.catchUp()
}

// Clone returns a copy that can be changed without changing the original. It
// shares the open generation and has no transcript.
func (c *Conversation) Clone() *Conversation {
	d := *c
	d.State = c.State.Clone()
	d.Inputs, d.RequestedCalls, d.callSequences = slices.Clone(c.Inputs), maps.Clone(c.RequestedCalls), maps.Clone(c.callSequences)
	d.behind = slices.Clip(c.behind) // both only append and take from the front
	d.Transcript, d.inputs = nil, nil
	return &d
}
