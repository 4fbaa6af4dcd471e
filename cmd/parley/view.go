package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/terminal"
)

// errBrokenPipe reports that the reader of our output has closed it: that is no
// failure.
var errBrokenPipe = errors.New("output closed")

// view shows events of a conversation, in one of two forms.
type view interface {
	Show(e parley.Event) error
	// Turn is called when a turn has ended, and writes a line about it in the
	// forms that are for people.
	Turn(conversation string) error
	Close() error
}

// people shows a conversation in the terminal.
type people struct {
	w     io.Writer
	p     terminal.Profile
	r     *terminal.Renderer
	quiet bool // the text and nothing else
	// unnamed leaves the conversation out of a turn's last line.
	unnamed bool
}

func newPeople(w io.Writer, o terminal.Options) *people {
	p := profile()
	return &people{w: w, p: p, r: terminal.New(w, p, o), quiet: o.TextOnly}
}

func (v *people) Show(e parley.Event) error {
	if e.Decided || e.Err != nil {
		return nil // the Decision shows them; what cannot be read is in the dead letters
	}
	return outputError(v.r.Show(terminal.Entry{Cursor: e.Cursor.String(), Channel: e.Channel, Time: e.Time, Live: e.Live,
		Line: events.Line{Event: e.Body, Raw: e.Raw}}))
}

func (v *people) Turn(conversation string) error {
	if err := v.r.Close(); err != nil {
		return outputError(err)
	}
	if v.quiet {
		return nil
	}
	if v.unnamed {
		conversation = ""
	}
	_, err := fmt.Fprintln(v.w, v.r.Summary().Line(conversation, v.p))
	return outputError(err)
}

func (v *people) Close() error { return outputError(v.r.Close()) }

// lines shows events as NDJSON, the same bytes for every viewer: what does not
// come from the log is not in it.
type lines struct{ w io.Writer }

// entry is an event as "--json" prints it.
type entry struct {
	Cursor       string          `json:"cursor"`
	Time         time.Time       `json:"time"`
	Conversation string          `json:"conversation"`
	Channel      parley.Channel  `json:"channel"`
	Call         string          `json:"call,omitempty"`
	Event        json.RawMessage `json:"event"`
}

func (v *lines) Show(e parley.Event) error {
	if e.Decided || e.Err != nil {
		return nil // they are in the Decision; what cannot be read is in the dead letters
	}
	raw, err := json.Marshal(entry{Cursor: e.Cursor.String(), Time: e.Time, Conversation: e.Conversation, Channel: e.Channel, Call: e.Call, Event: e.Raw})
	if err != nil {
		return fmt.Errorf("event %s: %w", e.Cursor, err)
	}
	_, err = v.w.Write(append(raw, '\n'))
	return outputError(err)
}

func (v *lines) Turn(string) error { return nil }
func (v *lines) Close() error      { return nil }

func outputError(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return errBrokenPipe
	}
	return err
}

// wrapped breaks a notice between words, each line indented; width 0 is no
// terminal, and breaks nothing.
func wrapped(text string, indent, width int) string {
	return terminal.Profile{Width: width}.Wrap(text, indent)
}
