package orchestrator

import (
	"fmt"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// requestHooks requests the hooks of a turn for this time of it. It reports
// whether there are any.
func (d *decision) requestHooks(when events.HookTime, turn string) bool {
	var hooks []events.Hook
	for _, h := range slices.Concat(d.env.Hooks, d.env.Settings.Hooks) {
		same := func(o events.Hook) bool { return o.Name == h.Name }
		if h.When == when && !slices.ContainsFunc(hooks, same) {
			hooks = append(hooks, h)
		}
	}
	if len(hooks) == 0 {
		return false
	}
	full := when == events.HookAfter && len(d.c.Hooks) >= maxHooks
	d.emit(&events.HooksRequested{Turn: turn, When: when, Hooks: hooks})
	for _, h := range hooks {
		if full {
			d.emit(&events.HookAnswered{Turn: turn, When: when, Hook: h.Name,
				Error: fmt.Sprintf("the hook was not called: %d hooks of the conversation have not answered yet", maxHooks)})
		}
	}
	return true
}

// recordHookAnswers adds the answers of hooks to the log, each once.
func (d *decision) recordHookAnswers(when events.HookTime) {
	for _, a := range d.env.HookAnswers {
		if a.When == when && d.pending(a) != nil {
			d.emit(a)
		}
	}
}

// pending returns the request that an answer is for; nil when the
// conversation does not wait for it.
func (d *decision) pending(a *events.HookAnswered) *events.PendingHook {
	i := slices.IndexFunc(d.c.Hooks, func(h events.PendingHook) bool { return h.Turn == a.Turn && h.When == a.When && h.Name == a.Hook })
	if i < 0 {
		return nil
	}
	return &d.c.Hooks[i]
}

// prepared evaluates the answers of the hooks before a turn. It reports
// whether there may be more to decide.
func (d *decision) prepared() bool {
	for _, a := range d.env.HookAnswers {
		h := d.pending(a)
		if h == nil || a.When != events.HookBefore || a.Turn != d.c.Turn {
			continue
		}
		optional := h.Optional
		d.emit(a)
		switch {
		case a.Refuse != "":
			d.end(events.OutcomeFailed, "refused_by_hook", &events.Error{Class: events.ErrContentFilter, Message: fmt.Sprintf("the hook %s refused the turn: %s", a.Hook, a.Refuse)})
			return true
		case a.Error != "" && !optional:
			d.end(events.OutcomeFailed, "hook_failed", &events.Error{Class: events.ErrInternal,
				Message: fmt.Sprintf("the hook %s gave no answer: %s: start its app, or make the hook optional", a.Hook, a.Error)})
			return true
		}
	}
	if slices.ContainsFunc(d.c.Hooks, func(h events.PendingHook) bool { return h.Turn == d.c.Turn && h.When == events.HookBefore }) {
		return false
	}
	return d.step()
}
