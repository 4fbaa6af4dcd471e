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
	m := e.most(e.Ceilings.WithDefaults())
	l.Steps, l.Parallel, l.Repeats = lower(l.Steps, m.Steps), lower(l.Parallel, m.Parallel), lower(l.Repeats, m.Repeats)
	l.TimeMS, l.Tokens = lower(l.TimeMS, m.TimeMS), lower(l.Tokens, m.Tokens)
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

// most returns the highest limits that a conversation may have: those that the
// deployment sets, and its ceilings.
func (e Env) most(c ceilings.Ceilings) events.Limits {
	m := e.MaxLimits
	m.Steps, m.Parallel = lower(m.Steps, int(c.TurnSteps)), lower(m.Parallel, int(c.TurnParallel))
	m.TimeMS = lower(m.TimeMS, c.TurnMS)
	return m
}

// lower returns the lower of two bounds; 0 or less is no bound.
func lower[N int | int64](a, b N) N {
	a, b = max(a, 0), max(b, 0)
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// checkLimits reports which limit of Settings exceeds the deployment's.
func (e Env) checkLimits(l events.Limits) error {
	m := e.most(e.Ceilings)
	for _, x := range []struct {
		code, name string
		own, most  int64
	}{
		{ceilings.CodeTurnSteps, "steps", int64(l.Steps), int64(m.Steps)},
		{ceilings.CodeTurnMS, "time_ms", l.TimeMS, m.TimeMS},
		{ceilings.CodeTurnParallel, "parallel", int64(l.Parallel), int64(m.Parallel)},
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
