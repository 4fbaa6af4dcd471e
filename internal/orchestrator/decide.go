// Package orchestrator decides what happens next in conversations. decide.go is
// pure: state and time in, events out. The shard owner around it follows the
// log, appends Decisions to the turn lane and publishes the jobs they ask for.
//
// Any number of orchestrators may run. Each shard has one owner at a time; a
// second that believes it owns it is refused by the lane.
package orchestrator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Env is what a decision knows besides the conversation.
type Env struct {
	// Tools are the tools offered in this conversation, by name; Known are also
	// those that nobody serves just now: a call of one waits in its queue.
	Tools, Known map[string]events.ToolSpec
	// Check reports why arguments do not fit a tool's schema.
	Check func(spec events.ToolSpec, arguments string) error
	// Route is asked when Settings name none; empty when nobody serves any.
	Route string
	// Settings are the latest of the conversation.
	Settings events.Settings
	// Limits stand where Settings say nothing.
	Limits events.Limits
}

// tries is how often a step's model is asked before the turn fails.
const tries = 4

// DefaultLimits bound a turn where nobody said otherwise.
func DefaultLimits() events.Limits {
	return events.Limits{Steps: 25, TimeMS: (15 * time.Minute).Milliseconds()}
}

func (e Env) limits() events.Limits {
	l, d := e.Settings.Limits, e.Limits
	if l.Steps <= 0 {
		l.Steps = d.Steps
	}
	if l.Tokens <= 0 {
		l.Tokens = d.Tokens
	}
	if l.TimeMS <= 0 {
		l.TimeMS = d.TimeMS
	}
	return l
}

// Decide is what is to be done about a conversation now: the events of one
// Decision, or none. It reads nothing but its arguments and changes nothing.
func Decide(c *accumulator.Conversation, env Env, now time.Time) []events.Event {
	d := &decision{c: c.Clone(), said: c.Transcript, env: env, now: now, seed: seedOf(c)}
	d.inputs()
	for d.turn() {
	}
	return d.out
}

// decision collects events and applies each to its own copy of the state, so
// that one rule sees what the rule before it decided.
type decision struct {
	c    *accumulator.Conversation
	said *accumulator.Transcript
	env  Env
	now  time.Time
	seed seed
	out  []events.Event
	// waiting are UserMessages without an answer: the next turn is theirs.
	waiting []string
}

func (d *decision) emit(e events.Event) {
	d.out = append(d.out, e)
	d.c.Decided(e)
}

func (d *decision) answer(input string, a events.Answer, turn, reason string) {
	d.emit(&events.InputAnswered{Input: input, Answer: a, Turn: turn, Reason: reason})
}

// inputs answers what people said. A message for a running turn is queued; the
// rest of the queue is for the next turn.
func (d *decision) inputs() {
	for _, in := range slices.Clone(d.c.Inputs) {
		switch e := in.Event.(type) {
		case nil:
			d.answer(in.ID, events.AnswerInvalid, "", "this input cannot be read: "+in.Bad.Error())
		case *events.Settings:
			d.answer(in.ID, events.AnswerAccepted, "", "")
		case *events.UserMessage:
			switch turn := d.said.TurnOf(in.ID); {
			case turn != "" && turn == d.c.Turn:
				d.answer(in.ID, events.AnswerAccepted, turn, "")
			case turn != "":
				d.answer(in.ID, events.AnswerAlreadyEnded, turn, "this message was answered already; another one needs an id of its own")
			case strings.TrimSpace(e.Text) == "":
				d.answer(in.ID, events.AnswerInvalid, "", "the message has no text")
			case d.c.Turn != "":
				d.answer(in.ID, events.AnswerQueued, "", "a turn is running; this is for the next one")
			default:
				d.waiting = append(d.waiting, in.ID)
			}
		case *events.Cancel:
			d.cancel(in.ID, e)
		case *events.Verdict:
			d.answer(in.ID, events.AnswerUnknownCall, "", "no call waits for a verdict")
		case *events.Unknown:
			d.answer(in.ID, events.AnswerInvalid, "", fmt.Sprintf("inputs of type %q are not known to this version", e.Name))
		default:
			d.answer(in.ID, events.AnswerInvalid, "", fmt.Sprintf("a %s is not an input: people and apps write Settings, UserMessage, Verdict and Cancel", e.Type()))
		}
	}
}

