package bus

import (
	"strings"

	"github.com/parleybus/parley/internal/accumulator"
)

// Folded returns the message as the fold takes it. It is the only conversion:
// every field that the fold reads is set here, so that all readers of a log fold
// it to the same state.
func (m Message) Folded() accumulator.Message {
	return accumulator.Message{
		Channel: m.Channel, Call: m.Call, Sequence: m.Sequence, Lines: m.Lines, Bad: m.Bad,
		// Publishers put the conversation before the id, because JetStream looks
		// for duplicates in a whole shard.
		ID:       strings.TrimPrefix(m.ID, m.Conversation+"/"),
		Position: Cursor{Sequence: m.Sequence, Index: len(m.Lines)}.String(),
	}
}
