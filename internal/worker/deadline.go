package worker

import (
	"context"
	"errors"
	"sync"
	"time"
)

// deadline bounds how long a tool runs. It is paused while the tool waits for a
// person, who may take days.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	left    time.Duration
	since   time.Time
	prompts int // open questions
}

// bounded returns a context that ends when a tool has run for too long, and the
// deadline that ends it. The caller calls stop.
func bounded(ctx context.Context, most time.Duration) (context.Context, *deadline, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	d := &deadline{left: most, since: time.Now()}
	d.timer = time.AfterFunc(most, func() { cancel(context.DeadlineExceeded) })
	return timed{ctx}, d, func() { d.timer.Stop(); cancel(nil) }
}

// pause stops the clock until the returned function is called.
func (d *deadline) pause() (resume func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.prompts++; d.prompts == 1 && d.timer.Stop() {
		d.left -= time.Since(d.since)
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.prompts--; d.prompts == 0 {
			d.since = time.Now()
			d.timer.Reset(max(d.left, time.Millisecond))
		}
	}
}

// timed reports [context.DeadlineExceeded] as a context with a deadline does.
type timed struct{ context.Context }

// Err implements [context.Context].
func (t timed) Err() error {
	err := t.Context.Err()
	if err != nil && errors.Is(context.Cause(t.Context), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}
