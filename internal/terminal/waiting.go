package terminal

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// reasonCells bounds a reason unless Options.Verbose is set, in columns.
const reasonCells = 400

// paused shows what a turn waits for; a reminder takes one line.
func (r *Renderer) paused(e *events.Paused, at time.Time) {
	for _, a := range e.Awaiting {
		if a.For == events.WaitResult {
			r.call(a.Call, a.Tool).outside = true
		}
	}
	if e.AtMS > 0 {
		at = time.UnixMilli(e.AtMS)
	}
	if e.Reminder > 0 && !r.o.Verbose {
		r.reminder(e, at)
		return
	}
	head := r.m.pause + " waiting for " + whom(e.Awaiting)
	if e.Reminder > 0 {
		head += ", " + ordinal(e.Reminder)
	}
	r.note(yellow, r.p.wrap(head))
	for i := range e.Awaiting {
		r.awaited(&e.Awaiting[i], at)
	}
}

// reminder shows in one line what the turn waits for, and for how long.
func (r *Renderer) reminder(e *events.Paused, at time.Time) {
	labels := make([]string, len(e.Awaiting))
	for i := range e.Awaiting {
		labels[i] = r.awaitedLabel(&e.Awaiting[i])
	}
	text := r.m.pause + " still waiting, " + ordinal(e.Reminder) + ": " + strings.Join(labels, ", ")
	if e.DeadlineMS > 0 {
		text += " " + r.m.dot + " expires " + when(e.DeadlineMS, at)
	}
	r.note(yellow, r.p.wrap(text))
}

// awaited shows something that the turn waits for: what it is, the reason, and
// what happens at its deadline.
func (r *Renderer) awaited(a *events.Awaited, at time.Time) {
	if r.o.TextOnly {
		return
	}
	const margin, indent = " ", "    "
	shown := card{mark: margin, label: r.awaitedLabel(a), between: " "}
	if a.For == events.WaitAnswer {
		k := elicitationOf(a)
		shown.body = k.wants(r.p)
		r.card(shown)
		r.elicitation(&k, indent)
	} else {
		r.awaitedCall(shown, a, indent)
	}
	if progress := r.p.line(a.Progress()); progress != "" {
		r.out.note(plain, indented(indent, r.p.narrower(len(indent)).wrap(progress)))
	}
	pieces := append(conditions(a, at), r.p.line(a.Call))
	r.out.note(plain, indented(indent, r.p.narrower(len(indent)).flow(pieces)))
}

// awaitedCall shows the arguments of a call, and the reason for the wait.
func (r *Renderer) awaitedCall(shown card, a *events.Awaited, indent string) {
	if len(a.Arguments) > 0 {
		shown.body, shown.text = r.p.exact(a.Arguments), r.p.exactLines(a.Arguments)
	}
	r.card(shown)
	if reason := r.p.line(a.Reason); reason != "" && a.For != events.WaitLimit {
		if !r.o.Verbose {
			reason = r.p.cut(reason, reasonCells)
		}
		r.out.note(plain, indented(indent, r.p.narrower(len(indent)).wrap(reason)))
	}
}

// queued shows how many calls wait for the conversation's concurrency limit.
func (r *Renderer) queued(e *events.ToolCallsQueued) {
	text := count(int64(len(e.Calls)), "call") + " queued until others have ended"
	if r.o.Verbose {
		labels := make([]string, len(e.Calls))
		for i, id := range e.Calls {
			labels[i] = r.call(id, "?").label
		}
		text += ": " + strings.Join(labels, ", ")
	}
	r.remark(dim, text)
}

// awaitedLabel returns the label of a call, or the limit that was reached.
func (r *Renderer) awaitedLabel(a *events.Awaited) string {
	if a.For == events.WaitLimit {
		label := "limit " + cmp.Or(r.p.line(a.Reason), "?")
		if r.calls.get(a.Call) == nil {
			r.calls.set(a.Call, &call{label: label}) // verdicts name it like a call
		}
		return label
	}
	return r.call(a.Call, cmp.Or(a.Tool, "?")).label
}

// resumed shows that a turn continues past a limit. The calls that run are
// shown by their own events.
func (r *Renderer) resumed(e *events.Resumed) {
	switch limit := r.p.line(e.Extended); {
	case limit != "":
		r.remark(dim, "continuing past "+limit)
	case r.o.Verbose:
		r.remark(dim, "continuing")
	}
}

// conditions describes what something that waits needs, and what happens at its
// deadline.
func conditions(a *events.Awaited, at time.Time) []string {
	var pieces []string
	expires := "expires "
	switch a.For {
	case events.WaitApproval:
		pieces = append(pieces, "needs approval")
		if a.Effect != "" {
			pieces = append(pieces, "effect "+effect(a.Effect))
		}
	case events.WaitTime:
		if a.DueMS > 0 {
			pieces = append(pieces, "runs by itself "+when(a.DueMS, at))
		} else {
			pieces = append(pieces, "runs by itself")
		}
	case events.WaitResult:
		pieces, expires = append(pieces, "the app gives the result"), "until "
	case events.WaitLimit:
		pieces, expires = append(pieces, "may the turn continue?"), "ends "
	case events.WaitAnswer:
		pieces, expires = append(pieces, "the tool waits for the answer"), "declined "
	default:
		pieces = append(pieces, "waits for something this version does not know")
	}
	if a.DeadlineMS > 0 {
		due := when(a.DeadlineMS, at)
		if expires == "until " {
			due = clock(a.DeadlineMS, at)
		}
		pieces = append(pieces, expires+due)
	}
	return pieces
}

// effect returns the effect class of a tool as the contract names it.
func effect(e events.Effect) string {
	if e.Known() {
		return string(e)
	}
	return "unknown"
}

// whom lists what the turn waits for, each kind once.
func whom(awaiting []events.Awaited) string {
	var all []string
	for _, a := range awaiting {
		who := "somebody"
		switch a.For {
		case events.WaitApproval, events.WaitLimit, events.WaitAnswer:
			who = "a person"
		case events.WaitTime:
			who = "a time"
		case events.WaitResult:
			who = "the app"
		}
		if !slices.Contains(all, who) {
			all = append(all, who)
		}
	}
	switch n := len(all); n {
	case 0:
		return "somebody"
	case 1:
		return all[0]
	default:
		return strings.Join(all[:n-1], ", ") + " and " + all[n-1]
	}
}

// indented puts a margin before each line.
func indented(margin, lines string) string {
	return margin + strings.ReplaceAll(lines, "\n", "\n"+margin)
}

// narrower returns the profile for text inside a margin.
func (p Profile) narrower(margin int) Profile {
	if p.Width > 0 {
		p.Width = max(1, p.Width-margin)
	}
	return p
}
