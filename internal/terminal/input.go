package terminal

import (
	"cmp"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// input shows a person's input.
func (r *Renderer) input(e events.Event) {
	r.said(e)
	if !r.o.ShowUser || r.o.TextOnly {
		return
	}
	switch e := e.(type) {
	case *events.UserMessage:
		if e.Text != "" || len(e.Parts) == 0 {
			r.out.quote(e.Text)
		}
		for _, p := range e.Parts {
			r.userPart(p.Part())
		}
		if e.Arrival != "" {
			r.note(dim, r.m.dot+" "+r.p.line(string(e.Arrival)))
		}
	case *events.Verdict:
		r.out.quote(r.p.line(r.verdict(e)))
	case *events.Cancel:
		r.out.quote(strings.TrimSuffix(r.p.line(r.cancel(e))+": "+r.p.line(e.Reason), ": "))
	case *events.Compact:
		r.out.quote("compact")
	case *events.Settings:
		if r.o.Verbose {
			r.note(dim, r.m.dot+" settings "+r.m.dot+" "+r.p.line(e.Route))
		}
	}
}

// verdict describes a verdict and the calls it applies to.
func (r *Renderer) verdict(e *events.Verdict) string {
	var on []string
	for _, c := range e.Calls {
		if known := r.calls.get(c.Call); known != nil && known.label != "" {
			on = append(on, known.label)
		} else {
			on = append(on, c.Call)
		}
	}
	text := string(e.Verdict)
	switch e.Verdict {
	case events.RulingAlways:
		text = "always approve"
	case events.RulingRevoke:
		text = "revoke standing approvals"
		on = append(on, e.Grants...)
	}
	text = strings.TrimSpace(text + " " + strings.Join(on, ", "))
	return strings.TrimSuffix(text+": "+e.Reason, ": ")
}

// cancel describes what a cancel stops.
func (r *Renderer) cancel(e *events.Cancel) string {
	switch e.What() {
	case events.ScopeTurn:
		return "cancel"
	case events.ScopeCall:
		if known := r.calls.get(e.Call); known != nil && known.label != "" {
			return "cancel " + known.label
		}
		return "cancel call " + cmp.Or(e.Call, "?")
	case events.ScopeQueue:
		return "cancel the queue"
	case events.ScopeAll:
		return "cancel the turn and the queue"
	}
	return "cancel " + string(e.Scope)
}

// Author is who gave an input.
type Author struct {
	Signer string // name of the identity that signed it, verified by the orchestrator
	From   string // name that the app gave: anybody can write it
}

// said notes the name that the app gave for the author of an input.
func (r *Renderer) said(e events.Event) {
	var id, from string
	switch e := e.(type) {
	case *events.UserMessage:
		id, from = e.ID, e.From
	case *events.Verdict:
		id, from = e.ID, e.From
	case *events.Cancel:
		id, from = e.ID, e.From
	case *events.Compact:
		id, from = e.ID, e.From
	}
	if id != "" && from != "" {
		r.people[id] = Author{From: from}
	}
}

// authors shows who gave the inputs that a Decision answers, as far as that is
// known. It comes before the Decision's other events, which name these people.
func (r *Renderer) authors(d *events.Decision) {
	for _, l := range d.Events {
		a, ok := l.Event.(*events.InputAnswered)
		if !ok {
			continue
		}
		if a.Signer != "" {
			r.people[a.Input], r.signed = Author{Signer: a.Signer}, true
		}
		// Where nobody signs, a name says no more than what the person reads anyway.
		if who, known := r.people[a.Input]; known && r.signed && r.o.ShowUser && !r.o.TextOnly {
			r.note(dim, r.m.dot+" by "+who.text(r.p))
		}
	}
}

// who returns the person who gave a verdict.
func (r *Renderer) who(verdict string) string { return r.people[verdict].text(r.p) }

// text returns the name of a person, marked if nobody verified it, or "a person"
// if it is unknown.
func (a Author) text(p Profile) string {
	if a.Signer != "" {
		return p.cut(p.line(a.Signer), nameCells)
	}
	if from := p.cut(p.line(a.From), nameCells); from != "" {
		return from + " (unverified)"
	}
	return "a person"
}
