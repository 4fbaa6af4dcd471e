package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
)

func (a *app) followApprovals(ctx context.Context, s *host.Session, asJSON bool) error {
	if s.Embedded() {
		return &parley.Error{Code: parley.CodeNoServer, Err: errors.New("nothing runs on this data directory, so nothing changes: start `parley up`, or leave --follow out")}
	}
	show := printChange
	if asJSON {
		show = printChangeJSON
	}
	printed := false
	for change, err := range s.FollowWaiting(ctx, func() {
		if !printed && !asJSON {
			fmt.Fprintln(stderr(), "nothing waits for anybody yet")
		}
	}) {
		if ctx.Err() != nil {
			return nil // interrupted
		}
		if one, ok := errors.AsType[*parley.UnreadableError](err); ok {
			fmt.Fprintln(stderr(), one)
			continue
		}
		if err != nil {
			return err
		}
		printed = true
		if err := show(change); err != nil {
			return err
		}
	}
	return nil
}

func printChangeJSON(c parley.WaitingChange) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("what changed in conversation %s: %w", c.Conversation, err)
	}
	_, err = jsonOutput().Write(append(raw, '\n'))
	return outputError(err)
}

// printChange writes a change as one line: in a terminal with as much of the
// arguments as fits and the end of the call's id, which is enough to name it;
// elsewhere with tabs between its parts.
func printChange(c parley.WaitingChange) error {
	p := profile()
	var line string
	if p.Width == 0 {
		line = strings.Join([]string{c.Time.Format(time.RFC3339), c.Change, c.Conversation, c.Call, string(c.For), awaitedLine(c.Awaited), plainLine(c.Progress())}, "\t")
		line = strings.TrimRight(line, "\t")
	} else {
		const least, end = 12, 8
		head := fmt.Sprintf("%s  %-11s  ", c.Time.Local().Format("15:04:05"), c.Change)
		ids := c.Conversation + " " + c.Call[max(0, len(c.Call)-end):]
		what := p.Line(awaitedLine(c.Awaited), max(least, p.Width-len(head)-len(ids)-2))
		line = head + what + "  " + p.Dim(ids)
	}
	_, err := fmt.Fprintln(stdout(), line)
	return outputError(err)
}
