package orchestrator

import (
	"fmt"
	"slices"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// pause records what the turn waits for; reminder counts from 1.
func (d *decision) pause(awaiting []events.Awaited, reminder int) {
	now := d.now.UnixMilli()
	e := &events.Paused{Turn: d.c.Turn, AtMS: now, Awaiting: awaiting, Reminder: reminder, Usage: d.c.Usage}
	for i, a := range awaiting {
		if len(a.Arguments) > 0 {
			awaiting[i].ArgumentsText = events.DigestText(string(a.Arguments))
		}
		if a.DeadlineMS > 0 && (e.DeadlineMS == 0 || a.DeadlineMS < e.DeadlineMS) {
			e.DeadlineMS = a.DeadlineMS
		}
	}
	asks := slices.ContainsFunc(awaiting, func(a events.Awaited) bool { return a.For != events.WaitTime })
	if p := d.policy(); p != nil && p.ReminderMS > 0 && asks {
		interval := p.ReminderMS
		if p == d.env.Settings.Policy { // accepted when the ceiling was lower
			interval = max(interval, d.env.Ceilings.ReminderMS)
		}
		e.RemindMS = now + interval
	}
	d.emit(e)
}

// due does what is due while the turn waits: it releases deferred calls,
// ends calls whose deadline has passed, and reminds. It reports whether the
// turn continues.
func (d *decision) due() bool {
	now := d.now.UnixMilli()
	for _, call := range slices.Clone(d.c.Calls) {
		switch {
		case !call.Waiting():
		case call.Waits == events.WaitTime && now >= call.DueMS:
			d.releaseDue(call)
		case call.DeadlineMS > 0 && now >= call.DeadlineMS && call.Waits == events.WaitAnswer:
			d.decline(call, "")
		case call.DeadlineMS > 0 && now >= call.DeadlineMS:
			d.refuse(call.Call, call.Tool, events.StatusExpired, expired(call.Waits))
		}
	}
	if q := d.c.Question; q != nil && now >= q.DeadlineMS {
		d.stop(events.OutcomeLimit, q.Limit, events.StatusExpired, "there was no decision on exceeding the turn's limit before the deadline: the call did not run", nil)
		return true
	}
	if d.resume() {
		return true
	}
	if d.c.RemindMS > 0 && now >= d.c.RemindMS && d.c.Asks() {
		d.pause(d.awaiting(), d.c.Reminders+1)
	}
	return false
}

func expired(w events.Wait) string {
	if w == events.WaitResult {
		return "no external result arrived before the deadline; the outcome is unknown"
	}
	return "there was no decision on this call before its deadline: it did not run"
}

// awaiting lists what the turn still waits for.
func (d *decision) awaiting() []events.Awaited {
	var all []events.Awaited
	for _, c := range d.c.Calls {
		if !c.Waiting() || c.Waits == events.WaitLimit {
			continue
		}
		if c.Waits == events.WaitAnswer {
			all = append(all, d.awaitedAnswer(c))
			continue
		}
		all = append(all, events.Awaited{For: c.Waits, Call: c.Call, Tool: c.Tool, Effect: c.Effect, Arguments: events.Arguments(d.arguments(c.Call)),
			Digest: c.Digest, Rule: c.Rule, Reason: d.reason(c), DueMS: c.DueMS, DeadlineMS: c.DeadlineMS, Needs: c.Needs, Approved: c.Approved})
	}
	if q := d.c.Question; q != nil {
		all = append(all, q.Awaited())
	}
	return all
}

// reason returns the reason of the rule that asks, if the policy still has
// it.
func (d *decision) reason(c events.CallState) string {
	switch c.Rule {
	case afterUnknown:
		return reasonUnknown
	case policy.KeyOverBudget:
		return policy.ReasonOverBudget
	}
	for _, p := range []*events.Policy{d.policy(), d.env.Policy} {
		if p == nil || c.Rule == "" {
			continue
		}
		for _, r := range p.Rules {
			if r.Key() == c.Rule {
				return r.Reason
			}
		}
	}
	return ""
}

// resume ends the pause when nothing is waited for any more, and reports
// whether it did.
func (d *decision) resume() bool {
	if d.c.Phase != events.PhasePaused || d.c.Question != nil || slices.ContainsFunc(d.c.Calls, func(c events.CallState) bool { return c.Waiting() }) {
		return false
	}
	d.emit(&events.Resumed{Turn: d.c.Turn, AtMS: d.now.UnixMilli()})
	return true
}

// releaseDue requests a deferred call whose time has come. If its tool has become
// stricter since it was deferred, the policy judges the call again.
func (d *decision) releaseDue(call events.CallState) {
	before := call.Effect
	if call.Effect = d.effect(call); !before.Weaker(call.Effect) {
		d.release(call, nil, "")
		return
	}
	arguments := d.arguments(call.Call)
	switch r := d.judge(call, arguments); r.Action {
	case events.ActionDeny:
		d.deny(call.Call, call.Tool, r)
	case events.ActionApprove:
		d.pause([]events.Awaited{*d.awaited(call, arguments, r)}, 0)
	default:
		d.release(call, nil, r.Granted)
	}
}

// effect returns the effect class of a call that waited: its tool may have become
// stricter meanwhile.
func (d *decision) effect(call events.CallState) events.Effect {
	if spec, known := d.tool(call.Tool); known {
		return events.Stricter(call.Effect, spec.Effect)
	}
	return call.Effect
}

// withdrawn ends a call that waited if its tool was withdrawn meanwhile, and reports
// whether it did: no worker would ever take its job.
func (d *decision) withdrawn(call events.CallState) bool {
	if _, known := d.tool(call.Tool); known {
		return false
	}
	d.refuse(call.Call, call.Tool, events.StatusUnknownTool, fmt.Sprintf("there is no tool named %q any more: the call was not run; %s", call.Tool, d.offered()))
	return true
}

// release requests a call that waited, with a person's arguments or, when
// they are nil, the model's.
func (d *decision) release(call events.CallState, arguments []byte, by string) {
	if d.withdrawn(call) {
		return
	}
	call.Effect = d.effect(call)
	d.emit(&events.ToolCallRequested{Turn: d.c.Turn, Step: d.c.Step, Call: call.Call, Tool: call.Tool, Effect: call.Effect, Arguments: arguments, By: by})
}

// held returns the calls that waited for a limit, as the model made them.
func (d *decision) held() []events.Part {
	var calls []events.Part
	for _, c := range d.c.Calls {
		if c.Status != "" {
			continue
		}
		if p, ok := d.transcript.Part(c.Call); ok {
			calls = append(calls, p)
		}
	}
	return calls
}
