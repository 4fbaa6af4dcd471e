package terminal

import (
	"cmp"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// decided shows an event of the turn channel.
func (r *Renderer) decided(e events.Event, at time.Time) {
	switch e := e.(type) {
	case *events.TurnStarted:
		r.gen.visible, r.gen.failure = false, nil
	case *events.GenerationRequested:
		r.again(e, at)
	case *events.AssistantMessage:
		r.assistant(e)
	case *events.ToolCallRefused:
		r.ended(e.Call, e.Tool, e.Status, e.Content, nil, 0)
	case *events.Paused:
		r.paused(e)
	case *events.InputAnswered:
		r.answered(e)
	case *events.TurnEnded:
		r.turnEnded(e)
	}
}

// again says why a step is tried again, before anything new of it comes.
func (r *Renderer) again(e *events.GenerationRequested, at time.Time) {
	if e.Try < 2 {
		return
	}
	why := "attempt lost"
	if f := r.gen.failure; f != nil {
		why = r.p.line(f.Error())
	}
	why += ", starting again"
	if wait := time.UnixMilli(e.NotBefore).Sub(at); e.NotBefore > 0 && wait >= time.Millisecond {
		why += " in " + took(wait)
	}
	if r.gen.visible {
		r.startAgain(why)
	} else {
		r.remark(dim, why)
	}
}

func (r *Renderer) paused(e *events.Paused) {
	labels := make([]string, len(e.Awaiting))
	for i, a := range e.Awaiting {
		id := a.Call
		labels[i] = r.p.line(id)
		if c := r.calls[id]; c != nil {
			labels[i] = c.label
			if r.o.Verbose {
				labels[i] += " (" + r.p.line(id) + ")"
			}
		}
	}
	r.note(yellow, r.m.pause+" waiting for a person: "+strings.Join(labels, ", "))
}

// answered tells a person what became of what they sent, unless it is what they
// expect.
func (r *Renderer) answered(e *events.InputAnswered) {
	var text string
	switch e.Answer {
	case events.AnswerAccepted:
		return
	case events.AnswerQueued:
		text = "queued until the running turn ends"
	case events.AnswerSuperseded:
		text = "superseded by a later input"
	case events.AnswerAlreadyEnded:
		text = "came too late: it had ended already"
	case events.AnswerUnknownCall:
		text = "no such call waits"
	case events.AnswerInvalid:
		text = "the input is invalid"
	default:
		text = "the input is " + r.p.line(string(e.Answer))
	}
	// A reason says it better, and what to do.
	r.remark(dim, cmp.Or(r.p.line(e.Reason), text))
}

func (r *Renderer) turnEnded(e *events.TurnEnded) {
	r.gen.visible = false
	st, text := ending(r.p, e.Outcome, e.Reason, e.Error)
	switch {
	case text == "":
	case st == red:
		r.note(st, r.m.fail+" "+text)
	default:
		r.remark(st, text)
	}
	r.out.enter(sectionNone, "")
}

// ending says how a turn ended; nothing when it was completed.
func ending(p Profile, outcome events.Outcome, reason string, failure *events.Error) (style, string) {
	reason = p.line(reason)
	switch outcome {
	case events.OutcomeCompleted, "":
		return plain, ""
	case events.OutcomeCancelled:
		if reason == "" || reason == string(outcome) {
			return dim, "cancelled"
		}
		return dim, "cancelled: " + reason
	case events.OutcomeLimit:
		return yellow, strings.TrimSuffix("stopped at a limit: "+reason, ": ")
	}
	if failure != nil {
		reason = p.line(failure.Error())
	}
	return red, strings.TrimSuffix(p.line(string(outcome))+": "+reason, ": ")
}

// input shows what a person did.
func (r *Renderer) input(e events.Event) {
	if !r.o.ShowUser || r.o.TextOnly {
		return
	}
	switch e := e.(type) {
	case *events.UserMessage:
		r.out.quote(e.Text)
	case *events.Verdict:
		labels := make([]string, len(e.Calls))
		for i, c := range e.Calls {
			if labels[i] = c.Call; r.calls[c.Call] != nil {
				labels[i] = r.calls[c.Call].label
			}
		}
		text := string(e.Verdict) + " " + strings.Join(labels, ", ")
		if e.Reason != "" {
			text += ": " + e.Reason
		}
		r.out.quote(r.p.line(text))
	case *events.Cancel:
		r.out.quote(strings.TrimSuffix("cancel: "+r.p.line(e.Reason), ": "))
	case *events.Settings:
		if r.o.Verbose {
			r.note(dim, r.m.dot+" settings "+r.m.dot+" "+r.p.line(e.Route))
		}
	}
}
