package terminal

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// approvalColumns is the least width of a list of approvals with one line each:
// two ids and enough of the rest. Ids are there to be copied.
const approvalColumns = 130

// ApprovalRow is one awaited thing of a conversation.
type ApprovalRow struct {
	Conversation string
	Since        time.Time // since when it waits; zero when it is not known
	Awaited      events.Awaited
}

// Approvals lists what waits, as it stands at now. Where the columns of a
// [Table] leave no room for whole ids, a thing takes two lines: its ids, and the
// rest. Elsewhere than in a terminal times are in RFC 3339.
func Approvals(w io.Writer, p Profile, now time.Time, rows []ApprovalRow) error {
	if p.Width > 0 && p.Width < approvalColumns {
		return p.stacked(w, now, rows)
	}
	cells := make([][]string, len(rows))
	for i, row := range rows {
		a := &row.Awaited
		cells[i] = p.lines([]string{row.Conversation, a.Call, string(a.For), toolOf(a), "", p.age(row.Since, now), p.deadline(a, now)})
		cells[i][4] = p.argumentsOf(a) // a line already, in which every space counts
	}
	return p.table(w, []string{"CONVERSATION", "CALL", "WAITS FOR", "TOOL", "ARGUMENTS", "AGE", "DEADLINE"}, cells)
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

// Awaited names one awaited thing in a harmless line: the tool and the arguments
// it would run with, the question of a tool in quotes, or the limit.
func (p Profile) Awaited(a *events.Awaited) string {
	if a.For == events.WaitLimit {
		return "may it go on past " + p.line(toolOf(a)) + "?"
	}
	return strings.TrimSuffix(p.line(toolOf(a))+" "+p.argumentsOf(a), " ")
}

// toolOf names the tool, or the limit of a question.
func toolOf(a *events.Awaited) string {
	if a.For == events.WaitLimit {
		return cmp.Or(a.Reason, "?")
	}
	return cmp.Or(a.Tool, "?")
}

// messageCells bounds what a list shows of a tool's question.
const messageCells = 200

// argumentsOf is what a call would run with, or what a tool asks, in quotes.
func (p Profile) argumentsOf(a *events.Awaited) string {
	if a.For == events.WaitAnswer {
		if message := p.cut(p.line(askedBy(a).message), messageCells); message != "" {
			return quoted(message)
		}
		return ""
	}
	if len(a.Arguments) == 0 {
		return ""
	}
	return p.exact(a.Arguments)
}

// age is how long something waits, or since when for programs.
func (p Profile) age(since, now time.Time) string {
	switch {
	case since.IsZero():
		return ""
	case p.Width <= 0:
		return since.UTC().Format(time.RFC3339)
	}
	return roughly(now.Sub(since))
}

// deadline is when something happens by itself.
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
