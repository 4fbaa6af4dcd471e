package accumulator

import (
	"maps"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// A call may be requested before the answer with it is complete (ADR 90). Until then
// the calls of the step are these; then they are those of the answer. One that the
// answer does not have was made by an attempt that was superseded.

// early adds a call that is requested before its answer is complete.
func (c *Conversation) early(e *events.ToolCallRequested) {
	if e.GenerationAttempt == "" || c.Phase != events.PhaseGenerating || c.has(e.Call) {
		return
	}
	c.Calls = append(c.Calls, events.CallState{Call: e.Call, Tool: e.Tool, GenerationAttempt: e.GenerationAttempt})
}

// complete makes the calls of an answer those of the step.
func (c *Conversation) complete(m events.Message) {
	early := c.Calls
	c.Calls = nil
	for _, p := range m.Parts {
		if p.Kind != events.PartCall {
			continue
		}
		state := events.CallState{Call: p.Call, Tool: p.Name}
		if i := slices.IndexFunc(early, func(s events.CallState) bool { return s.Call == p.Call }); i >= 0 {
			state = early[i]
		}
		c.Calls = append(c.Calls, state)
	}
	gone := func(call string) bool { return !c.has(call) }
	if slices.ContainsFunc(early, func(s events.CallState) bool { return gone(s.Call) }) {
		c.RequestedCalls, c.callSequences = but(c.RequestedCalls, gone), but(c.callSequences, gone)
		c.forget(gone)
	}
}

// forget forgets what workers wrote about calls.
func (c *Conversation) forget(gone func(call string) bool) {
	c.Started, c.Unreadable, c.attempts = but(c.Started, gone), but(c.Unreadable, gone), but(c.attempts, gone)
}

// refused ends a call. An owner may refuse an early call because of what it read on
// the gen lane, before it has read the call's own lane: what stands there does not count.
func (c *Conversation) refused(e *events.ToolCallRefused) {
	c.end(e.Call, e.Status)
	if slices.ContainsFunc(c.Calls, func(s events.CallState) bool { return s.Call == e.Call && s.Early() }) {
		c.forget(func(call string) bool { return call == e.Call })
	}
}

// but returns a copy of a map by calls without some of them: drafts share maps.
func but[V any](m map[string]V, gone func(call string) bool) map[string]V {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(call string, _ V) bool { return gone(call) })
	if len(m) == 0 {
		return nil
	}
	return m
}

// Abandoned returns the open calls that an attempt made which was superseded before
// its answer was complete.
func (c *Conversation) Abandoned() []events.CallState {
	if c.Phase != events.PhaseGenerating || c.Open == nil || c.Open.Started == nil {
		return nil
	}
	var all []events.CallState
	for _, s := range c.Calls {
		if s.Early() && s.Status == "" && s.GenerationAttempt != c.Open.attempt {
			all = append(all, s)
		}
	}
	return all
}

func (c *Conversation) has(call string) bool {
	return slices.ContainsFunc(c.Calls, func(s events.CallState) bool { return s.Call == call })
}

// without returns the state of a call that neither waits nor has ended.
func without(s events.CallState) events.CallState {
	return events.CallState{Call: s.Call, Tool: s.Tool, GenerationAttempt: s.GenerationAttempt}
}

// settle forgets what is known of the calls that were requested early and are not in
// the complete answer.
func (t *Transcript) settle(m events.Message) {
	for _, call := range t.early {
		if events.HasCall(m, call) {
			if r, ended := t.results[call]; ended {
				t.endedAs(call, r.Status)
			}
			continue
		}
		if r, ended := t.results[call]; ended {
			t.size, t.weight = t.size-sizeOf(r), t.weight-weightOf(r)
		}
		delete(t.results, call)
		delete(t.started, call)
		delete(t.verdicts, call)
	}
	t.early = nil
}
