package terminal

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// approvalColumns is the minimum width for a list of approvals with one line
// each: two whole ids, which are there to be copied, and enough of the other
// columns.
const approvalColumns = 130

// ApprovalRow is something in a conversation that waits for a person or an app.
type ApprovalRow struct {
	Conversation string
	Since        time.Time // start of the wait; zero if unknown
	Awaited      events.Awaited
}

// Approvals lists pending approvals; now is the time to which ages and
// deadlines refer. If the columns of a [Table] leave no room for whole ids, or
// particular people must approve, a row takes several lines: the ids, and the rest. Outside a terminal times are in
// RFC 3339.
func Approvals(w io.Writer, p Profile, now time.Time, rows []ApprovalRow) error {
	needs := slices.ContainsFunc(rows, func(r ApprovalRow) bool { return !r.Awaited.Needs.Anybody() })
	if p.Width > 0 && (p.Width < approvalColumns || needs) {
		return p.stacked(w, now, rows)
	}
	cells := make([][]string, len(rows))
	for i, row := range rows {
		a := &row.Awaited
		cells[i] = p.lines([]string{row.Conversation, a.Call, string(a.For), toolOf(a), "", p.age(row.Since, now), p.deadline(a, now)})
		cells[i][4] = p.argumentsOf(a) // already one line; its spaces are significant
	}
	heads := []string{"CONVERSATION", "CALL", "WAITS FOR", "TOOL", "ARGUMENTS", "AGE", "DEADLINE"}
	if needs {
		heads = append(heads, "APPROVALS")
		for i := range rows {
			cells[i] = append(cells[i], p.line(rows[i].Awaited.Progress()))
		}
	}
	return p.table(w, heads, cells)
}

func (p Profile) stacked(w io.Writer, now time.Time, rows []ApprovalRow) error {
	var b strings.Builder
	for _, row := range rows {
		a := &row.Awaited
		b.WriteString(p.paint(bold, p.wrap(p.line(row.Conversation)+" "+p.line(a.Call))) + "\n")
		head := p.line(string(a.For)) + " " + p.cut(p.line(toolOf(a)), min(nameCells, p.Width/2))
		if arguments := p.argumentsOf(a); arguments != "" {
			head += " " + arguments
		}
		b.WriteString(p.cut("  "+head, p.Width) + "\n")
		if progress := p.line(a.Progress()); progress != "" {
			b.WriteString(indented("  ", p.narrower(2).wrap(progress)) + "\n")
		}
		var facts []string
		if age := p.age(row.Since, now); age != "" {
			facts = append(facts, "waiting "+age)
		}
		if deadline := p.deadline(a, now); deadline != "" {
			facts = append(facts, deadline)
		}
		if len(facts) > 0 {
			b.WriteString(indented("  ", p.narrower(2).flow(facts)) + "\n")
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	return nil
}

// Awaited describes something that waits on one line without control
// characters: the tool and its arguments, a tool's elicitation in quotes, or
// the limit.
func (p Profile) Awaited(a *events.Awaited) string {
	if a.For == events.WaitLimit {
		return "may it continue past " + p.line(toolOf(a)) + "?"
	}
	return strings.TrimSuffix(p.line(toolOf(a))+" "+p.argumentsOf(a), " ")
}

// toolOf returns the tool's name, or the limit that was reached.
func toolOf(a *events.Awaited) string {
	if a.For == events.WaitLimit {
		return cmp.Or(a.Reason, "?")
	}
	return cmp.Or(a.Tool, "?")
}

// messageCells bounds the message of an elicitation in a list, in columns.
const messageCells = 200

// argumentsOf returns the arguments of a call, or the message of an elicitation
// in quotes.
func (p Profile) argumentsOf(a *events.Awaited) string {
	if a.For == events.WaitAnswer {
		k := elicitationOf(a)
		text := k.from(p)
		if message := p.cut(p.line(k.message), messageCells); message != "" {
			text += quoted(message)
		}
		return strings.TrimSpace(text)
	}
	if len(a.Arguments) == 0 {
		return ""
	}
	return p.exact(a.Arguments)
}

// age returns how long something has waited, or for programs the time at which
// it started to wait.
func (p Profile) age(since, now time.Time) string {
	switch {
	case since.IsZero():
		return ""
	case p.Width <= 0:
		return since.UTC().Format(time.RFC3339)
	}
	return roughly(now.Sub(since))
}

// deadline returns when the wait ends without an answer.
func (p Profile) deadline(a *events.Awaited, now time.Time) string {
	ms, what := a.DeadlineMS, "expires "
	switch {
	case a.For == events.WaitTime && a.DueMS > 0:
		ms, what = a.DueMS, "runs "
	case a.For == events.WaitAnswer:
		what = "declined "
	}
	switch {
	case ms <= 0:
		return ""
	case p.Width <= 0:
		return time.UnixMilli(ms).UTC().Format(time.RFC3339)
	}
	return what + ahead(time.UnixMilli(ms).Sub(now))
}
