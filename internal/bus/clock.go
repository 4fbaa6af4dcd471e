package bus

import (
	"sync"
	"time"
)

// skewLeast is what two clocks may differ by before it matters, besides the time
// that the measurement took.
const skewLeast = 100 * time.Millisecond

// Now is the time by the server's clock. Deadlines and timers are kept by it: they
// outlive the process that set them, and the next owner may run on a machine whose
// clock differs.
func (b *Bus) Now() time.Time { return b.clock.now() }

// clock estimates the server's time: what the server said last, plus the time that has
// passed since by the monotonic clock. The wall clock of this machine may be set at
// any moment, and a deadline that is made in that moment would be wrong by as much.
type clock struct {
	started time.Time                           // has a monotonic reading
	elapsed func(since time.Time) time.Duration // of the monotonic clock; time.Since but in tests

	mu     sync.Mutex
	server time.Time     // the server's time
	at     time.Duration // after started
}

func newClock() *clock {
	now := time.Now()
	return &clock{started: now, elapsed: time.Since, server: now}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// read is now; c.mu is held.
func (c *clock) read() time.Time { return c.server.Add(c.elapsed(c.started) - c.at) }

// ask returns the moment at which the server is asked for its time, for [clock.measure].
func (c *clock) ask() time.Duration { return c.elapsed(c.started) }

// measure takes over the server's time from an answer to a request that was made at
// asked. A difference that the time of the request explains changes nothing, so that
// the time does not jump with each answer.
func (c *clock) measure(server time.Time, asked time.Duration) {
	if server.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	took := c.elapsed(c.started) - asked
	half := asked + took/2
	if server.Sub(c.server.Add(half-c.at)).Abs() >= max(took, skewLeast) {
		c.server, c.at = server, half
	}
}

// stored takes over the time at which the server stored a message, if it is later than
// what was known: a machine that slept has a monotonic clock that stood still.
func (c *clock) stored(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.read()) {
		c.server, c.at = at, c.elapsed(c.started)
	}
}
