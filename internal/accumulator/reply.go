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

// Replies returns the number of inputs that have an answer.
func (t *Transcript) Replies() int {
	if t == nil {
		return 0
	}
	return len(t.replies)
}

// answeredAfter reports whether an input was answered after a sequence.
func (t *Transcript) answeredAfter(input string, sequence uint64) bool {
	return t != nil && t.replies[input].sequence > sequence
}

// Speaker is who published an input.
type Speaker struct {
	Signer string // name of the identity that signed it; empty when nobody verified that
	From   string // author, as the app named them
}

// speaker returns who published an input.
func (t *Transcript) speaker(input string) Speaker {
	s := Speaker{From: t.from[input]}
	if a := t.replies[input].InputAnswered; a != nil {
		s.Signer = a.Signer
	}
	return s
}

// StartedBy returns the identity that signed the message which started a turn; empty
// when that was not signed, or is not known.
func (t *Transcript) StartedBy(turn string) string {
	if t == nil {
		return ""
	}
	for _, at := range t.index.turns[turn] {
		if inputs := t.entries[at].inputs; len(inputs) > 0 {
			return t.speaker(inputs[0]).Signer
		}
	}
	return ""
}

// Requesters returns the identities whose messages are part of a turn or whose
// Settings were accepted in the conversation. unsigned reports whether there were
// messages or Settings without a signature: of these nobody knows the author.
func (t *Transcript) Requesters(turn string) (signers map[string]bool, unsigned bool) {
	signers = map[string]bool{}
	if t == nil {
		return signers, true
	}
	add := func(input string) {
		if s := t.speaker(input); s.Signer != "" {
			signers[s.Signer] = true
		} else {
			unsigned = true
		}
	}
	for _, at := range t.index.turns[turn] {
		for _, input := range t.entries[at].inputs {
			add(input)
		}
	}
	for signer := range t.configured {
		if signer == "" {
			unsigned = true
		} else {
			signers[signer] = true
		}
	}
	return signers, unsigned
}

// Speakers returns who wrote the messages of the transcript, in order: one for each
// part of a user's message.
func (t *Transcript) Speakers() []Speaker {
	var all []Speaker
	for i := range t.entries {
		for _, input := range t.entries[i].said {
			all = append(all, t.speaker(input))
		}
	}
	return all
}
