package orchestrator

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/topology"
)

// dispatch requests calls, pauses for those that a person must approve, and
// refuses those that must not run.
func (d *decision) dispatch(calls []events.Part) {
	if limit := d.limitOf(calls); limit != "" {
		d.atLimit(limit)
		return
	}
	d.dispatchEach(calls)
}

// dispatchEach dispatches calls without a look at the limits of the turn.
func (d *decision) dispatchEach(calls []events.Part) {
	times := map[string]int{}
	for _, call := range calls {
		times[call.Call]++
	}
	var awaiting []events.Awaited
	var queued []string
	for _, call := range calls {
		if s := d.call(call.Call); s != nil && s.Early() && times[call.Call] == 1 {
			continue
		}
		switch a, later := d.dispatchOne(call, times[call.Call]); {
		case later:
			queued = append(queued, call.Call)
		case a != nil:
			awaiting = append(awaiting, *a)
		}
	}
	if len(queued) > 0 {
		d.emit(&events.ToolCallsQueued{Turn: d.c.Turn, Calls: queued})
	}
	if len(awaiting) > 0 {
		d.pause(awaiting, 0)
	}
}

// fillSlots dispatches queued calls when running ones have ended. It reports
// whether there were any.
func (d *decision) fillSlots() bool {
	var calls []events.Part
	free := d.env.limits().Parallel - d.running()
	for _, c := range d.c.Calls {
		if c.Status != "" || c.Waits != events.WaitSlot || len(calls) >= free {
			continue
		}
		if p, ok := d.transcript.Part(c.Call); ok {
			calls = append(calls, p)
		}
	}
	if len(calls) > 0 {
		d.dispatchEach(calls)
	}
	return len(calls) > 0
}

// running returns the number of calls that run.
func (d *decision) running() int {
	n := 0
	for _, c := range d.c.Calls {
		if c.Running() && d.c.RequestedCalls[c.Call] != nil {
			n++
		}
	}
	return n
}

// dispatchOne dispatches a call whose id occurs so many times in the answer.
// It returns what the call waits for, or later when no slot is free.
func (d *decision) dispatchOne(call events.Part, times int) (_ *events.Awaited, later bool) {
	if times == 1 && d.findTools(call) {
		return nil, false
	}
	spec, known := d.tool(call.Name)
	switch {
	case !known:
		d.refuse(call.Call, call.Name, events.StatusUnknownTool, fmt.Sprintf("there is no tool named %q; %s", call.Name, d.offered()))
		return nil, false
	case call.Invalid != "":
		d.invalid(call, call.Invalid)
		return nil, false
	case times > 1:
		d.invalid(call, fmt.Sprintf("the worker gave %d calls one id", times))
		return nil, false
	}
	if err := cmp.Or(topology.CheckID("call", call.Call), topology.CheckToken("tool", call.Name)); err != nil { // they make a subject
		d.invalid(call, err.Error())
		return nil, false
	}
	// Checked before the policy is evaluated: a person is not asked to approve a
	// call that cannot run.
	if err := d.env.Check(spec, call.Arguments); err != nil {
		d.invalid(call, err.Error())
		return nil, false
	}
	state := events.CallState{Call: call.Call, Tool: call.Name, Effect: classed(spec).Effect}
	r := d.judge(state, call.Arguments)
	switch r.Action {
	case events.ActionDeny:
		d.deny(call.Call, call.Name, r)
	case events.ActionAuto:
		if d.running() >= d.env.limits().Parallel {
			return nil, true
		}
		d.emit(&events.ToolCallRequested{Turn: d.c.Turn, Step: d.c.Step, Call: call.Call, Tool: call.Name, Effect: state.Effect, By: r.Granted})
	default:
		return d.awaited(state, call.Arguments, r), false
	}
	return nil, false
}

// afterUnknown takes the place of a rule's key where a call needs approval because
// the outcome of an earlier one is unknown. No standing approval covers it.
const (
	afterUnknown  = "after_unknown"
	reasonUnknown = "the outcome of an earlier call with these arguments is unknown: it may have taken effect"
)

// unreadable ends calls with an unreadable message on their lane: it may
// have been the result, and no other will come.
func (d *decision) unreadable() {
	for _, call := range slices.Clone(d.c.Calls) {
		if why := d.c.Unreadable[call.Call]; why != nil && call.Status == "" {
			d.refuse(call.Call, call.Tool, events.StatusUnknown,
				"the result of this call could not be read ("+why.Error()+"): the outcome of the call is unknown")
			d.resume()
		}
	}
}

// judge applies the policy to a call. A once-call is never run on its own
// after one with the same arguments whose outcome is unknown.
func (d *decision) judge(call events.CallState, arguments string) policy.Ruling {
	call.Effect = d.effect(call) // the tool may have become stricter while the call waited
	asked := policy.Call{Tool: call.Tool, Effect: call.Effect, Arguments: arguments}
	// A conversation's own policy cannot allow what the deployment's policy
	// denies.
	var binding *policy.Ruling
	if d.env.Settings.Policy != nil {
		r := d.env.Judge.JudgeWithin(d.budget, d.env.Policy, nil, asked)
		if r.Action == events.ActionDeny || r.Key == policy.KeyOverBudget {
			return r
		}
		if !r.Rule.Anybody() { // nor can it choose other people to approve
			binding = &r
		}
	}
	r := d.env.Judge.JudgeWithin(d.budget, d.policy(), d.c.Grants, asked)
	if binding != nil && r.Action != events.ActionDeny && r.Key != policy.KeyOverBudget {
		return *binding
	}
	if r.Action != events.ActionAuto || call.Effect != events.EffectOnce {
		return r
	}
	if d.transcript.OutcomeUnknown(call.Tool, arguments, call.Call) {
		r = policy.Ruling{Action: events.ActionApprove, Key: afterUnknown, Rule: events.Rule{Reason: reasonUnknown}}
	}
	return r
}