// cancel stops the turn that runs, or would run if what was said before the
// cancel had been decided on at once.
func (d *decision) cancel(input string, e *events.Cancel) {
	if d.c.Turn == "" && e.Turn == "" && len(d.waiting) > 0 {
		d.open()
	}
	if d.c.Turn == "" || e.Turn != "" && e.Turn != d.c.Turn {
		d.answer(input, events.AnswerAlreadyEnded, e.Turn, "no such turn is running")
		return
	}
	d.answer(input, events.AnswerAccepted, d.c.Turn, "")
	reason := e.Reason
	if reason == "" {
		reason = "cancelled"
	}
	d.stop(events.OutcomeCancelled, reason, events.StatusCancelled, "the turn was cancelled before the call had a result", nil)
}

// turn takes the next step of the turn, or begins one; it reports whether there
// may be more to decide.
func (d *decision) turn() bool {
	c := d.c
	switch {
	case c.Phase == events.PhaseGenerating && c.Open != nil && c.Open.Ended != nil:
		return d.generated(c.Open, c.Open.Ended)
	case d.late():
		d.stop(events.OutcomeLimit, "max_time", events.StatusTimeout, "the turn ran out of time before the call had a result", nil)
		return true
	case c.Phase == events.PhaseCalling && d.allSettled():
		return d.step()
	case c.Turn == "":
		return d.begin()
	}
	return false
}

// late reports whether the turn has run out of time.
func (d *decision) late() bool {
	limit := d.env.limits().TimeMS
	return d.c.Turn != "" && limit > 0 && d.now.UnixMilli()-d.c.StartedMS >= limit
}

// begin starts a turn on everything that waits and asks the model.
func (d *decision) begin() bool {
	if len(d.c.Queue) == 0 && len(d.waiting) == 0 {
		return false
	}
	d.open()
	return d.step()
}

// open starts a turn on everything that waits.
func (d *decision) open() {
	turn := d.seed.id(d.now, fmt.Sprintf("turn %d", d.c.Turns))
	d.emit(&events.TurnStarted{Turn: turn, Inputs: slices.Concat(d.c.Queue, d.waiting), AtMS: d.now.UnixMilli()})
	for _, id := range d.waiting {
		d.answer(id, events.AnswerAccepted, turn, "")
	}
	d.waiting = nil
}

// step asks the model, unless a limit is reached.
func (d *decision) step() bool {
	limits := d.env.limits()
	switch {
	case limits.Steps > 0 && d.c.Step >= limits.Steps:
		d.end(events.OutcomeLimit, "max_steps", nil)
		return true
	case limits.Tokens > 0 && d.c.Usage.Total() >= limits.Tokens:
		d.end(events.OutcomeLimit, "max_tokens", nil)
		return true
	}
	return d.ask(d.c.Step+1, 1, 0)
}

func (d *decision) ask(step, try int, wait time.Duration) bool {
	// A turn stays with the model it began with, unless it is told another.
	route := cmp.Or(d.env.Settings.Route, d.c.Route, d.env.Route)
	if step == 1 && try == 1 {
		route = cmp.Or(d.env.Settings.Route, d.env.Route, d.c.Route)
	}
	if route == "" {
		d.end(events.OutcomeFailed, "no_route", &events.Error{Class: events.ErrInvalidRequest,
			Message: "no model is set and no worker serves one: start an llm-worker, or set a route such as \"openai/gpt-5-mini\" in Settings"})
		return true
	}
	if _, err := topology.RouteToken(route); err != nil {
		d.end(events.OutcomeFailed, "no_route", &events.Error{Class: events.ErrInvalidRequest, Message: err.Error()})
		return true
	}
	e := &events.GenerationRequested{Turn: d.c.Turn, Step: step, Try: try, Route: route,
		Generation: d.seed.id(d.now, fmt.Sprintf("generation %d %d %d", d.c.Turns, step, try))}
	if wait > 0 {
		e.NotBefore = d.now.Add(wait).UnixMilli()
	}
	d.emit(e)
	return false
}

// generated decides about an answer that is complete, cut or failed.
func (d *decision) generated(g *accumulator.Generation, end *events.GenerationEnded) bool {
	c := d.c
	if err := failure(end); err != nil {
		if err.Retryable() && c.Try < tries && !d.late() {
			return d.ask(c.Step, c.Try+1, max(err.RetryAfter(), backoff(c.Try)))
		}
		d.stop(outcomeOf(err), string(err.Class), events.StatusCancelled, "the answer failed before the call could run", err)
		return true
	}
	calls := g.Calls()
	more := len(calls) > 0 || end.Finish == events.FinishPause // of the provider's own tools
	d.emit(&events.AssistantMessage{Turn: c.Turn, Generation: c.Generation, Step: c.Step, Message: g.Message(), Finish: end.Finish, Usage: end.Usage})
	switch {
	case !more:
		d.end(events.OutcomeCompleted, string(end.Finish), nil)
	case !d.late(): // else nothing more is begun
		d.dispatch(calls)
		return d.allSettled() && d.step()
	}
	return true
}

