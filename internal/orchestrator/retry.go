package orchestrator

import (
	"time"

	"github.com/parleybus/parley/internal/events"
)

// tries is how often a step's model is asked before the turn fails.
const tries = 4

// retries reports whether the step's model is asked again after an answer that
// failed.
func (d *decision) retries(err *events.Error) bool {
	return err.Retryable() && d.c.Try < tries && !d.late()
}

// retry asks the step's model again, after the backoff or the longer time that its
// provider asks for.
func (d *decision) retry(err *events.Error) bool {
	return d.requestGeneration(d.c.Step, d.c.Try+1, max(err.RetryAfter(), backoff(d.c.Try)))
}

// backoff is the least time before the next try: 0.5, 1, 2 s.
func backoff(try int) time.Duration { return 250 * time.Millisecond << try }
