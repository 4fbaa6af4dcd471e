// Package orchestrator decides what happens next in conversations. decide.go and
// the files with its rules (inputs, steps, calls, verdicts, waits, limits, hooks)
// are pure: state and time in, a Decision out. The shard owner around them follows the
// log, appends Decisions to the turn lane and publishes the jobs they request.
//
// Any number of orchestrators may run. Each shard has one owner at a time; the
// lane refuses the Decisions of a second one that believes it owns the shard.
package orchestrator

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
	"github.com/parleybus/parley/internal/policy"
)

// Env is the input of a decision besides the conversation.
type Env struct {
	// Tools are the tools that workers serve, by name. Known also has those
	// that no worker serves at the moment: calls of these wait in their
	// queue.
	Tools, Known map[string]events.ToolSpec
	// Check returns why arguments do not fit a tool's schema.
	Check func(spec events.ToolSpec, arguments string) error
	// CheckSchema returns why a schema cannot be used.
	CheckSchema func(spec events.ToolSpec) error
	// Judge judges calls by the policy.
	Judge *policy.Judge
	// Route is used when Settings name none; empty when no worker serves a
	// model.
	Route string
	// Pools are the deployment's pools of models; Endpoints what is known of their
	// models at the moment, by full name. Providers has those that workers served so
	// far, and whether they do now; nil when that is not known.
	Pools     policy.Pools
	Endpoints map[string]Endpoint
	Providers map[string]bool
	// Settings are the conversation's accepted settings, merged.
	Settings events.Settings
	// Limits, Policy, Prices and Hooks are the deployment's. Limits and
	// Policy apply where Settings have none, Hooks apply in addition to
	// those of Settings.
	Limits events.Limits
	Policy *events.Policy
	Prices policy.Prices
	Hooks  []events.Hook
	// MaxLimits are the limits that the deployment sets: no conversation exceeds
	// them. One that is 0, or unset, is no bound.
	MaxLimits events.Limits
	// Conversation and Apps are the inputs that were decided on in the minute of the
	// decision: of the conversation, and of each app. An app is an identity that signs
	// its inputs; all others together are the app "". Running is the number of the
	// conversations of each app in which a turn runs.
	Conversation Traffic
	Apps         map[string]Traffic
	Running      map[string]int64
	// Ceilings are the deployment's; those that are 0 have their default.
	Ceilings ceilings.Ceilings
	// Complete are the blocks of the open generation whose calls have become complete
	// since the last decision.
	Complete []int
	// HookAnswers are the answers of hooks that are not in the log yet.
	HookAnswers []*events.HookAnswered
	// Unusable are the inputs with a part that refers to something that cannot be used,
	// and why, by their ids.
	Unusable map[string]string
	// Fault is the reason why the turn cannot continue; nil when it can.
	Fault error
	// Purged counts what was purged of a conversation that is being deleted;
	// nil until the purge is complete.
	Purged *events.ConversationDeleted
	// Identities are those who sign inputs; nil when the deployment has none, and
	// nothing is verified.
	Identities *identity.Book
}

// Decide returns the Decision that the conversation needs now, and the
// conversation after it, for [accumulator.Conversation.Adopt]. Both are nil
// when there is nothing to decide. It reads nothing but its arguments and
// changes none of them. The caller sets the Decision's Owner, and counts the inputs
// that apps contains, by app.
func Decide(c *accumulator.Conversation, env Env, now time.Time) (made *events.Decision, after *accumulator.Conversation, apps map[string]Traffic) {
	env.Ceilings = env.Ceilings.WithDefaults()
	batch := batch(c)
	d := &decision{c: c.Draft(len(batch)), batch: batch, transcript: c.Transcript, env: env, now: now, seed: seedOf(c, batch), budget: policy.NewBudget()}
	if d.transcript != nil {
		d.document = d.transcript.Document
		d.queued = d.transcript.TextSize(d.c.Queue)
	}
	d.recordHookAnswers(events.HookAfter)
	d.inputs()
	d.fault()
	d.unreadable()
	d.purged()
	d.abandon(d.c.Abandoned())
	for d.turn() {
	}
	d.startEarly()
	if len(d.out) == 0 {
		return nil, nil, nil
	}
	made = &events.Decision{Events: make([]events.Line, len(d.out)), State: d.c.State.Clone()}
	for i, e := range d.out {
		made.Events[i].Event = e
	}
	return made, d.c, d.apps
}

// decision collects events and applies each to a draft of the conversation,
// so that each rule sees what the rules before it decided.
type decision struct {
	c          *accumulator.Conversation
	batch      []accumulator.Input     // the inputs to answer
	transcript *accumulator.Transcript // before this decision
	env        Env
	now        time.Time
	seed       seed
	out        []events.Event
	// budget bounds the cost of the policy's conditions.
	budget *policy.Budget
	// changed are the calls that this decision adds or ends, with their new
	// state.
	changed map[string]accumulator.Called
	names   string // of the offered tools, for the model
	// waiting are ids of UserMessages that the next turn answers.
	waiting []string
	// queued is the size of the messages that wait for the next turn, with those of
	// this decision.
	queued int64
	// document is env.Settings as a JSON document.
	document accumulator.Document
	compiled int64 // bytes of the conditions that Settings of this decision added
	joined   bool  // a message joined the turn: request the generation again
	// signers are the verified authors of the batch's inputs, by id; "" of those
	// that are not signed.
	signers map[string]string
	// apps are the inputs of this decision that count for apps.
	apps map[string]Traffic
	// requesters are the authors of messages and Settings that this decision takes
	// into the turn.
	requesters []string
}