// failure is why an answer failed, if it did. A worker may not have said so: an
// answer with neither its provider's terminal sign nor a word for its finish was
// cut, not finished.
func failure(end *events.GenerationEnded) *events.Error {
	switch {
	case end.Error != nil:
		return end.Error
	case end.Finish == events.FinishCancelled:
		return &events.Error{Class: events.ErrCancelled, Message: "the worker gave the answer up and did not say why"}
	case end.Finish == events.FinishError:
		return &events.Error{Class: events.ErrInternal, Message: "the worker says that the answer failed, not why: look at its log"}
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

// backoff is how long a step rests before its model is asked again: 0.5, 1, 2 s.
func backoff(try int) time.Duration { return 250 * time.Millisecond << try }

// dispatch asks for calls to be run, or says to the model why they are not.
func (d *decision) dispatch(calls []events.Part) {
	times := map[string]int{}
	for _, call := range calls {
		times[call.Call]++
	}
	for _, call := range calls {
		d.call(call, times[call.Call])
	}
}

// call dispatches one; its id stands so many times in the answer.
func (d *decision) call(call events.Part, times int) {
	refuse := func(status events.Status, why string) {
		d.emit(&events.ToolCallRefused{Turn: d.c.Turn, Call: call.Call, Tool: call.Name, Status: status, Content: why})
	}
	spec, known := d.env.Tools[call.Name]
	if !known {
		spec, known = d.env.Known[call.Name]
	}
	switch {
	case !known:
		refuse(events.StatusUnknownTool, fmt.Sprintf("there is no tool named %q; %s", call.Name, d.offered()))
		return
	case call.Invalid != "":
		refuse(events.StatusInvalidArguments, "the call was not run: "+call.Invalid)
		return
	case times > 1:
		refuse(events.StatusInvalidArguments, fmt.Sprintf("the call was not run: the worker gave %d calls one id", times))
		return
	}
	if err := cmp.Or(topology.CheckID("call", call.Call), topology.CheckToken("tool", call.Name)); err != nil { // they make a subject
		refuse(events.StatusInvalidArguments, "the call was not run: "+err.Error())
		return
	}
	if err := d.env.Check(spec, call.Arguments); err != nil {
		refuse(events.StatusInvalidArguments, "the call was not run: "+err.Error())
		return
	}
	effect := spec.Effect
	if effect == "" {
		effect = events.EffectOnce
	}
	d.emit(&events.ToolCallRequested{Turn: d.c.Turn, Step: d.c.Step, Call: call.Call, Tool: call.Name, Effect: effect})
}

func (d *decision) offered() string {
	names := sortedNames(d.env.Tools)
	if len(names) == 0 {
		return "no tools are offered here"
	}
	return "the tools are: " + strings.Join(names, ", ")
}

func (d *decision) allSettled() bool {
	for _, call := range d.c.Calls {
		if call.Status == "" {
			return false
		}
	}
	return true
}

// stop ends a turn in the middle: what was said stays as a partial message, and
// every open call gets its one result.
func (d *decision) stop(outcome events.Outcome, reason string, status events.Status, why string, err *events.Error) {
	c := d.c
	if g := c.Open; g != nil && c.Phase == events.PhaseGenerating && !g.Empty() {
		m := &events.AssistantMessage{Turn: c.Turn, Generation: c.Generation, Step: c.Step, Message: g.Message(), Finish: events.FinishCancelled, Partial: true}
		if g.Ended != nil {
			m.Finish, m.Usage, m.Partial = g.Ended.Finish, g.Ended.Usage, failure(g.Ended) != nil
		}
		d.emit(m)
	}
	for _, call := range c.Calls {
		if call.Status == "" {
			d.emit(&events.ToolCallRefused{Turn: c.Turn, Call: call.Call, Tool: call.Tool, Status: status, Content: why})
		}
	}
	d.end(outcome, reason, err)
}

func (d *decision) end(outcome events.Outcome, reason string, err *events.Error) {
	d.emit(&events.TurnEnded{Turn: d.c.Turn, Outcome: outcome, Reason: reason, Error: err, Steps: d.c.Step, Usage: d.c.Usage})
}
