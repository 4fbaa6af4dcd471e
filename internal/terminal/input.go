package terminal

import (
	"cmp"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// input shows a person's input.
func (r *Renderer) input(e events.Event) {
	if v, ok := e.(*events.Verdict); ok && v.ID != "" {
		r.people[v.ID] = v.From
	}
	if !r.o.ShowUser || r.o.TextOnly {
		return
	}
	switch e := e.(type) {
	case *events.UserMessage:
		r.out.quote(e.Text)
		if e.Arrival != "" {
			r.note(dim, r.m.dot+" "+r.p.line(string(e.Arrival)))
		}
	case *events.Verdict:
		r.out.quote(r.p.line(r.verdict(e)))
	case *events.Cancel:
		r.out.quote(strings.TrimSuffix(r.p.line(r.cancel(e))+": "+r.p.line(e.Reason), ": "))
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

// who returns the name of the person who gave a verdict.
func (r *Renderer) who(verdict string) string { return someone(r.p, r.people[verdict]) }

// someone returns the name of a person, or "a person" if it is unknown.
func someone(p Profile, from string) string {
	return cmp.Or(p.cut(p.line(from), nameCells), "a person")
}
