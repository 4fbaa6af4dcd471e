package bus

import (
	"testing"
	"time"
)

// TestTheServersTimeIgnoresTheWallClock: between measurements only the monotonic clock
// counts. Before, a wall clock that was set in the meantime put deadlines into the
// future by as much, and a deferred call of a second waited for nine minutes (seed 14
// of make chaos).
func TestTheServersTimeIgnoresTheWallClock(t *testing.T) {
	var passed time.Duration
	c := newClock()
	c.elapsed = func(time.Time) time.Duration { return passed }
	server := time.Date(2026, 11, 29, 14, 0, 0, 0, time.UTC) // far from this machine's clock
	want := func(at time.Time) {
		t.Helper()
		if got := c.now(); !got.Equal(at) {
			t.Errorf("now is %s, want %s", got, at)
		}
	}
	asked := c.ask()
	passed = 40 * time.Millisecond
	c.measure(server, asked)
	want(server.Add(20 * time.Millisecond))

	passed += time.Minute
	want(server.Add(time.Minute + 20*time.Millisecond))

	// An answer that differs by less than its request took changes nothing.
	asked = c.ask()
	passed += 500 * time.Millisecond
	before := c.now()
	c.measure(before, asked)
	want(before)

	// The server's clock was set back by an hour.
	asked = c.ask()
	c.measure(server.Add(-time.Hour), asked)
	want(server.Add(-time.Hour))
	c.measure(time.Time{}, asked)
	want(server.Add(-time.Hour))
}

// TestTheServersTimeIsNotBeforeWhatItStored: the monotonic clock of a machine stands
// still while it sleeps.
func TestTheServersTimeIsNotBeforeWhatItStored(t *testing.T) {
	c := newClock()
	c.elapsed = func(time.Time) time.Duration { return 0 }
	morning := c.now().Add(8 * time.Hour)
	c.stored(morning)
	if got := c.now(); !got.Equal(morning) {
		t.Errorf("now is %s, after a message of %s", got, morning)
	}
	c.stored(morning.Add(-time.Hour)) // an older message of the log
	if got := c.now(); !got.Equal(morning) {
		t.Errorf("now is %s, after an older message", got)
	}
}
