package orchestrator

import (
	"cmp"
	"maps"
	"slices"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/topology"
)

// startEarly requests calls of tools without effects while the model still writes the
// answer with them (ADR 90). Whatever does not run at once waits until the answer is
// complete.
func (d *decision) startEarly() {
	c := d.c
	g := c.Open
	if c.Phase != events.PhaseGenerating || g == nil || g.Started == nil || g.Ended != nil || c.Superseded || d.late() {
		return
	}
	for _, block := range d.env.Complete {
		call, complete := g.Complete(block)
		if !complete || d.running() >= d.env.limits().Parallel {
			continue
		}
		if r, may := d.early(call); may {
			d.emit(&events.ToolCallRequested{Turn: c.Turn, Step: c.Step, Call: call.Call, Tool: call.Name, Effect: events.EffectPure, By: r.Granted, GenerationAttempt: g.Attempt()})
		}
	}
}

// early reports whether a call runs whatever else the answer will have, and the ruling
// of the policy that lets it.
func (d *decision) early(call events.Part) (r policy.Ruling, may bool) {
	_, served := d.env.Tools[call.Name]
	spec, known := d.tool(call.Name)
	if !served || !known || spec.Effect != events.EffectPure || call.Invalid != "" || d.counted(call.Name) {
		return r, false
	}
	if _, used := d.transcript.Call(call.Call); used || d.call(call.Call) != nil {
		return r, false
	}
	if cmp.Or(topology.CheckID("call", call.Call), topology.CheckToken("tool", call.Name)) != nil || d.env.Check(spec, call.Arguments) != nil {
		return r, false
	}
	r = d.judge(events.CallState{Call: call.Call, Tool: call.Name, Effect: spec.Effect}, call.Arguments)
	return r, r.Action == events.ActionAuto
}

// counted reports whether a limit counts the calls of a tool: an answer with too many
// of them runs none.
func (d *decision) counted(tool string) bool {
	limits := d.env.limits().Calls
	return len(limits) > 0 && chosen(slices.Collect(maps.Keys(limits)), tool)
}

// abandon ends calls that were requested before their answer was complete, and whose
// answer is not used.
func (d *decision) abandon(calls []events.CallState) {
	for _, call := range slices.Clone(calls) {
		if call.Early() && call.Status == "" {
			d.refuse(call.Call, call.Tool, events.StatusSuperseded, "the answer that made this call was superseded before it was complete")
		}
	}
}

// emitAnswer emits the answer of the open generation. Calls that it does not have were
// made by an attempt that was superseded, or exceed a ceiling.
func (d *decision) emitAnswer(m *events.AssistantMessage) {
	d.abandon(slices.DeleteFunc(slices.Clone(d.c.Calls), func(s events.CallState) bool {
		return events.HasCall(m.Message, s.Call)
	}))
	d.emit(m)
}
