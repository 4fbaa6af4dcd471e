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

// attempt is one worker's try at a job, as the job's lane has it.
type attempt struct {
	id, worker string
	released   bool   // the worker gave the job back
	failure    string // why the attempt failed, where its worker said so
}

// history is the attempts at a job, in order. What is counted is what stands on
// the lane: how often the server delivered the job says nothing about failures,
// because a hand-back is a delivery too.
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

// failures counts the attempts that failed and those whose worker died. One that
// its worker gave back because it was told to stop did not fail.
func (h history) failures() int {
	n := 0
	for _, a := range h {
		if !a.released || a.failure != "" {
			n++
		}
	}
	return n
}

// claim returns nil when a worker may start an attempt: nobody has started the
// job, or whoever did has given it back, has died, or is the worker itself, which
// is handed only what it does not run. Otherwise its error hands the job back for
// a while. With sure, more proof of the death is asked for.
func claim(ctx context.Context, b *bus.Bus, own string, h history, sure bool) error {
	if len(h) == 0 {
		return nil
	}
	last := h[len(h)-1]
	if last.released || last.worker == "" || last.worker == own {
		return nil
	}
	wait, err := b.UntilGone(ctx, last.worker, sure)
	if err != nil {
		return err
	}
	if wait > 0 {
		return jobs.RetryAfter(fmt.Errorf("worker %s has started this job and may still run it", last.worker), wait+50*time.Millisecond)
	}
	return nil
}

// UniqueName makes a name that no other worker has: a name that is configured, or
// made from host and process, comes again when a container is restarted, and the
// next worker must not be taken for the one that died.
func UniqueName(name string) string {
	return fmt.Sprintf("%.55s-%s", name, strings.ToLower(rand.Text()[:6]))
}

// outlive returns a context that ends so much later than ctx does: what is done
// is written also when the worker is stopped.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if pause(longer, by) == nil {
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

// mostStarts is how often a worker tries to start on a lane that others write to.
const mostStarts = 100

// beforeNextStart waits before another try to start on a lane that has moved: not at
// all the first time, for then the attempt before has written its end.
func beforeNextStart(ctx context.Context, tries int) error {
	switch {
	case tries == 1:
		return nil
	case tries > mostStarts:
		return fmt.Errorf("the lane moved %d times before the job could be started", tries)
	}
	return pause(ctx, min(time.Duration(tries)*time.Millisecond, 20*time.Millisecond))
}
