// Package jobs runs what waits in the work queues of JOBS: a Watermill
// publisher and subscriber over JetStream, and a pool of workers on top of
// Watermill's router.
//
// A topic is the name of a queue ([topology.Queue], its durable consumer), and a
// message's UUID is the id of the generation or call that the job is for.
//
// Delivery is at least once and in no order: subscribers of a topic share its
// messages, a message without an Ack is delivered again, and one that is
// delivered again while this process works on it does not run twice. What two
// workers may not both do is fenced by the job's lane, not by the queue.
package jobs

import (
	"context"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Job is a piece of work from a queue.
type Job struct {
	Event    events.Event // a GenerationJob or a ToolJob
	Subject  string
	Delivery int // how often it was delivered, from 1; hand-backs count, so it is not the number of failures
}

// Handler runs a job. Its error decides how the job ends: nil
// acknowledges it, [RetryAfter] hands it back for later, [Reject] makes a dead
// letter of it, any other error hands it back for a second. ctx ends when the
// worker must stop.
type Handler func(ctx context.Context, job Job) error

// retryError hands a job back.
type retryError struct {
	err   error
	after time.Duration
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// RetryAfter marks an error after which the job is delivered again, not sooner
// than after.
func RetryAfter(err error, after time.Duration) error { return &retryError{err, after} }

// rejectError makes a dead letter of a job.
type rejectError struct{ err error }

func (e *rejectError) Error() string { return e.err.Error() }
func (e *rejectError) Unwrap() error { return e.err }

// Reject marks an error that no further try gets past.
func Reject(err error) error { return &rejectError{err} }
