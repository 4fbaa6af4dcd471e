// Package policy decides about tool calls: which run without approval, which
// wait for a person, a time or an app, and which never run. It also has the
// deployment's other settings for turns: limits, prices and hooks, and the file
// of defaults with all of them.
//
// Only [Load] does I/O, and nothing reads the clock: the same policy, grants
// and call give the same ruling everywhere. Nothing panics, and a rule that
// cannot be parsed or evaluated never lets a call run.
package policy

import (
	"errors"
	"path"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// Call is a call to judge.
type Call struct {
	Tool      string
	Effect    events.Effect // absent means once
	Arguments string        // raw JSON, as in the log
}

// Ruling is the decision of a policy about a call.
type Ruling struct {
	Action  events.Action // one of the four, also if the rule's action is unknown
	Rule    events.Rule   // that decided; zero for the default
	Default bool          // no rule matched
	Key     string        // of the rule, see [events.Rule.Key]; "" for the default
	Granted string        // id of the grant that let the call run; "" when none did
}

// Judge judges calls and keeps compiled conditions. The zero value is ready; it
// is safe for concurrent use.
type Judge struct {
	// Ceilings are those of the deployment; those that are 0 have their default.
	Ceilings ceilings.Ceilings

	conditions conditions
}

// KeyOverBudget and ReasonOverBudget replace a rule's key and reason if a call
// is asked about because earlier calls have used up the budget.
const (
	KeyOverBudget    = "over_budget"
	ReasonOverBudget = "the policy's conditions on the calls before it used up what one decision may cost: they were not evaluated on this one"
)

// JudgeWithin decides about a call. A matching rule with action deny overrides
// everything, wherever in the list it is. Otherwise the first matching rule
// decides, or else the default: a pure tool runs, any other asks. A grant for
// the same tool and the same rule lets a call run that would be asked about. p
// may be nil.
//
// A rule whose pattern, effect or condition cannot be evaluated matches, except
// one with action auto, which does not: an error asks or denies, it never runs.
// An unknown action counts as approve.
//
// Several calls share the budget b. If too little of it is left for a call, the
// call is asked about, unless it is denied without the conditions that were not
// evaluated; no grant lets it run.
func (j *Judge) JudgeWithin(b *Budget, p *events.Policy, grants []events.Grant, call Call) Ruling {
	if call.Effect == "" {
		call.Effect = events.EffectOnce
	}
	f := facts{call: call, budget: min(b.left, maxTotalCost), shared: b.left < maxTotalCost}
	before := f.budget
	rule, denied := j.decide(p, &f)
	b.left -= before - f.budget
	switch {
	case denied:
		return Ruling{Action: events.ActionDeny, Rule: *rule, Key: rule.Key()}
	case f.skipped:
		return Ruling{Action: events.ActionApprove, Rule: events.Rule{Reason: ReasonOverBudget}, Key: KeyOverBudget}
	}
	ruling := Ruling{Action: events.ActionApprove, Default: true}
	if rule != nil {
		ruling = Ruling{Action: known(rule), Rule: *rule, Key: rule.Key()}
	} else if call.Effect == events.EffectPure {
		ruling.Action = events.ActionAuto
	}
	if ruling.Action != events.ActionApprove || !ruling.Rule.Anybody() {
		return ruling // no standing approval takes the place of particular people
	}
	for _, g := range grants {
		// A grant without an id could not be revoked.
		if g.ID != "" && g.Tool == call.Tool && g.Rule == ruling.Key {
			ruling.Action, ruling.Granted = events.ActionAuto, g.ID
			break
		}
	}
	return ruling
}

// decide returns the first matching deny, or else the first matching rule.
func (j *Judge) decide(p *events.Policy, f *facts) (first *events.Rule, denied bool) {
	if p == nil {
		return nil, false
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		deny := r.Action == events.ActionDeny
		if first != nil && !deny || !j.matches(r, f) {
			continue
		}
		if deny {
			return r, true
		}
		first = r
	}
	return first, false
}

// matches reports whether a rule matches the call. If that cannot be evaluated,
// the rule's action decides.
func (j *Judge) matches(r *events.Rule, f *facts) bool {
	sure := true
	if r.Tool != "" {
		is, err := path.Match(r.Tool, f.call.Tool)
		if err == nil && !is {
			return false
		}
		sure = err == nil
	}
	if r.Effect != "" && r.Effect != f.call.Effect {
		if r.Effect.Known() {
			return false
		}
		sure = false
	}
	if r.When != "" {
		is, err := j.conditions.holds(r.When, f)
		if err == nil && !is || errors.Is(err, errShared) {
			return false
		}
		sure = sure && err == nil
	}
	return sure || r.Action != events.ActionAuto
}

// known returns the action of a rule. An unknown one counts as approve, and so
// does auto in a rule that says who must approve.
func known(r *events.Rule) events.Action {
	switch r.Action {
	case events.ActionDefer, events.ActionDeny:
		return r.Action
	case events.ActionAuto:
		if r.Anybody() {
			return r.Action
		}
	}
	return events.ActionApprove
}
