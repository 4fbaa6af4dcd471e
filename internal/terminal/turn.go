package terminal

import (
	"fmt"
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
		r.retry(e, at)
		r.pooled(e)
		r.searchable(e.Searchable)
	case *events.AssistantMessage:
		r.assistant(e)
	case *events.AnswerRejected:
		r.remark(yellow, "the answer does not fit the schema ("+r.p.line(e.Error)+"), asking again")
	case *events.Compacted:
		r.compacted(e)
	case *events.ToolCallRequested:
		r.released(e)
	case *events.ToolCallsQueued:
		r.queued(e)
	case *events.QuestionAnswered:
		r.elicitationAnswered(e)
	case *events.ToolCallRefused:
		r.ended(e.Call, e.Tool, end{status: e.Status, content: e.Content, decided: true})
	case *events.ToolCallAnswered:
		by := ""
		if e.By != events.ByParley {
			by = r.who(e.By)
		}
		r.ended(e.Call, e.Tool, end{status: events.StatusOK, content: e.Content, by: by, decided: true})
	case *events.Paused:
		r.paused(e, at)
	case *events.Resumed:
		r.resumed(e)
	case *events.InputAnswered:
		r.answered(e)
	case *events.HooksRequested:
		r.hooksRequested(e)
	case *events.HookAnswered:
		r.hookAnswered(e)
	case *events.TurnEnded:
		if r.held.Len() > 0 && e.Outcome == events.OutcomeCompleted {
			r.out.text(sectionText, plain, r.held.String())
		}
		r.turnEnded(e)
	}
}

// pooled shows which model of a pool is asked, and why.
func (r *Renderer) pooled(e *events.GenerationRequested) {
	if e.Pool != "" && r.o.Verbose {
		r.note(dim, r.p.line(fmt.Sprintf("%s pool %s %s %s (%s)", r.m.dash, e.Pool, r.m.dot, e.Route, e.Reason)))
	}
}

// retry shows why a step is retried, before the new attempt's text.
func (r *Renderer) retry(e *events.GenerationRequested, at time.Time) {
	if e.Try < 2 {
		return
	}
	why := "attempt lost"
	if f := r.gen.failure; f != nil {
		why = r.p.line(f.Error())
	}
	if e.Failed != nil && e.Failed.Route != e.Route {
		why += ", asking " + r.p.line(e.Route)
	} else {
		why += ", starting again"
	}
	if wait := time.UnixMilli(e.NotBefore).Sub(at); e.NotBefore > 0 && wait >= time.Millisecond {
		why += " in " + took(wait)
	}
	if r.gen.visible {
		r.startAgain(why)
	} else {
		r.remark(dim, why)
	}
}

func (r *Renderer) turnEnded(e *events.TurnEnded) {
	r.gen.visible = false
	clear(r.people)
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

// ending describes how a turn ended; empty if it completed.
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
