package orchestrator

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// maxRequests is how often the provider is called for one step at most, whatever
// fails: this is the only place where a request is repeated (ADR 66). Attempts of
// workers that died count, those that a worker handed back do not.
const maxRequests = 4

// retryBudget is what a class of failures may cost.
type retryBudget struct {
	requests int           // of the step, the first included
	first    time.Duration // the shortest wait before the second request
	factor   int           // by which the wait grows
}

// budgetOf returns the budget of a class; the zero value if it is not retried.
//
//   - Providers count rates per minute: without a Retry-After the waits together
//     exceed a minute.
//   - A silent or a cut answer may be billed, and the silence itself has taken
//     minutes: fewer requests.
func budgetOf(class events.ErrorClass) retryBudget {
	switch class {
	case events.ErrRateLimited:
		return retryBudget{requests: maxRequests, first: 5 * time.Second, factor: 3}
	case events.ErrOverloaded:
		return retryBudget{requests: maxRequests, first: time.Second, factor: 4}
	case events.ErrNetwork:
		return retryBudget{requests: maxRequests, first: 500 * time.Millisecond, factor: 4}
	case events.ErrCut:
		return retryBudget{requests: 3, first: 500 * time.Millisecond, factor: 4}
	case events.ErrIdle:
		return retryBudget{requests: 2, first: time.Second, factor: 1}
	}
	return retryBudget{}
}

// backoff returns the shortest wait after so many failed requests of the step.
func (b retryBudget) backoff(failed int) time.Duration {
	wait := b.first
	for range min(failed, maxRequests) - 1 {
		wait *= time.Duration(b.factor)
	}
	return wait
}

// maxJitter is the part of a wait that is added to it at random, so that
// conversations that failed together do not return together.
const maxJitter = 0.25

// retry decides on a failed answer: it requests the step's generation again, of the
// same model or of another one of its pool, or ends the turn with the failure. window
// is what the refusal says of the model's; 0 when it says nothing.
func (d *decision) retry(err *events.Error, window int64) {
	failed := d.c.Try - d.c.Refused + d.c.Open.Lost()
	used := failed + d.refused()
	budget := budgetOf(err.Class)
	if d.fallBack(err, window, failed, used) {
		return
	}
	if err.Class == events.ErrContextLength && used < maxRequests && !d.late() && d.spentLimit() == "" && d.compactRefused(window) {
		d.requestGeneration(d.stay("asked again with a shorter history"), d.c.Step, used+1, 0, nil)
		return
	}
	if failed >= budget.requests || used >= maxRequests || d.late() {
		d.fail(d.allFailed(err))
		return
	}
	if limit := d.spentLimit(); limit != "" {
		d.stop(events.OutcomeLimit, limit, events.StatusRefused, "the answer failed before the call could run", err)
		return
	}
	wait := d.waitAfter(err, failed)
	if left, bounded := d.timeLeft(); bounded && wait >= left {
		d.fail(tooLate(err, left))
		return
	}
	d.requestGeneration(d.stay("asked again"), d.c.Step, used+1, wait, nil)
}

// waitAfter returns how long a model is left alone after a failure, the step's failure
// of that number.
func (d *decision) waitAfter(err *events.Error, failed int) time.Duration {
	if asked := err.RetryAfter(); asked > 0 {
		// The provider knows better than the table; repeated refusals still make
		// the wait grow.
		return d.jitter(max(asked, budgetOf(events.ErrOverloaded).backoff(failed)))
	}
	return d.jitter(budgetOf(err.Class).backoff(failed))
}

// refused returns how many requests of the step the provider refused before the last one
// of their attempt, as the workers say. They are not billed, so that only the budget of
// the step counts them, not that of a class.
func (d *decision) refused() int {
	return d.c.Refused + min(max(d.c.Open.Ended.Requests-1, 0), maxRequests)
}

// tooLate returns the failure of a turn that would end before the next request.
func tooLate(err *events.Error, left time.Duration) *events.Error {
	e := *err
	why := "the turn may last only %s longer, too short for another try: send the message again, or raise the turn's time limit"
	args := []any{left.Round(time.Second)}
	if asked := e.RetryAfter(); asked >= left {
		why = "the provider asks to wait %s, longer than the turn may last (%s more): send the message again after that, or raise the turn's time limit"
		args = []any{asked.Round(time.Second), left.Round(time.Second)}
	}
	e.Message = cmp.Or(e.Message, string(e.Class)) + "; " + fmt.Sprintf(why, args...)
	return &e
}

// timeLeft returns how long the turn may still last, without an extension by a
// person. bounded is false when the turn has no time limit.
func (d *decision) timeLeft() (left time.Duration, bounded bool) {
	limit, n := d.env.limits().TimeMS, portion(&d.c.State, limitTime)
	if limit <= 0 || limit > math.MaxInt64/4/int64(time.Millisecond)/n {
		return 0, false
	}
	end := d.c.StartedMS + d.c.WaitedMS + n*limit
	return time.Duration(end-d.now.UnixMilli()) * time.Millisecond, true
}

// spentLimit returns the limit on tokens or costs that the turn has reached with
// its failed answers; empty when there is none.
func (d *decision) spentLimit() string {
	for _, limit := range []string{limitTokens, limitCost} {
		if d.passed(limit, portion(&d.c.State, limit), nil) {
			return limit
		}
	}
	return ""
}

// jitter returns the wait and up to maxJitter more. The same decision has the same
// jitter: it is a digest like the ids.
func (d *decision) jitter(wait time.Duration) time.Duration {
	sum := sha256.Sum256(append(slices.Clone(d.seed), "jitter"...))
	part := float64(binary.BigEndian.Uint32(sum[:])) / math.MaxUint32
	return wait + time.Duration(maxJitter*part*float64(wait)).Round(time.Millisecond)
}

// requestsLeft returns how often the provider may be called for the step from its
// try on.
func requestsLeft(try int) int { return max(maxRequests-try+1, 1) }
