package policy

import (
	"cmp"
	"fmt"
	"path"

	"github.com/parleybus/parley/internal/events"
)

// maxEffects bounds the effect classes that a policy sets.
const maxEffects = 200

// Effect returns the effect class that a policy sets for a tool; empty when it
// sets none. An exact name overrides patterns; of several patterns the strictest
// class counts. p may be nil.
func Effect(p *events.Policy, tool string) (effect events.Effect) {
	if p == nil {
		return ""
	}
	if e, is := p.Effects[tool]; is {
		return events.Stricter(e, events.EffectPure)
	}
	for pattern, e := range p.Effects {
		// A pattern that cannot be evaluated matches: it can only make calls stricter.
		if is, err := path.Match(pattern, tool); is || err != nil {
			effect = events.Stricter(e, cmp.Or(effect, events.EffectPure))
		}
	}
	return effect
}

// checkEffects validates the effect classes of a policy.
func checkEffects(p *events.Policy) error {
	if len(p.Effects) > maxEffects {
		return fmt.Errorf("effects: %d tools, the maximum is %d: use patterns", len(p.Effects), maxEffects)
	}
	for name, e := range p.Effects {
		if err := pattern("effects: tool", name); err != nil {
			return err
		}
		if !e.Known() {
			return fmt.Errorf("effects: tool %q has the class %q: give pure, idempotent or once", name, e)
		}
	}
	return nil
}
