package worker

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/jobs"
)

// attempt is one worker's attempt at a job, as recorded on the job's lane.
type attempt struct {
	id, worker string
	released   bool   // the worker handed the job back
	failure    string // why the attempt failed; empty when the worker did not report it
}

// history is the attempts at a job, in order. Failures are counted on the lane:
// the number of deliveries includes hand-backs, which are no failures.
type history []attempt

func (h history) see(e events.Event) history {
	switch e := e.(type) {
	case *events.ToolStarted:
		return append(h, attempt{id: e.Attempt, worker: e.Worker})
	case *events.GenerationStarted:
		return append(h, attempt{id: e.Attempt, worker: e.Worker})
	case *events.ToolReleased:
		h.release(e.Attempt, e.Error)
	case *events.GenerationReleased:
		h.release(e.Attempt, e.Error)
	}
	return h
}

func (h history) release(id, failure string) {
	for i := range h {
		if h[i].id == id {
			h[i].released, h[i].failure = true, failure
		}
	}
}

// running reports whether an attempt is the one that started last.
func (h history) running(id string) bool { return len(h) > 0 && h[len(h)-1].id == id }

// failures counts the attempts that failed and those whose worker died. An
// attempt that was handed back because its worker stopped did not fail.
func (h history) failures() int {
	n := 0
	for _, a := range h {
		if !a.released || a.failure != "" {
			n++
		}
	}
	return n
}

// claim returns nil when a worker may start an attempt: no worker has started the
// job, or the last one to start it has handed it back, has died, or is this worker,
// which receives only jobs that it does not run. Otherwise the error hands the job
// back with a delay. With sure, the other worker must have been absent for longer.
func claim(ctx context.Context, b *bus.Bus, own string, h history, sure bool) error {
	if len(h) == 0 {
		return nil
	}
	last := h[len(h)-1]
	if last.released || last.worker == "" || last.worker == own {
		return nil
	}
	wait, err := b.Presence().UntilGone(ctx, last.worker, sure)
	if err != nil {
		return err
	}
	if wait > 0 {
		return jobs.RetryAfter(fmt.Errorf("worker %s has started this job and may still run it", last.worker), wait+50*time.Millisecond)
	}
	return nil
}

// UniqueName returns a name that no other worker has: a configured name, or one
// made from host and process, is used again when a container restarts, and the
// next worker must not be taken for the one that died.
func UniqueName(name string) string {
	return fmt.Sprintf("%.55s-%s", name, strings.ToLower(rand.Text()[:6]))
}

// outlive returns a context that ends a fixed time after ctx, so that a worker
// that stops can still write what it has done.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if sleep(longer, by) == nil {
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

// maxStarts is how often a worker tries to start on a lane that others write to.
const maxStarts = 100

// startBackoff waits before the next try to start on a lane that has moved. The
// first retry follows at once: usually the attempt before has written its end.
func startBackoff(ctx context.Context, tries int) error {
	switch {
	case tries == 1:
		return nil
	case tries > maxStarts:
		return fmt.Errorf("the lane moved %d times before the job could be started", tries)
	}
	return sleep(ctx, min(time.Duration(tries)*time.Millisecond, 20*time.Millisecond))
}
