package orchestrator

import (
	"cmp"
	"maps"
	"slices"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// limits returns the limits in effect, without extensions by a person: those of
// Settings, else the deployment's, and never more than the deployment allows.
func (e Env) limits() events.Limits {
	l, d := e.Settings.Limits, e.Limits
	for _, f := range []struct{ own, usual *int64 }{{&l.Tokens, &d.Tokens}, {&l.TimeMS, &d.TimeMS}} {
		if *f.own <= 0 {
			*f.own = *f.usual
		}
	}
	if l.Steps <= 0 {
		l.Steps = d.Steps
	}
	if l.Repeats <= 0 {
		l.Repeats = d.Repeats
	}
	if l.Parallel <= 0 {
		l.Parallel = max(d.Parallel, 1)
	}
	if l.CostUSD <= 0 {
		l.CostUSD = d.CostUSD
	}
	if len(l.Calls) == 0 {
		l.Calls = d.Calls
	}
	l.OnLimit = cmp.Or(l.OnLimit, d.OnLimit, events.LimitEnd)
	return e.bounded(l)
}

// bounded returns limits that exceed none of the deployment's. Settings that were
// accepted before the deployment had them may.
func (e Env) bounded(l events.Limits) events.Limits {
	m, c := e.MaxLimits, e.Ceilings.WithDefaults()
	l.Steps = int(lower(int64(l.Steps), int64(m.Steps), c.TurnSteps))
	l.TimeMS = lower(l.TimeMS, m.TimeMS, c.TurnMS)
	l.Parallel = int(lower(int64(l.Parallel), int64(m.Parallel), c.TurnParallel))
	l.Tokens = lower(l.Tokens, m.Tokens, 0)
	l.Repeats = int(lower(int64(l.Repeats), int64(m.Repeats), 0))
	if m.CostUSD > 0 && (l.CostUSD <= 0 || l.CostUSD > m.CostUSD) {
		l.CostUSD = m.CostUSD
	}
	if len(m.Calls) > 0 {
		// Both apply: a pattern of the one may match what the other does not.
		own := l.Calls
		l.Calls = maps.Clone(m.Calls)
		for pattern, n := range own {
			if most, both := l.Calls[pattern]; !both || n < most {
				l.Calls[pattern] = n
			}
		}
	}
	if m.OnLimit == events.LimitEnd {
		l.OnLimit = events.LimitEnd
	}
	return l
}

// lower returns the lowest of bounds; 0 or less is no bound.
func lower(all ...int64) int64 {
	var least int64
	for _, n := range all {
		if n > 0 && (least <= 0 || n < least) {
			least = n
		}
	}
	return least
}

// checkLimits reports which limit of Settings exceeds the deployment's.
func (e Env) checkLimits(l events.Limits) error {
	m, c := e.MaxLimits, e.Ceilings
	for _, x := range []struct {
		code, name string
		own, most  int64
	}{
		{ceilings.CodeTurnSteps, "steps", int64(l.Steps), lower(int64(m.Steps), c.TurnSteps)},
		{ceilings.CodeTurnMS, "time_ms", l.TimeMS, lower(m.TimeMS, c.TurnMS)},
		{ceilings.CodeTurnParallel, "parallel", int64(l.Parallel), lower(int64(m.Parallel), c.TurnParallel)},
		{ceilings.CodeLimitTokens, "tokens", l.Tokens, m.Tokens},
		{ceilings.CodeLimitRepeats, "repeats", int64(l.Repeats), int64(m.Repeats)},
	} {
		if x.most > 0 && x.own > x.most {
			return ceilings.Errorf(x.code, "limits.%s is %d, the deployment allows at most %d", x.name, x.own, x.most)
		}
	}
	if m.CostUSD > 0 && l.CostUSD > m.CostUSD {
		return ceilings.Errorf(ceilings.CodeLimitCost, "limits.cost_usd is %v, the deployment allows at most %v", l.CostUSD, m.CostUSD)
	}
	for _, pattern := range slices.Sorted(maps.Keys(l.Calls)) {
		if most, both := m.Calls[pattern]; both && l.Calls[pattern] > most {
			return ceilings.Errorf(ceilings.CodeLimitCalls, "limits.calls of %q is %d, the deployment allows at most %d", pattern, l.Calls[pattern], most)
		}
	}
	if l.OnLimit == events.LimitAsk && m.OnLimit == events.LimitEnd {
		return ceilings.Errorf(ceilings.CodeOnLimit, "limits.on_limit is ask, the deployment ends turns at a limit")
	}
	return nil
}
