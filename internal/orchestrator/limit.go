package orchestrator

import (
	"encoding/json"
	"fmt"
	"math"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// Names of limits in TurnEnded and Paused.
const (
	limitSteps   = "max_steps"
	limitTokens  = "max_tokens"
	limitCost    = "max_cost"
	limitTime    = "max_time"
	limitCalls   = "max_calls"
	limitRepeats = "repeated_call"
)

// DefaultLimits apply to a turn where neither Settings nor the deployment
// set a limit.
func DefaultLimits() events.Limits {
	return events.Limits{Steps: 25, TimeMS: (15 * time.Minute).Milliseconds(), Repeats: 5, Parallel: 8}
}

// portion returns how many times a limit counts: once, plus once for each
// extension by a person.
func portion(s *events.State, limit string) int64 { return int64(1 + s.Extended[limit]) }

// hardStop returns when a turn is stopped in the middle of a step, in Unix
// milliseconds; 0 when it is not. With on_limit ask, the current step may
// take as long again, so that it reaches the point at which a person can be
// asked.
func hardStop(s *events.State, l events.Limits) int64 {
	if s.Turn == "" || s.Phase == events.PhasePaused || l.TimeMS <= 0 {
		return 0
	}
	n := portion(s, limitTime)
	if l.OnLimit == events.LimitAsk {
		n *= 2
	}
	if l.TimeMS > math.MaxInt64/4/n {
		return 0
	}
	return s.StartedMS + s.WaitedMS + n*l.TimeMS
}

// shorter returns the shorter of two times; 0 or less means unbounded.
func shorter(a, b int64) int64 {
	if a <= 0 || b <= 0 {
		return max(a, b, 0)
	}
	return min(a, b)
}

// outOfTime reports whether the turn must be stopped in the middle of a
// step.
func (d *decision) outOfTime() bool {
	stop := hardStop(&d.c.State, d.env.limits())
	return stop > 0 && d.now.UnixMilli() >= stop
}

// late reports whether the turn has used up its time: nothing more is
// started.
func (d *decision) late() bool {
	return d.c.Turn != "" && d.passed(limitTime, portion(&d.c.State, limitTime), nil)
}

// passed reports whether the turn has reached n portions of a limit; next
// are the calls that are to run.
func (d *decision) passed(limit string, n int64, next []events.Part) bool {
	l, s := d.env.limits(), &d.c.State
	switch limit {
	case limitSteps:
		return l.Steps > 0 && int64(s.Step)/n >= int64(l.Steps)
	case limitTokens:
		return l.Tokens > 0 && d.tokens()/n >= l.Tokens
	case limitCost:
		_, spent := d.spent()
		cost, _ := d.env.Prices.Cost(spent)
		return l.CostUSD > 0 && cost >= l.CostUSD*float64(n)
	case limitTime:
		return l.TimeMS > 0 && (d.now.UnixMilli()-s.StartedMS-s.WaitedMS)/n >= l.TimeMS
	case limitRepeats:
		calls := d.calls()
		return l.Repeats > 0 && int64(len(calls))/n >= int64(l.Repeats) && int64(d.repeats(calls))/n >= int64(l.Repeats)
	case limitCalls:
		return d.tooMany(l.Calls, n, next)
	}
	return false
}

// limit decides which limit prevents the next generation; empty when none
// does.
func (d *decision) limit() string {
	for _, limit := range []string{limitSteps, limitTokens, limitCost, limitTime, limitRepeats} {
		if d.passed(limit, portion(&d.c.State, limit), nil) {
			return limit
		}
	}
	return ""
}

// limitOf decides which limit prevents calls from running; empty when none
// does.
func (d *decision) limitOf(calls []events.Part) string {
	switch {
	case d.late():
		return limitTime
	case d.passed(limitCalls, portion(&d.c.State, limitCalls), calls):
		return limitCalls
	}
	return ""
}

// maxPortions bounds how far one approval extends a limit.
const maxPortions = 10_000

// portions returns how many portions one approval extends a limit by: enough
// for the turn to continue.
func (d *decision) portions(limit string) int {
	held, now := d.held(), portion(&d.c.State, limit)
	return 1 + sort.Search(maxPortions-1, func(n int) bool { return !d.passed(limit, now+int64(n)+1, held) })
}

// tooMany reports whether the turn, with these calls, has more calls of a
// tool than n portions allow.
func (d *decision) tooMany(limits map[string]int, n int64, calls []events.Part) bool {
	if len(limits) == 0 {
		return false
	}
	made, asked := map[string]int64{}, map[string]bool{}
	for _, c := range d.calls() {
		if c.Status != events.StatusInvalidArguments && c.Status != events.StatusUnknownTool {
			made[c.Tool]++
		}
	}
	for _, p := range calls {
		asked[p.Name] = true
	}
	for pattern, most := range limits {
		fits := func(tool string) bool { ok, err := path.Match(pattern, tool); return ok && err == nil }
		var sum int64
		for tool, n := range made {
			if fits(tool) {
				sum += n
			}
		}
		is := false
		for tool := range asked {
			is = is || fits(tool)
		}
		if is && most >= 0 && sum > int64(most)*n {
			return true
		}
	}
	return false
}

// calls returns the calls of the turn, including those of this decision.
func (d *decision) calls() []accumulator.Called {
	all := d.transcript.Calls(d.c.Turn)
	for i, c := range all {
		if now, ok := d.changed[c.Call]; ok {
			all[i] = now
		}
	}
	for _, e := range d.out {
		m, ok := e.(*events.AssistantMessage)
		if !ok {
			continue
		}
		for _, p := range m.Message.Parts {
			if p.Kind == events.PartCall {
				all = append(all, d.changed[p.Call])
			}
		}
	}
	return all
}

// called returns a call of the conversation, including the changes of this
// decision.
func (d *decision) called(id string) (accumulator.Called, bool) {
	if c, ok := d.changed[id]; ok {
		return c, true
	}
	return d.transcript.Call(id)
}

// note records what an event of this decision changes in calls.
func (d *decision) note(e events.Event) {
	ended := func(call string, status events.Status, content string) {
		if c, ok := d.called(call); ok {
			c.Status, c.Content = status, content
			d.change(c)
		}
	}
	switch e := e.(type) {
	case *events.AssistantMessage:
		for _, p := range e.Message.Parts {
			if p.Kind == events.PartCall {
				d.change(accumulator.Called{Turn: e.Turn, Step: e.Step, Call: p.Call, Tool: p.Name, Arguments: p.Arguments})
			}
		}
	case *events.ToolCallRefused:
		ended(e.Call, e.Status, e.Content)
	case *events.ToolCallAnswered:
		ended(e.Call, events.StatusOK, e.Content)
	}
}

func (d *decision) change(c accumulator.Called) {
	if d.changed == nil {
		d.changed = map[string]accumulator.Called{}
	}
	d.changed[c.Call] = c
}

// repeats returns in how many rounds of the turn the same call had the same
// result. A call whose result changes is a poll, not a loop.
func (d *decision) repeats(calls []accumulator.Called) int {
	rounds, last, most := map[accumulator.Round]int{}, map[accumulator.Round]int{}, 0
	for _, c := range calls {
		r := d.transcript.Round(c)
		if last[r] != c.Step { // twice in one answer counts as one round
			rounds[r]++
		}
		last[r] = c.Step
		most = max(most, rounds[r])
	}
	return most
}

// atLimit ends the turn at a limit, or asks a person whether it may
// continue. It reports whether there is more to decide.
func (d *decision) atLimit(limit string) bool {
	if d.env.limits().OnLimit != events.LimitAsk {
		status, why := events.StatusRefused, fmt.Sprintf("the turn reached its limit (%s) before the call could run", limit)
		if limit == limitTime {
			status, why = events.StatusTimeout, "the turn ran out of time before the call had a result"
		}
		d.stop(events.OutcomeLimit, limit, status, why, nil)
		return true
	}
	q := &events.Question{ID: d.seed.id(d.now, "question "+limit), Limit: limit, DeadlineMS: d.deadline(0)}
	q.Digest = events.Digest(string(q.Arguments()))
	d.pause([]events.Awaited{q.Awaited()}, 0)
	return false
}

// unpriced returns an error when a cost limit cannot be enforced because a
// model, or one of a pool's, has no price.
func (d *decision) unpriced(route string) *events.Error {
	if d.env.limits().CostUSD <= 0 {
		return nil
	}
	_, missing := d.env.Prices.Cost(d.c.Spent)
	for _, model := range d.env.models(route) {
		if strings.Contains(model, "/") && !d.env.Prices.Knows(model) && !slices.Contains(missing, model) {
			missing = append(missing, model)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	names, _ := json.Marshal(missing) // strings always encode
	return &events.Error{Class: events.ErrInvalidRequest,
		Message: fmt.Sprintf("the turn has a cost limit and there is no price for %s: add it to the prices of the deployment, or remove the limit", names)}
}