func (d *decision) emit(e events.Event) {
	if a, ok := e.(*events.InputAnswered); ok {
		a.Signer = d.signers[a.Input]
	}
	d.out = append(d.out, e)
	d.c.ApplyDecided(e)
	d.note(e)
}

func (d *decision) answer(input string, a events.Answer, turn, reason string) {
	d.emit(&events.InputAnswered{Input: input, Answer: a, Turn: turn, Reason: reason})
}

// turn takes the next step of the turn, or starts a turn. It reports whether
// there may be more to decide.
func (d *decision) turn() bool {
	c := d.c
	switch {
	case c.Gone():
		return false
	case c.Phase == events.PhaseGenerating && c.Open != nil && c.Open.Ended != nil:
		return d.generated(c.Open, c.Open.Ended)
	case c.Phase == events.PhaseGenerating && c.Open != nil && tooLarge(c.Open, d.env.Ceilings) != nil:
		d.fail(tooLarge(c.Open, d.env.Ceilings))
		return true
	case (c.Phase == events.PhasePaused || c.Phase == events.PhaseCalling) && d.fillSlots():
		return true
	case (c.Phase == events.PhasePaused || c.Phase == events.PhaseCalling) && d.pauseForQuestions():
		return true
	case c.Phase == events.PhasePaused:
		return d.due()
	case c.Phase == events.PhaseCalling && d.allEnded():
		return d.step()
	case d.outOfTime():
		d.stop(events.OutcomeLimit, limitTime, events.StatusTimeout, "the turn ran out of time before the call had a result", nil)
		return true
	case c.Phase == events.PhasePreparing:
		return d.prepared()
	case c.Turn == "":
		return d.begin()
	}
	return false
}

// begin starts a turn on all messages that wait and requests its first
// generation.
func (d *decision) begin() bool {
	if len(d.c.Queue) == 0 && len(d.waiting) == 0 {
		return false
	}
	d.open()
	if d.requestHooks(events.HookBefore, d.c.Turn) {
		return false
	}
	return d.step()
}

// open starts a turn on all messages that wait.
func (d *decision) open() {
	turn := d.seed.id(d.now, fmt.Sprintf("turn %d", d.c.Turns))
	d.emit(&events.TurnStarted{Turn: turn, Inputs: slices.Concat(d.c.Queue, d.waiting), AtMS: d.now.UnixMilli()})
	for _, id := range d.waiting {
		d.answer(id, events.AnswerAccepted, turn, "")
	}
	d.waiting = nil
}

// step requests the next generation, unless a limit is reached or a message
// supersedes the turn.
func (d *decision) step() bool {
	if d.c.Superseded {
		d.end(events.OutcomeCancelled, string(events.AnswerSuperseded), nil)
		return true
	}
	if limit := d.limit(); limit != "" {
		return d.atLimit(limit)
	}
	if size := d.transcript.Size(); size > d.env.Ceilings.ConversationBytes {
		err := conversationTooLarge(size, d.env.Ceilings.ConversationBytes)
		d.end(events.OutcomeFailed, reasonOf(err), err)
		return true
	}
	model := d.choose(d.c.Step+1, 1)
	d.compactNear(model.window)
	return d.requestGeneration(model, d.c.Step+1, 1, 0, nil)
}

// stop ends a turn at any point: the text so far is kept as a partial
// message, and every open call gets its one result.
func (d *decision) stop(outcome events.Outcome, reason string, status events.Status, why string, err *events.Error) {
	c := d.c
	if g := c.Open; g != nil && c.Phase == events.PhaseGenerating && !g.Empty() {
		message, cut := d.boundedMessage(g, err)
		m := &events.AssistantMessage{Turn: c.Turn, Generation: c.Generation, Step: c.Step, Message: message, Finish: events.FinishCancelled, Partial: true}
		m.Usage = g.Spent()
		if g.Ended != nil {
			m.Finish, m.Partial = g.Ended.Finish, cut || failure(g.Ended) != nil
		}
		d.emitAnswer(m)
	}
	for _, call := range c.Calls {
		if call.Status == "" {
			d.refuse(call.Call, call.Tool, status, why)
		}
	}
	d.end(outcome, reason, err)
}

func (d *decision) end(outcome events.Outcome, reason string, err *events.Error) {
	c := d.c
	turn := c.Turn
	d.abandon(c.Calls)
	usage, spent := d.spent()
	cost, _ := d.env.Prices.Cost(spent)
	d.emit(&events.TurnEnded{Turn: turn, Outcome: outcome, Reason: reason, Error: err, Steps: c.Step, Usage: usage, CostUSD: cost})
	d.requestHooks(events.HookAfter, turn)
}

// allEnded reports whether every call of the step has its result.
func (d *decision) allEnded() bool {
	return !slices.ContainsFunc(d.c.Calls, func(c events.CallState) bool { return c.Status == "" })
}

// policy returns the policy in effect.
func (d *decision) policy() *events.Policy { return cmp.Or(d.env.Settings.Policy, d.env.Policy) }
