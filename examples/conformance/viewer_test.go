package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/parleybus/parley"
)

// printed is what a viewer prints of an event: docs/checklists/viewer.md.
type printed struct {
	Cursor     string          `json:"cursor,omitempty"`
	Event      json.RawMessage `json:"event,omitempty"`
	Superseded bool            `json:"superseded,omitempty"`
	Supersedes string          `json:"supersedes,omitempty"`
	Error      *failed         `json:"error,omitempty"`
}

type failed struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Resume  string `json:"resume,omitempty"`
}

// expiredExit is the exit code of a viewer whose cursor has expired.
const expiredExit = 3

// view is a viewer on the Go client. It returns the exit code.
func view(ctx context.Context) (int, error) {
	c, err := parley.Connect(ctx, parley.Config{})
	if err != nil {
		return 1, err
	}
	defer c.Close()
	var from parley.From
	if text := os.Getenv("PARLEY_FROM"); text != "" {
		if from.After, err = parley.ParseCursor(text); err != nil {
			return 1, err
		}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for e, err := range c.Conversation(os.Getenv("PARLEY_CONVERSATION")).Events(ctx, from) {
		if err != nil {
			return ended(ctx, out, err)
		}
		p := printed{Cursor: e.Cursor.String(), Event: e.Raw, Superseded: e.Superseded, Supersedes: e.Supersedes}
		switch {
		case e.Decided:
			continue // its Decision has it
		case e.Err != nil:
			p.Error = &failed{Code: "unreadable", Message: e.Err.Error()}
		}
		if err := out.Encode(p); err != nil {
			return 1, err
		}
		if d, ok := e.Body.(*parley.Decision); ok && d.State.Phase == parley.PhaseDeleted {
			return 0, nil
		}
	}
	return 0, nil
}

// ended reports why the events have ended.
func ended(ctx context.Context, out *json.Encoder, err error) (int, error) {
	if expired, ok := errors.AsType[*parley.CursorExpiredError](err); ok {
		e := &failed{Code: "cursor_expired", Message: err.Error()}
		if expired.Resume != (parley.Cursor{}) {
			e.Resume = expired.Resume.String()
		}
		return expiredExit, out.Encode(printed{Error: e})
	}
	if ctx.Err() != nil {
		return 0, nil // SIGTERM
	}
	return 1, err
}
