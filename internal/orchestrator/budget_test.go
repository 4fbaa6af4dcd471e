package orchestrator

import (
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// failing plays a step whose every answer fails in the same way. It returns the waits
// that the decisions ask for before each further request.
func failing(s *scene, failure *events.Error) (waits []time.Duration) {
	s.say("hello")
	for s.state.Generation != "" {
		all := s.begin("")
		end := &events.GenerationEnded{Generation: s.state.Generation, Finish: events.FinishError, Error: failure, Requests: s.requests}
		end.Stamp(all[0].(*events.GenerationStarted).Attempt, 1)
		s.now = s.now.Add(time.Second)
		s.write(events.ChannelGen, "", append(all, end)...)
		for _, r := range only[*events.GenerationRequested](s.decide()) {
			wait := time.UnixMilli(r.NotBefore).Sub(s.now)
			waits = append(waits, wait)
			s.now = s.now.Add(wait)
		}
		s.restart()
	}
	return waits
}

// TestAFailedStepHasOneBudget counts the requests of a step that fails with every
// class, with and without a Retry-After. The worker calls the provider once for each
// (worker.TestAProviderThatFailsEndsItsGeneration), so that these are all there are.
func TestAFailedStepHasOneBudget(t *testing.T) {
	requests := map[events.ErrorClass]int{events.ErrRateLimited: 4, events.ErrOverloaded: 4, events.ErrNetwork: 4, events.ErrCut: 3, events.ErrIdle: 2,
		events.ErrAuth: 1, events.ErrInvalidRequest: 1, events.ErrContextLength: 1, events.ErrContentFilter: 1, events.ErrUnsupported: 1,
		events.ErrInternal: 1, events.ErrCeiling: 1, events.ErrCancelled: 1}
	for class, want := range requests {
		for _, asked := range []time.Duration{0, time.Millisecond, 20 * time.Second} {
			t.Run(string(class)+"/"+asked.String(), func(t *testing.T) {
				s := newScene(t)
				waits := failing(s, &events.Error{Class: class, Message: "no", RetryAfterMS: asked.Milliseconds()})
				t.Logf("%-16s %d requests, waits %v", class, len(waits)+1, waits)
				if len(waits)+1 != want || want > maxRequests {
					t.Errorf("%d requests, want %d", len(waits)+1, want)
				}
				if want > 1 && !budgetCovers(class) {
					t.Errorf("the class %s is retried and not retryable", class)
				}
				var sum time.Duration
				for i, w := range waits {
					sum += w
					if w < asked {
						t.Errorf("wait %d is %v, the provider asked for %v", i, w, asked)
					}
					if asked < time.Second && i > 0 && w <= waits[i-1] {
						t.Errorf("the waits %v do not grow", waits)
					}
				}
				if class == events.ErrRateLimited && asked == 0 && sum <= time.Minute {
					t.Errorf("a rate per minute is waited for only %v", sum)
				}
			})
		}
	}
}

// TestRequestsThatWereRefusedCount: a worker that asks again with less of the history
// uses up the same budget.
func TestRequestsThatWereRefusedCount(t *testing.T) {
	for _, c := range []struct {
		class         events.ErrorClass
		refused, want int // per attempt; attempts
	}{
		{events.ErrRateLimited, 1, 2}, {events.ErrRateLimited, 2, 2}, {events.ErrRateLimited, 3, 1}, {events.ErrRateLimited, 1 << 40, 1},
		{events.ErrIdle, 1, 2}, {events.ErrCut, 1, 2}, {events.ErrNetwork, -5, 4},
	} {
		s := newScene(t)
		s.requests = c.refused + 1
		if attempts := len(failing(s, &events.Error{Class: c.class, Message: "no"})) + 1; attempts != c.want {
			t.Errorf("%s after %d refused requests each: %d attempts, want %d", c.class, c.refused, attempts, c.want)
		}
	}
}

// TestRequestsThatWereRefusedBeforeDoNotShortenAClass: neither do those of an earlier
// attempt of the step.
func TestRequestsThatWereRefusedBeforeDoNotShortenAClass(t *testing.T) {
	for _, c := range []struct {
		class events.ErrorClass
		waits []time.Duration // the shortest ones
	}{
		{events.ErrCut, []time.Duration{500 * time.Millisecond, 2 * time.Second}},
		{events.ErrOverloaded, []time.Duration{time.Second, 4 * time.Second}},
	} {
		s := newScene(t)
		s.say("hello")
		s.requests = 2
		for i := 0; s.state.Generation != ""; i++ {
			es := s.refuses(&events.Error{Class: c.class, Message: "no"}, 0)
			s.requests = 1
			requested := only[*events.GenerationRequested](es)
			if i >= len(c.waits) {
				if len(requested) > 0 {
					t.Errorf("%s: a fifth request", c.class)
				}
				break
			}
			if len(requested) == 0 {
				t.Errorf("%s: the turn ended after %d failures, want %d", c.class, i+1, len(c.waits)+1)
				break
			}
			if wait := time.UnixMilli(requested[0].NotBefore).Sub(s.now); wait < c.waits[i] || wait > c.waits[i]*5/4+time.Millisecond {
				t.Errorf("%s: wait %d is %v, want %v and up to a quarter more", c.class, i+1, wait, c.waits[i])
			}
			s.now = time.UnixMilli(requested[0].NotBefore)
		}
	}
}

func budgetCovers(class events.ErrorClass) bool { return (&events.Error{Class: class}).Retryable() }

// TestWaitsAreSpread: conversations that fail together do not return together.
func TestWaitsAreSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for i := range 20 {
		s := newScene(t)
		s.ids = 1000 * i // other ids of inputs
		for _, w := range failing(s, &events.Error{Class: events.ErrOverloaded, Message: "busy"})[:1] {
			seen[w] = true
		}
	}
	if len(seen) < 10 {
		t.Errorf("20 conversations wait for only %d different times", len(seen))
	}
}
