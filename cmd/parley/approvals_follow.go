package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// change is what --follow prints: something waits, or what became of it.
type change struct {
	Time   time.Time `json:"time"`
	Change string    `json:"change"` // waits, approved, edited, answered, declined, due, or how it ended
	waitingThing
}

// board is what waits, while it is followed. It holds nothing of conversations
// that wait for nothing.
type board struct {
	s     *session
	print func(change) error
	waits map[string]*pending
}

func (a *app) followApprovals(ctx context.Context, s *session, asJSON bool) error {
	if s.server != nil {
		return &exitError{exitNobody, errors.New("nothing runs on this data directory, so nothing changes: start `parley up`, or leave --follow out")}
	}
	b := &board{s: s, waits: map[string]*pending{}, print: printChange}
	if asJSON {
		b.print = printChangeJSON
	}
	first := true
	err := s.Decisions(ctx, func(m bus.Message) error { return b.see(ctx, m) }, func() error {
		all, err := s.allPending(ctx)
		if err == nil && first && !asJSON && len(all) == 0 {
			fmt.Fprintln(os.Stderr, "nothing waits for anybody yet")
		}
		first = false
		if err == nil {
			err = b.resync(all)
		}
		return err
	})
	if ctx.Err() != nil {
		return nil // told to stop
	}
	return err
}

// resync brings the board to what stands, and prints what is different.
func (b *board) resync(all []pending) error {
	stands := map[string]bool{}
	for i := range all {
		p := &all[i]
		stands[p.Conversation] = true
		if p.Odd != nil {
			continue // what it waited for is unchanged, as far as is known
		}
		if err := b.change(p, p.Since, nil); err != nil {
			return err
		}
	}
	for id, old := range b.waits {
		if !stands[id] {
			if err := b.change(&pending{Conversation: id, Lane: old.Lane}, time.Now(), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// see takes a decision in.
func (b *board) see(ctx context.Context, m bus.Message) error {
	if len(m.Lines) == 0 {
		return nil // a stranger's
	}
	d, ok := m.Lines[0].Event.(*events.Decision)
	old := b.waits[m.Conversation]
	if !ok || old != nil && m.Sequence <= old.Lane {
		return nil
	}
	p := &pending{Conversation: m.Conversation, State: d.State, Lane: m.Sequence}
	if d.State.Phase == events.PhasePaused {
		p.Since = time.UnixMilli(d.State.PausedMS).UTC()
		said := map[string]events.Awaited{}
		if old != nil {
			for _, a := range old.Awaiting {
				said[a.Call] = a
			}
		}
		told(d, said)
		if !p.collect(said) {
			whole, err := b.s.pending(ctx, m.Conversation) // it was not seen from its beginning
			if err != nil && ctx.Err() == nil && b.s.Connected() {
				fmt.Fprintf(os.Stderr, "conversation %s cannot be read: %v\n", m.Conversation, err)
				return nil
			}
			if err != nil {
				return err
			}
			p = &whole
		}
	}
	return b.change(p, m.Time, d)
}

// change puts how a conversation stands on the board, and prints what is
// different. d is the decision that changed it; nil when it was not seen.
func (b *board) change(p *pending, at time.Time, d *events.Decision) error {
	old := b.waits[p.Conversation]
	if len(p.Awaiting) == 0 {
		delete(b.waits, p.Conversation)
	} else {
		b.waits[p.Conversation] = p
	}
	if old != nil {
		for _, a := range old.Awaiting {
			if !holds(p.Awaiting, a) {
				if err := b.tell(old, a, at, became(d, a)); err != nil {
					return err
				}
			}
		}
	}
	for _, a := range p.Awaiting {
		if old == nil || !holds(old.Awaiting, a) {
			if err := b.tell(p, a, at, "waits"); err != nil {
				return err
			}
		}
	}
	return nil
}

func holds(all []events.Awaited, a events.Awaited) bool {
	return slices.ContainsFunc(all, func(o events.Awaited) bool { return o.Call == a.Call && o.Question == a.Question })
}

func (b *board) tell(p *pending, a events.Awaited, at time.Time, what string) error {
	w := waitingThing{Conversation: p.Conversation, Awaited: a}
	if !p.Since.IsZero() {
		w.Since = &p.Since
	}
	return b.print(change{Time: at.UTC(), Change: what, waitingThing: w})
}

// became is what a decision made of something that waited.
func became(d *events.Decision, a events.Awaited) string {
	if d == nil {
		return "decided" // while nobody looked
	}
	for _, l := range d.Events {
		switch e := l.Event.(type) {
		case *events.ToolCallRequested:
			switch {
			case e.Call != a.Call:
			case e.By == "":
				return "due"
			case len(e.Arguments) > 0:
				return "edited"
			default:
				return "approved"
			}
		case *events.ToolCallAnswered:
			if e.Call == a.Call {
				return "answered"
			}
		case *events.QuestionAnswered:
			switch {
			case e.Question != a.Question:
			case e.Declined:
				return "declined"
			default:
				return "answered"
			}
		case *events.ToolCallRefused:
			if e.Call == a.Call {
				return string(e.Status)
			}
		case *events.Resumed:
			if a.For == events.WaitLimit {
				return "approved"
			}
		case *events.TurnEnded:
			return "ended as " + string(e.Outcome)
		}
	}
	return "answered" // its result came from outside
}

func printChangeJSON(c change) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("what changed in conversation %s: %w", c.Conversation, err)
	}
	_, err = os.Stdout.Write(append(raw, '\n'))
	return outputError(err)
}

// printChange writes a change as one line: in a terminal with as much of the
// arguments as fits and the end of the call's id, which is enough to name it;
// elsewhere with tabs between its parts.
func printChange(c change) error {
	p := profile()
	var line string
	if p.Width == 0 {
		line = strings.Join([]string{c.Time.Format(time.RFC3339), c.Change, c.Conversation, c.Call, string(c.For), awaitedLine(c.Awaited)}, "\t")
	} else {
		const least, end = 12, 8
		head := fmt.Sprintf("%s  %-11s  ", c.Time.Local().Format("15:04:05"), c.Change)
		ids := c.Conversation + " " + c.Call[max(0, len(c.Call)-end):]
		what := cutLine(p, awaitedLine(c.Awaited), max(least, p.Width-len(head)-len(ids)-2))
		line = head + what + "  " + p.Dim(ids)
	}
	_, err := fmt.Fprintln(os.Stdout, line)
	return outputError(err)
}
