package accumulator

import "github.com/parleybus/parley/internal/events"

// Size returns how many bytes of text the transcript has, as a model gets them;
// 0 for a nil Transcript.
func (t *Transcript) Size() int64 {
	if t == nil {
		return 0
	}
	return t.size
}

// TextSize returns the size of the texts of messages that are not part of a turn.
func (t *Transcript) TextSize(inputs []string) int64 {
	var n int64
	if t == nil {
		return 0
	}
	for _, id := range inputs {
		if m := t.inputs[id]; m != nil {
			n += int64(len(m.Text))
		}
	}
	return n
}

// sizeOf returns the size of a part of a message, in bytes.
func sizeOf(p events.Part) int64 { return int64(len(p.Text) + len(p.Arguments) + len(p.Carry)) }
