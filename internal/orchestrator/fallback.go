package orchestrator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// passesOn returns how many requests of a step may fail before a failure in this way no
// longer passes on to another model of the pool; 0 when the others would fail in the same
// way, or when the failure is an answer: a filter's, a ceiling's, a cancel's.
func passesOn(class events.ErrorClass) int {
	switch class {
	case events.ErrCut, events.ErrIdle:
		return budgetOf(class).requests // each may be billed, or has taken minutes
	case events.ErrRateLimited, events.ErrOverloaded, events.ErrNetwork, events.ErrAuth, events.ErrInvalidRequest, events.ErrUnsupported,
		events.ErrContextLength, events.ErrInternal:
		return maxRequests
	}
	return 0
}

// fallBack asks another model of the pool after a failure, and reports whether it did:
// one that has not failed in this step at once, else the one that may be asked again
// first. failed is the number of the step's requests that failed, used adds those that
// were refused and repeated within an attempt; window is what the refusal says of the
// model's.
func (d *decision) fallBack(err *events.Error, window int64, failed, used int) bool {
	name := d.target(false)
	pool := d.env.Pools.Find(name)
	if pool == nil || failed >= passesOn(err.Class) || used >= maxRequests || d.late() || d.spentLimit() != "" {
		return false
	}
	this := d.failedModel(err, failed)
	all := events.WithFailed(d.c.Failed, this)
	var rest policy.Pool
	for _, m := range pool {
		if !slices.ContainsFunc(all, func(f events.FailedModel) bool { return f.Route == m.Model }) && d.unfit(m) == "" && !d.noWider(m, err, window) {
			rest = append(rest, m)
		}
	}
	reason := fmt.Sprintf("%s by %s", err.Class, d.c.Route)
	if len(rest) > 0 {
		d.c.Failed = all // of the draft: the event says the same
		next := d.pick(name, rest)
		next.reason = reason + ": " + next.reason
		d.requestGeneration(next, d.c.Step, used+1, 0, &this)
		return true
	}
	if err.Class == events.ErrContextLength {
		return false // the history can be shortened
	}
	again, is := d.soonest(pool, all)
	if !is {
		return false
	}
	wait := max(time.UnixMilli(again.UntilMS).Sub(d.now), 0)
	if left, bounded := d.timeLeft(); bounded && wait >= left {
		d.fail(d.allFailed(tooLate(err, left)))
		return true
	}
	d.c.Failed = all
	m, _ := pool.Member(again.Route) // soonest found it there
	next := choice{route: again.Route, pool: name, reason: reason + ": all have failed, it may be asked again first", window: d.windowOf(m)}
	d.requestGeneration(next, d.c.Step, used+1, wait, &this)
	return true
}

// failedModel describes the failure of the model that was asked, the step's failure of
// that number, and until when the step leaves the model alone.
func (d *decision) failedModel(err *events.Error, failed int) events.FailedModel {
	f := events.FailedModel{Route: d.c.Route, Class: err.Class}
	if budgetOf(err.Class).requests > 0 {
		f.UntilMS = d.now.Add(d.waitAfter(err, failed)).UnixMilli()
	}
	return f
}

// noWider reports whether a model is known to refuse a history that was refused for its
// length.
func (d *decision) noWider(m policy.Member, err *events.Error, refused int64) bool {
	if err.Class != events.ErrContextLength {
		return false
	}
	at := cmp.Or(refused, d.c.Window)
	if asked, is := d.env.Pools.Find(d.c.Pool).Member(d.c.Route); at == 0 && is {
		at = d.windowOf(asked)
	}
	window := d.windowOf(m)
	return window > 0 && window <= max(at, d.transcript.Estimate())
}

// soonest returns the model of a pool that failed and may be asked again first.
func (d *decision) soonest(pool policy.Pool, failed []events.FailedModel) (best events.FailedModel, is bool) {
	for _, m := range pool {
		for _, f := range failed {
			if f.Route == m.Model && f.UntilMS > 0 && (!is || f.UntilMS < best.UntilMS) {
				best, is = f, true
			}
		}
	}
	return best, is
}

// allFailed returns the error of a turn for which several models of a pool failed.
func (d *decision) allFailed(err *events.Error) *events.Error {
	var others []string
	for _, f := range d.c.Failed {
		if f.Route != d.c.Route {
			others = append(others, fmt.Sprintf("%s (%s)", f.Route, f.Class))
		}
	}
	if len(others) == 0 {
		return err
	}
	e := *err
	e.Message = fmt.Sprintf("%s; this was %s, and before it there failed %s", cmp.Or(e.Message, string(e.Class)), d.c.Route, strings.Join(others, ", "))
	return &e
}
