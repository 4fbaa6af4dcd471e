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
	ID       string        // the Nats-Msg-Id that the publisher set; empty when there is none
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

// message builds a Message, decodes it, and fetches what it claims. A payload
// that cannot be read is not an error here: the reader gets it with Bad set and
// decides. What cannot be fetched now is an error: it may well be fine.
func (b *Bus) message(ctx context.Context, r raw, live bool) (Message, error) {
	m := b.unfetched(r, live)
	err := b.Fetch(ctx, &m)
	return m, err
}

// unfetched is [Bus.message] without fetching what the message claims.
func (b *Bus) unfetched(r raw, live bool) Message {
	m := Message{Subject: r.subject, Sequence: r.seq, Time: r.at.UTC(), Data: r.data, ID: r.id(), Live: live}
	if m.Address, m.Bad = topology.Parse(r.subject); m.Bad == nil {
		m.Lines, m.Bad = events.DecodeFrame(r.data)
	}
	return m
}

// Claim is the claim whose object holds the message's events; nil when Lines
// are the events themselves, or [Bus.Fetch] has fetched them.
func (m *Message) Claim() *events.Claim {
	if len(m.Lines) != 1 {
		return nil
	}
	c, _ := m.Lines[0].Event.(*events.Claim)
	return c
}

// Fetch replaces a claim by the events that it stands for. What will never be
// had (the object is missing, or is not what was stored) sets Bad; an error is
// for what may be had later.
func (b *Bus) Fetch(ctx context.Context, m *Message) error {
	claim := m.Claim()
	if claim == nil {
		return nil
	}
	data, err := b.Get(ctx, &claim.Object)
	switch {
	case err == nil:
		m.Lines, m.Bad = events.DecodeFrame(data)
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if _, later := errors.AsType[*fetchError](err); later {
		return err
	}
	m.Lines, m.Bad = nil, err
	return nil
}
