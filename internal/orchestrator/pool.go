package orchestrator

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// choice is the model to call. pool and reason are empty when it was not chosen from a
// pool.
type choice struct {
	route, pool, reason string
	window              int64 // tokens that it takes; 0 when unknown
}

// target returns the pool or the model that the turn asks. A turn keeps what it started
// with, unless Settings change it.
func (d *decision) target(first bool) string {
	own := cmp.Or(d.c.Pool, d.c.Route)
	if first {
		return cmp.Or(d.env.Settings.Route, d.env.Route, own)
	}
	if d.c.Pool != "" && d.env.Pools.Find(d.c.Pool) == nil {
		own = d.c.Route // the deployment no longer has the pool
	}
	return cmp.Or(d.env.Settings.Route, own, d.env.Route)
}

// choose returns the model for a request of a step.
func (d *decision) choose(step, try int) choice {
	name := d.target(step == 1 && try == 1)
	pool := d.env.Pools.Find(name)
	switch {
	case pool != nil:
		return d.pick(name, pool)
	case name == d.c.Route:
		return choice{route: name, window: d.c.Window}
	}
	return choice{route: name}
}

// stay returns the model that failed, if what the turn asks has not changed since.
func (d *decision) stay(reason string) choice {
	name := d.target(false)
	pool := d.env.Pools.Find(name)
	m, is := pool.Member(d.c.Route)
	if name != d.c.Pool || !is {
		return d.choose(d.c.Step, d.c.Try+1)
	}
	return choice{route: d.c.Route, pool: name, reason: reason, window: d.windowOf(m)}
}

// pick chooses from models of a pool. It prefers those that a worker serves, that have
// not failed elsewhere just now, and that take the whole history; if there is none, the
// next best, such as the one that may be asked again first. Of these it takes the one that answered before, for the provider's cache
// of the prompt, else one by weight, else the first.
func (d *decision) pick(name string, members policy.Pool) choice {
	var out []string
	keep := func(why func(policy.Member) string) {
		var in policy.Pool
		var left []string
		for _, m := range members {
			if w := why(m); w != "" {
				left = append(left, fmt.Sprintf("%s (%s)", m.Model, w))
				continue
			}
			in = append(in, m)
		}
		if len(in) > 0 {
			members, out = in, append(out, left...)
		}
	}
	keep(d.unfit)
	keep(d.unserved)
	keep(func(m policy.Member) string {
		if e := d.env.Endpoints[m.Model]; e.open(d.now) {
			return string(e.Class)
		}
		return ""
	})
	members = d.firstToOpen(members)
	keep(d.tooNarrow())
	m, reason := d.prefer(name, members)
	if e := d.env.Endpoints[m.Model]; e.open(d.now) {
		reason = fmt.Sprintf("all have failed just now (%s), it may be asked again first", e.Class)
	}
	if len(out) > 0 {
		reason += "; left out: " + strings.Join(out, ", ")
	}
	return choice{route: m.Model, pool: name, reason: reason, window: d.windowOf(m)}
}

// firstToOpen returns, when the breakers of all models are open, those that may be asked
// again first; otherwise all.
func (d *decision) firstToOpen(members policy.Pool) policy.Pool {
	var first policy.Pool
	var until time.Time
	for _, m := range members {
		e := d.env.Endpoints[m.Model]
		switch {
		case !e.open(d.now):
			return members
		case len(first) == 0 || e.Until.Before(until):
			first, until = policy.Pool{m}, e.Until
		case e.Until.Equal(until):
			first = append(first, m)
		}
	}
	return first
}

// unfit returns why a model cannot take the conversation's parameters.
func (d *decision) unfit(m policy.Member) string {
	if d.env.Ceilings.CheckExtra(providerOf(m.Model), d.env.Settings.Parameters.Extra) != nil {
		return "does not take the parameters"
	}
	return ""
}

// unserved returns that no worker serves a model's provider, if that is known.
func (d *decision) unserved(m policy.Member) string {
	if d.env.Providers != nil && !d.env.Providers[providerOf(m.Model)] {
		return "no worker serves it"
	}
	return ""
}

// tooNarrow returns the check of models whose window the history nears.
func (d *decision) tooNarrow() func(policy.Member) string {
	var tokens int64
	return func(m policy.Member) string {
		window := d.windowOf(m)
		if window == 0 {
			return ""
		}
		if tokens == 0 {
			tokens = max(d.estimate(), 1)
		}
		if float64(tokens) > nearWindow*float64(window) {
			return fmt.Sprintf("window of %d tokens", window)
		}
		return ""
	}
}

// windowOf returns the tokens that a model of a pool takes: what a provider or its
// worker said, else what the deployment says; 0 when nobody did.
func (d *decision) windowOf(m policy.Member) int64 {
	if m.Model == d.c.Route && d.c.Window > 0 {
		return d.c.Window
	}
	return cmp.Or(d.env.Endpoints[m.Model].Window, m.Window)
}

// prefer chooses from models that can all answer.
func (d *decision) prefer(name string, members policy.Pool) (policy.Member, string) {
	failed := slices.ContainsFunc(d.c.Failed, func(f events.FailedModel) bool { return f.Route == d.c.Route })
	for _, m := range members {
		switch {
		case d.c.Pool != name || m.Model != d.c.Route || failed:
		case d.c.Step > 0:
			return m, "it answers this turn"
		case m.Weight > 0:
			return m, "it answered last"
		}
	}
	total := 0
	for _, m := range members {
		total += m.Weight
	}
	if total == 0 {
		return members[0], "the first"
	}
	sum := sha256.Sum256(append(slices.Clone(d.seed), "pool"...))
	n := int(binary.BigEndian.Uint64(sum[:]) % uint64(total))
	for _, m := range members {
		if n -= m.Weight; n < 0 {
			return m, fmt.Sprintf("weight %d of %d", m.Weight, total)
		}
	}
	return members[0], "the first"
}

func providerOf(route string) string {
	provider, _, _ := strings.Cut(route, "/")
	return provider
}

// models returns the models that a route may lead to.
func (e *Env) models(route string) []string {
	if pool := e.Pools.Find(route); pool != nil {
		return pool.Models()
	}
	return []string{route}
}

// checkExtra returns why no model of a route takes the extra parameters.
func (e *Env) checkExtra(route string, s *events.Settings) error {
	var first error
	for _, model := range e.models(route) {
		err := e.Ceilings.CheckExtra(providerOf(model), s.Parameters.Extra)
		if err == nil {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}

// noPool returns an error for a route that may be meant as a pool and leads nowhere:
// a job of it would wait for a worker that nobody starts.
func (d *decision) noPool(route string) *events.Error {
	names := d.env.Pools.Names()
	if _, known := d.env.Providers[route]; d.env.Providers == nil || known || strings.Contains(route, "/") || len(names) == 0 && d.c.Pool != route {
		return nil
	}
	pools := "the deployment has no pools"
	if len(names) > 0 {
		pools = "the pools are " + strings.Join(names, ", ")
	}
	return &events.Error{Class: events.ErrInvalidRequest,
		Message: fmt.Sprintf("%q is no pool of models, and no worker serves a provider of that name: %s; set one of them, or provider/model", route, pools)}
}
