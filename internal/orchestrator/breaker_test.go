package orchestrator

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// TestABreaker plays the ends of requests to a model, two seconds apart, and shows for
// how long its breaker is open after the last; 0 when it is closed.
func TestABreaker(t *testing.T) {
	failed := func(class events.ErrorClass) *events.Error { return &events.Error{Class: class, Message: "no"} }
	busy, limited := failed(events.ErrOverloaded), failed(events.ErrRateLimited)
	asks := func(d time.Duration) *events.Error {
		return &events.Error{Class: events.ErrRateLimited, RetryAfterMS: d.Milliseconds()}
	}
	refused := func(status int) *events.Error { return &events.Error{Class: events.ErrAuth, HTTPStatus: status} }
	missing := &events.Error{Class: events.ErrInvalidRequest, HTTPStatus: http.StatusNotFound}
	for _, c := range []struct {
		name          string
		ends          []*events.Error
		open, sibling time.Duration // of the model, and of another one of its provider
	}{
		{"an answer", []*events.Error{nil}, 0, 0},
		{"two failures", []*events.Error{busy, limited}, 0, 0},
		{"three failures", []*events.Error{busy, limited, failed(events.ErrIdle)}, breakFor, 0},
		{"a fourth", []*events.Error{busy, busy, busy, busy}, 2 * breakFor, 0},
		{"many", []*events.Error{busy, busy, busy, busy, busy, busy, busy, busy, busy}, breakForLong, 0},
		{"an answer between", []*events.Error{busy, busy, nil, busy, busy}, 0, 0},
		{"an answer after", []*events.Error{busy, busy, busy, nil}, 0, 0},
		{"the provider asks to wait", []*events.Error{asks(20 * time.Second)}, 20 * time.Second, 0},
		{"the provider asks to wait for a day", []*events.Error{asks(24 * time.Hour)}, breakAtMost, 0},
		{"the key is refused", []*events.Error{refused(http.StatusUnauthorized)}, breakForLong, breakForLong},
		{"the key may not ask the model", []*events.Error{refused(http.StatusForbidden)}, breakForLong, 0},
		{"the model does not exist", []*events.Error{missing}, breakForLong, 0},
		{"the host cannot be reached", []*events.Error{failed(events.ErrNetwork), failed(events.ErrNetwork), failed(events.ErrNetwork)}, breakFor, breakFor},
		{"refusals of requests", []*events.Error{failed(events.ErrInvalidRequest), failed(events.ErrContextLength), failed(events.ErrContentFilter), failed(events.ErrUnsupported)}, 0, 0},
		{"cancels", []*events.Error{failed(events.ErrCancelled), failed(events.ErrCancelled), failed(events.ErrCancelled)}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBreakers(policy.Pools{"fast": {{Model: "a/1"}, {Model: "a/2"}, {Model: "b/1"}}}, slog.New(slog.DiscardHandler))
			now := time.UnixMilli(1000)
			for _, err := range c.ends {
				now = now.Add(2 * time.Second)
				b.requested("a/1", now)
				b.ended("a/1", err, 0, now)
			}
			for route, want := range map[string]time.Duration{"a/1": c.open, "a/2": c.sibling, "b/1": 0} {
				e := b.endpoints()[route]
				if got := max(e.Until.Sub(now), 0); got != want || e.open(now) != (want > 0) || e.open(now.Add(want)) {
					t.Errorf("the breaker of %s is open for %v; want %v", route, got, want)
				}
			}
		})
	}
}

// TestAHalfOpenBreakerLetsOneRequestThrough: the others wait until it has ended, or for
// half a minute.
func TestAHalfOpenBreakerLetsOneRequestThrough(t *testing.T) {
	now := time.UnixMilli(1000)
	begin := func() *breakers {
		b := newBreakers(policy.Pools{"fast": {{Model: "a/1"}}}, slog.New(slog.DiscardHandler))
		b.ended("a/1", &events.Error{Class: events.ErrRateLimited, RetryAfterMS: 1000}, 0, now)
		return b
	}
	open := func(b *breakers, after time.Duration) bool { return b.endpoints()["a/1"].open(now.Add(after)) }
	t.Run("it answers", func(t *testing.T) {
		b := begin()
		if !open(b, 999*time.Millisecond) || open(b, time.Second) {
			t.Error("it is not open for the second that the provider asked for")
		}
		b.requested("a/1", now.Add(2*time.Second))
		if !open(b, 2*time.Second) || open(b, 2*time.Second+probeFor) {
			t.Error("more than one request goes through")
		}
		b.ended("a/1", nil, 128_000, now.Add(3*time.Second))
		if open(b, 3*time.Second) || b.endpoints()["a/1"].Window != 128_000 {
			t.Errorf("it answered and is %+v", b.endpoints())
		}
	})
	t.Run("it fails", func(t *testing.T) {
		b := begin()
		b.requested("a/1", now.Add(2*time.Second))
		b.ended("a/1", &events.Error{Class: events.ErrRateLimited, RetryAfterMS: 60_000}, 0, now.Add(3*time.Second))
		if !open(b, 62*time.Second) || open(b, 63*time.Second) {
			t.Errorf("it failed again and is %+v", b.endpoints())
		}
	})
}

// TestModelsOutsideOfPoolsAreNotRemembered: Settings may name any model.
func TestModelsOutsideOfPoolsAreNotRemembered(t *testing.T) {
	b := newBreakers(policy.Pools{"fast": {{Model: "a/1"}}}, slog.New(slog.DiscardHandler))
	for range 5 {
		b.requested("a/other", time.UnixMilli(1))
		b.ended("a/other", &events.Error{Class: events.ErrAuth}, 0, time.UnixMilli(1))
	}
	if got := b.endpoints(); got != nil {
		t.Errorf("%+v", got)
	}
}
