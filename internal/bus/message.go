package bus

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Message is one message of a log as readers get it.
type Message struct {
	topology.Address
	Subject  string // as it was published: conv.…
	Sequence uint64 // in the CONV stream
	Time     time.Time
	Data     []byte        // the payload as it is on the bus
	Lines    []events.Line // its events; those before the bad line when Bad is set
	Bad      error         // why the payload cannot be read
	Skip     int           // events of the frame that the viewer has seen already
	Live     bool          // it came as it happened, not from the log
}

// Cursor is a position in the log: stream sequence and index in the frame of
// the event that was seen last.
type Cursor struct {
	Sequence uint64
	Index    int
}

// Whole is the index of a cursor after all of a message, however much it holds.
const Whole = math.MaxInt

// String is the form that people and programs pass around: "812-3", or "812"
// for a whole message.
func (c Cursor) String() string {
	if c.Index == Whole {
		return strconv.FormatUint(c.Sequence, 10)
	}
	return strconv.FormatUint(c.Sequence, 10) + "-" + strconv.Itoa(c.Index)
}

// ParseCursor reads what String wrote. The index may be left out: "812" is the
// whole message.
func ParseCursor(s string) (Cursor, error) {
	seq, index, found := strings.Cut(s, "-")
	c := Cursor{Index: Whole}
	var err error
	if c.Sequence, err = strconv.ParseUint(seq, 10, 64); err == nil && found {
		c.Index, err = strconv.Atoi(index)
	}
	if err != nil || c.Index < 0 {
		return Cursor{}, &BadCursorError{Text: s}
	}
	return c, nil
}

// BadCursorError says that a text is no cursor.
type BadCursorError struct{ Text string }

func (e *BadCursorError) Error() string {
	return "cursor " + strconv.Quote(Preview(e.Text, 40)) + " is not of the form 812-3 (sequence and index)"
}

// message builds a Message and decodes it. Poison is not an error here: it is
// given to the reader, who decides. What cannot be fetched now is an error: it
// may well be fine.
func (b *Bus) message(ctx context.Context, subject string, seq uint64, at time.Time, data []byte, live bool) (Message, error) {
	m := Message{Subject: subject, Sequence: seq, Time: at.UTC(), Data: data, Live: live}
	m.Address, m.Bad = topology.Parse(subject)
	if m.Bad == nil {
		m.Lines, m.Bad = b.decode(ctx, data)
	}
	var unfetched *fetchError
	switch {
	case m.Bad != nil && ctx.Err() != nil:
		return m, context.Cause(ctx)
	case errors.As(m.Bad, &unfetched):
		return m, m.Bad
	}
	return m, nil
}
