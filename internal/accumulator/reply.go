package accumulator

import "github.com/parleybus/parley/internal/events"

// reply is the answer to an input, and the sequence of the latest Decision
// that holds it.
type reply struct {
	*events.InputAnswered
	sequence uint64
}

// replied keeps the first answer to an input and reports whether there was
// one already.
func (t *Transcript) replied(e *events.InputAnswered, at uint64) (again bool) {
	old, again := t.replies[e.Input]
	if !again {
		old.InputAnswered = e
	}
	old.sequence = at
	t.replies[e.Input] = old
	for _, id := range e.Dropped {
		dropped := t.replies[id]
		dropped.InputAnswered = &events.InputAnswered{Input: id, Answer: events.AnswerAlreadyEnded, Reason: "a Cancel dropped this message from the queue"}
		t.replies[id] = dropped
	}
	return again
}

// Answered returns the first answer to an input; nil when there is none, and
// for a nil Transcript. An id means the same input for good.
func (t *Transcript) Answered(input string) *events.InputAnswered {
	if t == nil {
		return nil
	}
	return t.replies[input].InputAnswered
}

// answeredAfter reports whether an input was answered after a sequence.
func (t *Transcript) answeredAfter(input string, sequence uint64) bool {
	return t != nil && t.replies[input].sequence > sequence
}
