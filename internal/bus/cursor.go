package bus

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// Cursor is a position in the log: stream sequence and index in the frame of
// the event that was seen last, and the epoch of the log they are of.
type Cursor struct {
	Sequence uint64
	Index    int
	// Epoch tells a stream from one of the same name that was made later, whose
	// sequences begin anew. An empty one, in a cursor that was written by hand, is
	// taken for that of the current log.
	Epoch string
}

// Whole is the index of a cursor after all of a message, however much it holds.
const Whole = math.MaxInt

// String is the form that people and programs pass around: "812-3@mii4k1c0", or
// "812@mii4k1c0" for a whole message.
func (c Cursor) String() string {
	s := strconv.FormatUint(c.Sequence, 10)
	if c.Index != Whole {
		s += "-" + strconv.Itoa(c.Index)
	}
	if c.Epoch != "" {
		s += "@" + c.Epoch
	}
	return s
}

// ParseCursor reads what String wrote. The index may be left out ("812" is the
// whole message), and so may the epoch.
func ParseCursor(s string) (Cursor, error) {
	position, epoch, marked := strings.Cut(s, "@")
	seq, index, found := strings.Cut(position, "-")
	c := Cursor{Index: Whole, Epoch: epoch}
	var err error
	if c.Sequence, err = strconv.ParseUint(seq, 10, 64); err == nil && found {
		c.Index, err = strconv.Atoi(index)
	}
	if err != nil || c.Index < 0 || marked && topology.CheckToken("epoch", epoch) != nil {
		return Cursor{}, &BadCursorError{Text: s}
	}
	return c, nil
}

// BadCursorError reports that a text is no cursor.
type BadCursorError struct{ Text string }

func (e *BadCursorError) Error() string {
	return "cursor " + strconv.Quote(Preview(e.Text, 40)) + " is not of the form 812-3 or 812-3@mii4k1c0 (sequence, index in the frame, epoch of the log)"
}

// ErrCursorExpired is what every [ExpiredError] wraps.
var ErrCursorExpired = errors.New("cursor_expired")

// ExpiredError reports that the log does not hold what follows a cursor, or its
// own beginning, any more. Resume is the cursor to resume from; the transcript
// (HISTORY) still has the facts in between, unless the log is another one.
type ExpiredError struct {
	Conversation string
	After        Cursor // zero for the beginning
	Resume       Cursor
	OtherLog     bool // After is a cursor of a stream that is not there any more
}

// Error implements error.
func (e *ExpiredError) Error() string {
	switch {
	case e.OtherLog:
		return fmt.Sprintf("cursor_expired: %s is a cursor of another log, which was deleted or lost its end; begin without a cursor, `parley show %s` has the transcript", e.After, e.Conversation)
	case e.After == Cursor{}:
		return fmt.Sprintf("cursor_expired: the beginning of conversation %s has expired from the log; resume after %s, `parley show %s` has the transcript before it", e.Conversation, e.Resume, e.Conversation)
	}
	return fmt.Sprintf("cursor_expired: what follows %s has expired from the log; resume after %s, `parley show %s` has the transcript before it", e.After, e.Resume, e.Conversation)
}

// Unwrap returns [ErrCursorExpired].
func (e *ExpiredError) Unwrap() error { return ErrCursorExpired }

// epochOf is the epoch of a stream: the time at which it was made, in base 36,
// or what was put in its place when the log lost its end.
func epochOf(info *jetstream.StreamInfo) string {
	if epoch := info.Config.Metadata[topology.MetadataEpoch]; epoch != "" {
		return epoch
	}
	return strconv.FormatInt(info.Created.UnixMilli(), 36)
}
