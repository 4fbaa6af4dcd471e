package parley

import "github.com/parleybus/parley/internal/bus"

// Cursor is a position in a conversation's log: the sequence of a message in its
// stream, the index of an event in the message, and the epoch of the stream. Its
// String form, such as "812-3@mii4k1c0", is what programs store and pass on. The
// zero value is the beginning.
type Cursor = bus.Cursor

// WholeMessage is the [Cursor.Index] of the position after all events of a message.
const WholeMessage = bus.Whole

// ParseCursor parses what [Cursor.String] returns. Index and epoch may be left out:
// "812" is the position after message 812, in whichever log there is. It fails with
// [CodeInvalid].
func ParseCursor(text string) (Cursor, error) { return bus.ParseCursor(text) }
