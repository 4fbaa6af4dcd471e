package events

// BlockSize is what a content block counts by itself towards the size of an
// answer, in bytes: many blocks of one byte each must not be small.
const BlockSize = 256

// AnswerSize returns what an event adds to the size of an answer, in bytes,
// without its block.
func AnswerSize(e Event) int64 {
	switch e := e.(type) {
	case *TextChunk:
		return int64(1 + len(e.Text))
	case *ReasoningChunk:
		return int64(1 + len(e.Text) + len(e.Carry))
	case *ToolCallStart:
		return int64(1 + len(e.ProviderID) + len(e.Name))
	case *ToolCallDelta:
		return int64(1 + len(e.Arguments))
	case *ToolCallEnd:
		return int64(1 + len(e.Invalid) + len(e.Carry))
	}
	return 0
}
