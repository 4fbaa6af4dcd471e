package orchestrator

import (
	"cmp"
	"fmt"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// requestGeneration requests a generation of the step from a model. failed is the model
// of its pool whose answer it replaces; nil when there is none. It reports whether the
// turn ended instead.
func (d *decision) requestGeneration(of choice, step, try int, wait time.Duration, failed *events.FailedModel) bool {
	route := of.route
	if route == "" {
		d.end(events.OutcomeFailed, "no_route", &events.Error{Class: events.ErrInvalidRequest,
			Message: "no model is set and no worker serves one: start an llm-worker, or set a route such as \"openai/gpt-5-mini\" in Settings"})
		return true
	}
	if _, err := topology.RouteToken(route); err != nil {
		d.end(events.OutcomeFailed, "no_route", &events.Error{Class: events.ErrInvalidRequest, Message: err.Error()})
		return true
	}
	if err := d.noPool(route); err != nil {
		d.end(events.OutcomeFailed, "no_route", err)
		return true
	}
	if err := ceilingError(d.env.Ceilings.CheckExtra(providerOf(route), d.env.Settings.Parameters.Extra)); err != nil {
		d.end(events.OutcomeFailed, reasonOf(err), err)
		return true
	}
	if err := d.unpriced(cmp.Or(of.pool, route)); err != nil {
		d.end(events.OutcomeFailed, "no_price", err)
		return true
	}
	e := &events.GenerationRequested{Turn: d.c.Turn, Step: step, Try: try, Route: route, Pool: of.pool, Reason: of.reason, Failed: failed,
		Generation: d.seed.id(d.now, fmt.Sprintf("generation %d %d %d", d.c.Turns, step, try))}
	if try > 1 {
		e.Refused = d.refused()
	}
	e.Searchable = d.env.offered(d.transcript).Searchable
	if c := d.c; c.Phase == events.PhaseGenerating {
		e.Usage = c.Open.Spent()
	}
	if wait > 0 {
		e.NotBefore = d.now.Add(wait).UnixMilli()
	}
	d.abandon(d.c.Calls)
	d.emit(e)
	return false
}

// generated decides on an answer that is complete, cut or failed.
func (d *decision) generated(g *accumulator.Generation, end *events.GenerationEnded) bool {
	c := d.c
	if err := failure(end); err != nil {
		d.retry(err, end.Window)
		return true
	}
	if err := tooLarge(g, d.env.Ceilings); err != nil {
		d.fail(err)
		return true
	}
	calls, generation := g.Calls(), c.Generation
	more := len(calls) > 0 || end.Finish == events.FinishPause // the provider runs its own tools
	d.emitAnswer(&events.AssistantMessage{Turn: c.Turn, Generation: c.Generation, Step: c.Step, Message: g.Message(), Finish: end.Finish, Usage: g.Spent(), Window: end.Window})
	if !more {
		if err := unanswered(g, end); err != nil {
			d.end(events.OutcomeFailed, reasonOf(err), err)
			return true
		}
		if why := d.misfit(g.Text()); why != "" {
			return d.reject(generation, why)
		}
		d.end(events.OutcomeCompleted, string(end.Finish), nil)
		return true
	}
	d.dispatch(calls)
	return true
}

// failure returns why an answer failed; nil when it did not. An answer with
// neither its provider's terminal sign nor a finish reason was cut, even if
// its worker reports no error.
func failure(end *events.GenerationEnded) *events.Error {
	switch {
	case end.Error != nil:
		return end.Error
	case end.Finish == events.FinishCancelled:
		return &events.Error{Class: events.ErrCancelled, Message: "the worker stopped the answer without an error"}
	case end.Finish == events.FinishError:
		return &events.Error{Class: events.ErrInternal, Message: "the worker reported a failure without an error: look at its log"}
	case !end.Terminated && end.FinishWord == "":
		return &events.Error{Class: events.ErrCut, Message: "the answer ended without the provider's terminal sign or finish reason: it was cut"}
	}
	return nil
}

func outcomeOf(err *events.Error) events.Outcome {
	if err.Class == events.ErrCancelled {
		return events.OutcomeCancelled
	}
	return events.OutcomeFailed
}
