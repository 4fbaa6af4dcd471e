package orchestrator

import (
	"time"

	"github.com/parleybus/parley/internal/events"
)

// tries is how often the generation of a step is requested before the turn
// fails.
const tries = 4

// retries reports whether the step's generation is requested again after an
// answer that failed.
func (d *decision) retries(err *events.Error) bool {
	return err.Retryable() && d.c.Try < tries && !d.late()
}

// retry requests the step's generation again, after the backoff or the
// longer time that its provider asks for.
func (d *decision) retry(err *events.Error) bool {
	return d.requestGeneration(d.c.Step, d.c.Try+1, max(err.RetryAfter(), backoff(d.c.Try)))
}

// backoff returns the minimum delay before the next try: 0.5, 1, 2 s.
func backoff(try int) time.Duration { return 250 * time.Millisecond << try }
