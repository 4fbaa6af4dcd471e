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

// dispatch asks for calls to be run, asks somebody about them, or says to the
// model why they are not run.
func (d *decision) dispatch(calls []events.Part) {
	if limit := d.limitOf(calls); limit != "" {
		d.atLimit(limit)
		return
	}
	d.dispatchEach(calls)
}

// dispatchEach finds out what becomes of each call.
func (d *decision) dispatchEach(calls []events.Part) {
	times := map[string]int{}
	for _, call := range calls {
		times[call.Call]++
	}
	var awaiting []events.Awaited
	var queued []string
	for _, call := range calls {
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

// fillSlots asks for calls that waited until others had ended; it reports whether it
// did.
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

// running is how many calls run.
func (d *decision) running() int {
	n := 0
	for _, c := range d.c.Calls {
		if c.Running() && d.c.Asked[c.Call] != nil {
			n++
		}
	}
	return n
}

// dispatchOne finds out what becomes of a call whose id stands so many times in the
// answer; it returns what the call waits for, or that others have to end before
// it.
func (d *decision) dispatchOne(call events.Part, times int) (_ *events.Awaited, later bool) {
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
	// What is approved is what would run: nobody is asked about a call that
	// cannot.
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

// afterUnknown stands in the place of a rule's key where a call is asked about
// because of one before it. Nothing that stands can be approved by it.
const (
	afterUnknown  = "after_unknown"
	reasonUnknown = "an earlier call with these arguments may have taken effect: nobody knows"
)

// unreadable ends calls whose worker wrote what cannot be read: the result may
// have been in it, and no other comes.
func (d *decision) unreadable() {
	for _, call := range slices.Clone(d.c.Calls) {
		if why := d.c.Unreadable[call.Call]; why != nil && call.Status == "" {
			d.refuse(call.Call, call.Tool, events.StatusUnknown,
				"the result of this call could not be read ("+why.Error()+"): it is not known whether the call took effect")
			d.resume()
		}
	}
}

// judge asks the policy about a call. One that an earlier call left in the dark
// is never run again on its own.
func (d *decision) judge(call events.CallState, arguments string) policy.Ruling {
	asked := policy.Call{Tool: call.Tool, Effect: call.Effect, Arguments: arguments}
	// What the deployment denies stays denied, whatever a conversation's own
	// policy says.
	if d.env.Settings.Policy != nil {
		if r := d.env.Judge.JudgeWithin(d.budget, d.env.Policy, nil, asked); r.Action == events.ActionDeny || r.Key == policy.KeyOverBudget {
			return r
		}
	}
	r := d.env.Judge.JudgeWithin(d.budget, d.policy(), d.c.Grants, asked)
	if r.Action != events.ActionAuto || call.Effect != events.EffectOnce {
		return r
	}
	if d.transcript.OutcomeUnknown(call.Tool, arguments, call.Call) {
		r = policy.Ruling{Action: events.ActionApprove, Key: afterUnknown, Rule: events.Rule{Reason: reasonUnknown}}
	}
	return r
}

// awaited is what a call waits for by a rule.
func (d *decision) awaited(call events.CallState, arguments string, r policy.Ruling) *events.Awaited {
	a := &events.Awaited{For: events.WaitApproval, Call: call.Call, Tool: call.Tool, Effect: call.Effect,
		Arguments: events.Arguments(arguments), Digest: events.Digest(arguments), Rule: r.Key, Reason: r.Rule.Reason}
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

// defaultDeadline is how long somebody has to answer when nobody said.
const defaultDeadline = 7 * 24 * time.Hour

// deadline is when something expires that is asked now.
func (d *decision) deadline(rule int64) int64 {
	var usual int64
	if p := d.policy(); p != nil {
		usual = p.DeadlineMS
	}
	return d.now.UnixMilli() + cmp.Or(max(rule, 0), max(usual, 0), defaultDeadline.Milliseconds())
}

// call is a call of the running step; nil when there is none.
func (d *decision) call(id string) *events.CallState {
	for i := range d.c.Calls {
		if d.c.Calls[i].Call == id {
			return &d.c.Calls[i]
		}
	}
	return nil
}

// arguments are the raw arguments of a call of an earlier decision.
func (d *decision) arguments(call string) string {
	c, _ := d.transcript.Call(call)
	return c.Arguments
}

// tool is a tool offered in this conversation.
func (d *decision) tool(name string) (events.ToolSpec, bool) {
	spec, known := d.env.Tools[name]
	if !known {
		spec, known = d.env.Known[name]
	}
	if !known || !chosen(d.env.Settings.Tools, name) {
		return events.ToolSpec{}, false
	}
	return spec, true
}

// classed is a tool whose effect class exists: a worker may announce any word.
func classed(spec events.ToolSpec) events.ToolSpec {
	if !spec.Effect.Known() {
		spec.Effect = events.EffectOnce
	}
	return spec
}

// maxNamed is how many tools are named to a model that calls an unknown one.
const maxNamed = 50

// offered names the tools, for a model that calls one there is not. It is worked
// out once: the model may have made many such calls.
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

// chosen reports whether a tool is among the patterns; no patterns mean all.
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
