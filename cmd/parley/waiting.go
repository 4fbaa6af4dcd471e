package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/terminal"
	"github.com/parleybus/parley/internal/topology"
)

// pending is what a conversation waits for, and how it stands.
type pending struct {
	Conversation string
	State        events.State
	Lane         uint64 // where the turn lane stood; 0 when nothing was decided yet
	Since        time.Time
	Awaiting     []events.Awaited // in the model's order, a question last
	Odd          error            // why it cannot be read, in a list
}

// pending reads what a conversation waits for: that it does from the state of
// its last Decision, for what from what Paused said.
func (s *session) pending(ctx context.Context, conversation string) (pending, error) {
	p := pending{Conversation: conversation}
	d, lane, err := s.LastDecision(ctx, conversation, 0)
	if err != nil || d == nil {
		return p, err
	}
	p.State, p.Lane = d.State, lane
	if p.State.Phase != events.PhasePaused {
		return p, nil
	}
	if p.State.PausedMS > 0 {
		p.Since = time.UnixMilli(p.State.PausedMS).UTC()
	}
	said := map[string]events.Awaited{}
	told(d, said)
	if !p.collect(said) {
		// Most often the last Decision says it all; here the one that paused is
		// further back.
		err = s.Facts(ctx, conversation, lane, func(m bus.Message) error {
			for _, l := range m.Lines {
				if d, ok := l.Event.(*events.Decision); ok {
					told(d, said)
				}
			}
			return nil
		})
		p.collect(said)
	}
	if err == nil {
		err = s.dropResults(ctx, &p)
	}
	return p, err
}

// told notes what a Decision says is awaited.
func told(d *events.Decision, said map[string]events.Awaited) {
	for _, l := range d.Events {
		if e, ok := l.Event.(*events.Paused); ok {
			for _, a := range e.Awaiting {
				said[a.Call] = a
			}
		}
	}
}

// collect lists what the state waits for, and reports whether all of it was said.
func (p *pending) collect(said map[string]events.Awaited) bool {
	p.Awaiting = nil
	whole := true
	for i := range p.State.Calls {
		c := &p.State.Calls[i]
		if !c.Waiting() || c.Waits == events.WaitLimit {
			continue
		}
		a, ok := said[c.Call]
		ok = ok && a.Question == c.Question // one call may ask several times
		if whole = whole && ok; !ok {
			a = events.Awaited{For: c.Waits, Call: c.Call, Question: c.Question, Tool: c.Tool, Effect: c.Effect, Digest: c.Digest, Rule: c.Rule, DueMS: c.DueMS, DeadlineMS: c.DeadlineMS}
		}
		p.Awaiting = append(p.Awaiting, a)
	}
	if p.State.Question != nil {
		p.Awaiting = append(p.Awaiting, p.State.Question.Awaited())
	}
	return whole
}

// dropResults takes off calls whose result came from outside and that nothing
// was decided on yet.
func (s *session) dropResults(ctx context.Context, p *pending) error {
	var failed error
	p.Awaiting = slices.DeleteFunc(p.Awaiting, func(a events.Awaited) bool {
		if a.For != events.WaitResult || failed != nil {
			return false
		}
		last, err := s.LastOf(ctx, topology.OfCall(s.Shards(), p.Conversation, events.ChannelCall, a.Call))
		failed = err
		return slices.ContainsFunc(last.Lines, func(l events.Line) bool { _, ok := l.Event.(*events.ToolResult); return ok })
	})
	return failed
}

// rows are what waits as a list shows it.
func (p *pending) rows() []terminal.ApprovalRow {
	rows := make([]terminal.ApprovalRow, len(p.Awaiting))
	for i, a := range p.Awaiting {
		rows[i] = terminal.ApprovalRow{Conversation: p.Conversation, Since: p.Since, Awaited: a}
	}
	return rows
}

// waitingCount is how many things a conversation waits for.
func waitingCount(s *events.State) int {
	n := 0
	for i := range s.Calls {
		if s.Calls[i].Waiting() && s.Calls[i].Waits != events.WaitLimit {
			n++
		}
	}
	if s.Question != nil {
		n++
	}
	return n
}

// phase says what a conversation is doing.
func phase(s *events.State) string {
	switch s.Phase {
	case "":
		return "new"
	case events.PhasePaused:
		return fmt.Sprintf("waits: %d", waitingCount(s))
	}
	return string(s.Phase)
}

// waitsFor says who is waited for.
func waitsFor(w events.Wait) string {
	switch w {
	case events.WaitTime:
		return "its time"
	case events.WaitResult:
		return "the app"
	}
	return "a person"
}

// plainLine makes a text of others one harmless line.
func plainLine(text string) string {
	var b strings.Builder
	// A builder takes everything.
	_ = terminal.Table(&b, terminal.Profile{Unicode: true}, nil, [][]string{{text}})
	return strings.TrimSuffix(b.String(), "\n")
}

// cutLine is a harmless line that takes at most so many columns.
func cutLine(p terminal.Profile, line string, columns int) string {
	var b strings.Builder
	p.Width, p.Color = columns, false
	_ = terminal.Table(&b, p, nil, [][]string{{line}}) // a builder takes everything
	return strings.TrimSuffix(b.String(), "\n")
}

// awaitedLine is one awaited thing as one harmless line: tool and arguments, as
// they would run, or what the tool asks, in quotes.
func awaitedLine(a events.Awaited) string {
	var b strings.Builder
	_ = terminal.Approvals(&b, terminal.Profile{Unicode: true}, time.Time{}, []terminal.ApprovalRow{{Awaited: a}}) // as above
	cells := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\t")
	const tool, arguments = 3, 4
	if a.For == events.WaitLimit {
		return "may it go on past " + cells[tool] + "?"
	}
	return strings.TrimSpace(cells[tool] + " " + cells[arguments])
}

// commandLine is a command of parley that works on the same data as this one.
func (a *app) commandLine(words ...string) string {
	line := "parley"
	if a.cfg.NATS.URL == "" && a.data != dataDir() {
		line += " --data " + a.data
	}
	return line + " " + strings.Join(words, " ")
}

// howToDecide says what is awaited and which command decides it.
func (a *app) howToDecide(conversation string, w events.Awaited) string {
	text := "waiting for " + waitsFor(w.For) + ": " + awaitedLine(w)
	switch w.For {
	case events.WaitTime:
		return text
	case events.WaitResult:
		return text + "\n  " + a.decideWith(conversation, w)
	}
	return text + "\n  " + a.decideWith(conversation, w) + "\n  " + a.commandLine("reject", conversation, w.Call)
}

// decideWith is the command that decides something as it is asked for. Nothing
// of what a tool wrote stands in it: it is there to be copied.
func (a *app) decideWith(conversation string, w events.Awaited) string {
	switch {
	case w.For == events.WaitAnswer && !terminal.YesOrNo(&w):
		return a.commandLine("answer", conversation, w.Call, "'{…}'")
	case w.For == events.WaitResult:
		return a.commandLine("answer", conversation, w.Call, "TEXT")
	}
	return a.commandLine("approve", conversation, w.Call)
}
