package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/parleybus/parley"
)

// Seen is a line of the file.
type Seen struct {
	Cursor     string          `json:"cursor,omitempty"`
	Type       string          `json:"type"`
	Raw        json.RawMessage `json:"raw,omitempty"`
	Decided    bool            `json:"decided,omitempty"`
	Superseded bool            `json:"superseded,omitempty"`
	Supersedes string          `json:"supersedes,omitempty"`
}

// SeenOf returns what a viewer writes of an event. The position of one in a Decision is
// that before the Decision, which has several forms.
func SeenOf(e parley.Event) Seen {
	if e.Decided {
		return Seen{"", fmt.Sprintf("%T", e.Body), e.Raw, true, e.Superseded, e.Supersedes}
	}
	return Seen{e.Cursor.String(), fmt.Sprintf("%T", e.Body), e.Raw, e.Decided, e.Superseded, e.Supersedes}
}

// eventsOfAnAttach is after how many events the viewer attaches again: a moment of
// attaching is in the middle of an answer, not only before its conversation begins.
const eventsOfAnAttach = 25

const retryBackoff = 20 * time.Millisecond

// Viewer follows a conversation and writes what it sees to a file. It is killed and
// started again, and then continues behind the last line.
type Viewer struct {
	URL, Conversation, File string

	out   *os.File
	after parley.Cursor
}

// Run follows the conversation until ctx ends.
func (v *Viewer) Run(ctx context.Context) error {
	if err := v.open(); err != nil {
		return fmt.Errorf("continue %s: %w", v.File, err)
	}
	c, err := parley.Connect(ctx, parley.Config{URL: v.URL})
	for err != nil { // the servers may not run yet
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(retryBackoff)
		c, err = parley.Connect(ctx, parley.Config{URL: v.URL})
	}
	defer c.Close()
	for ctx.Err() == nil {
		if err := v.attach(ctx, c.Conversation(v.Conversation)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			var full *os.PathError
			if errors.As(err, &full) {
				return err
			}
			time.Sleep(retryBackoff)
		}
	}
	return nil
}

// open reads what was seen, and removes a line that was cut, and the events of a
// Decision that was not seen to its end: their position is before the Decision.
func (v *Viewer) open() error {
	raw, err := os.ReadFile(v.File)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	size, at := 0, 0
	for line := range bytes.Lines(raw) {
		at += len(line)
		var s Seen
		if json.Unmarshal(line, &s) != nil || !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		if s.Decided {
			continue
		}
		if v.after, err = parley.ParseCursor(s.Cursor); err != nil {
			return err
		}
		size = at
	}
	if v.out, err = os.OpenFile(v.File, os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	if err := v.out.Truncate(int64(size)); err != nil {
		return err
	}
	_, err = v.out.Seek(int64(size), 0)
	return err
}

// attach follows for a number of events.
func (v *Viewer) attach(ctx context.Context, conv *parley.Conversation) error {
	n := 0
	for e, err := range conv.Events(ctx, parley.From{After: v.after}) {
		if err != nil {
			return err
		}
		line, err := json.Marshal(SeenOf(e))
		if err != nil {
			return err
		}
		if _, err := v.out.Write(append(line, '\n')); err != nil {
			return err
		}
		if e.Decided {
			continue
		}
		v.after = e.Cursor
		if n++; n >= eventsOfAnAttach {
			return nil
		}
	}
	return nil
}
