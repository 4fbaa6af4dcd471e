package orchestrator

import (
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// Bounds of what others can make long. Each Decision carries the whole state, so
// without bounds the cost of a conversation would be quadratic.
const (
	maxInputs  = 64  // inputs in one message
	maxBatch   = 256 // inputs that one Decision answers
	maxQueued  = 100 // messages that wait for the next turn
	maxRulings = 512 // calls that one Verdict decides
	maxGrants  = 256 // standing approvals of a conversation
	maxHooks   = 100 // hooks that have not answered
)

// previewBytes is how much of the text of an answer that exceeds a ceiling is
// kept: the conversation's next turns send it to the model again.
const previewBytes = 16 << 10

// tooLarge returns the error of an answer that exceeds a ceiling; nil when it
// exceeds none. Parley's own llm-workers stop before that.
func tooLarge(g *accumulator.Generation, most ceilings.Ceilings) *events.Error {
	a := ceilings.Answer{Bytes: g.Size()}
	if g.Ended != nil { // counted once, not with each decision while it streams
		a.Calls, a.ArgumentBytes = g.CallCount(), g.LongestArguments()
	}
	if over := most.Exceeded(a); over != nil {
		return ceilingError(over)
	}
	return nil
}

// ceilingError is the error of a ceiling as it crosses the wire; nil for nil.
func ceilingError(err error) *events.Error {
	if err == nil {
		return nil
	}
	return &events.Error{Class: events.ErrCeiling, Code: ceilings.CodeOf(err), Message: err.Error()}
}

func conversationTooLarge(size, most int64) *events.Error {
	return &events.Error{Class: events.ErrCeiling, Code: ceilings.CodeConversationBytes,
		Message: fmt.Sprintf("the conversation has %d bytes, at most %d are sent to a model: begin another one, or raise conversation_bytes", size, most)}
}

// exceeds answers an input that exceeds a ceiling; code is empty when it does not.
func (d *decision) exceeds(input string, a events.Answer, code, reason string) {
	d.emit(&events.InputAnswered{Input: input, Answer: a, Code: code, Reason: reason})
}

// fail ends the turn because an answer or its request failed.
func (d *decision) fail(err *events.Error) {
	d.stop(outcomeOf(err), reasonOf(err), events.StatusCancelled, "the answer failed before the call could run", err)
}

// reasonOf returns the reason of a turn that an error ends: the ceiling's code, or
// the error's class.
func reasonOf(err *events.Error) string {
	if err.Class == events.ErrCeiling && err.Code != "" {
		return err.Code
	}
	return string(err.Class)
}

// boundedMessage returns an answer as it is kept when the turn is stopped: with the
// first of its calls, or, when it exceeds a ceiling, the beginning of its text.
// cut reports whether a part of it is missing.
func (d *decision) boundedMessage(g *accumulator.Generation, why *events.Error) (m events.Message, cut bool) {
	m = g.Message()
	exceeds := why != nil && why.Class == events.ErrCeiling
	left, calls := previewBytes, int64(0)
	kept := m.Parts[:0]
	for _, p := range m.Parts {
		switch {
		case p.Kind == events.PartCall:
			if calls++; exceeds || calls > d.env.Ceilings.AnswerCalls {
				cut = true
				continue
			}
		case exceeds && (p.Kind == events.PartReasoning || left <= 0):
			cut = true
			continue
		case exceeds:
			if len(p.Text) > left {
				p.Text, cut = strings.ToValidUTF8(p.Text[:left], ""), true
			}
			left -= len(p.Text) + events.BlockSize
		}
		kept = append(kept, p)
	}
	m.Parts = kept
	return m, cut
}

// batch returns the inputs that the next Decision answers. The rest of a message is
// answered by the next one: a large Decision would hold up what others store meanwhile.
func batch(c *accumulator.Conversation) []accumulator.Input {
	return c.Inputs[:min(maxBatch, len(c.Inputs))]
}