// awaited returns what a call waits for by the ruling of the policy.
func (d *decision) awaited(call events.CallState, arguments string, r policy.Ruling) *events.Awaited {
	a := &events.Awaited{For: events.WaitApproval, Call: call.Call, Tool: call.Tool, Effect: call.Effect,
		Arguments: events.Arguments(arguments), Digest: events.Digest(arguments), Rule: r.Key, Reason: r.Rule.Reason}
	if !r.Rule.Anybody() {
		a.Needs = &r.Rule.Need
	}
	if r.Action == events.ActionDefer {
		a.For = events.WaitResult
		if due := r.Rule.AtMS; due > 0 {
			a.For, a.DueMS = events.WaitTime, due
		} else if r.Rule.DelayMS > 0 {
			a.For, a.DueMS = events.WaitTime, d.now.UnixMilli()+r.Rule.DelayMS
		}
	}
	if a.For != events.WaitTime {
		a.DeadlineMS = d.deadline(r.Rule.DeadlineMS)
	}
	return a
}

// defaultDeadline is the time to answer where neither the rule nor the
// policy has one.
const defaultDeadline = 7 * 24 * time.Hour

// deadline returns when something that starts to wait now expires, in Unix
// milliseconds.
func (d *decision) deadline(rule int64) int64 {
	var usual int64
	if p := d.policy(); p != nil {
		usual = p.DeadlineMS
	}
	return d.now.UnixMilli() + cmp.Or(max(rule, 0), max(usual, 0), defaultDeadline.Milliseconds())
}

// call returns a call of the current step; nil when there is none.
func (d *decision) call(id string) *events.CallState {
	for i := range d.c.Calls {
		if d.c.Calls[i].Call == id {
			return &d.c.Calls[i]
		}
	}
	return nil
}

// arguments returns the raw arguments of a call of an earlier decision.
func (d *decision) arguments(call string) string {
	c, _ := d.transcript.Call(call)
	return c.Arguments
}

// tool returns the spec of a tool offered in this conversation.
func (d *decision) tool(name string) (events.ToolSpec, bool) {
	spec, known := d.env.Tools[name]
	if !known {
		spec, known = d.env.Known[name]
	}
	if !known || !chosen(d.env.Settings.Tools, name) {
		return events.ToolSpec{}, false
	}
	spec = d.env.strict(spec)
	if d.transcript.WeakEffect(name) {
		spec.Effect = events.EffectOnce // a worker said that what is announced is too weak
	}
	return spec, true
}

// strict returns a spec with the effect class of its calls: the strictest of
// what counts of the announcements and what the two policies set.
func (e *Env) strict(spec events.ToolSpec) events.ToolSpec {
	for _, p := range []*events.Policy{e.Policy, e.Settings.Policy} {
		if set := policy.Effect(p, spec.Name); set != "" {
			spec.Effect = events.Stricter(spec.Effect, set)
		}
	}
	return classed(spec)
}

// classed returns the spec with a known effect class: workers may announce
// any word.
func classed(spec events.ToolSpec) events.ToolSpec {
	if !spec.Effect.Known() {
		spec.Effect = events.EffectOnce
	}
	return spec
}

// maxNamed bounds the tools that are listed for a model that calls an
// unknown one.
const maxNamed = 50

// offered lists the tools for a model that calls an unknown one. The text is
// built once: the model may have made many such calls.
func (d *decision) offered() string {
	if d.names != "" {
		return d.names
	}
	names := slices.DeleteFunc(sortedNames(d.env.Tools), func(name string) bool { return !chosen(d.env.Settings.Tools, name) })
	switch n := len(names); {
	case n == 0:
		d.names = "no tools are offered here"
	case n > maxNamed:
		d.names = fmt.Sprintf("the tools are: %s and %d more", strings.Join(names[:maxNamed], ", "), n-maxNamed)
	default:
		d.names = "the tools are: " + strings.Join(names, ", ")
	}
	return d.names
}

// chosen reports whether a tool matches one of the patterns; no patterns
// match all.
func chosen(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range patterns {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}

func (d *decision) refuse(call, tool string, status events.Status, why string) {
	d.emit(&events.ToolCallRefused{Turn: d.c.Turn, Call: call, Tool: tool, Status: status, Content: why})
}

func (d *decision) invalid(call events.Part, why string) {
	d.refuse(call.Call, call.Name, events.StatusInvalidArguments, "the call was not run: "+why)
}

func (d *decision) deny(call, tool string, r policy.Ruling) {
	why := "the policy of this conversation does not allow this call: it was not run"
	if r.Rule.Reason != "" {
		why += ": " + r.Rule.Reason
	}
	d.refuse(call, tool, events.StatusRefused, why)
}
