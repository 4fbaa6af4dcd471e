package worker

import (
	"context"
	"errors"
	"sync"
	"time"
)

// deadline bounds how long a tool runs. It stands still while the tool waits for
// a person, who may take days.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	left   time.Duration
	since  time.Time
	people int // questions that are open
}

// bounded is a context that ends when a tool has run for too long, and the
// deadline that ends it; stop must be called.
func bounded(ctx context.Context, most time.Duration) (context.Context, *deadline, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	d := &deadline{left: most, since: time.Now()}
	d.timer = time.AfterFunc(most, func() { cancel(context.DeadlineExceeded) })
	return timed{ctx}, d, func() { d.timer.Stop(); cancel(nil) }
}

// wait lets the deadline stand still until the returned function is called.
func (d *deadline) wait() (goOn func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.people++; d.people == 1 && d.timer.Stop() {
		d.left -= time.Since(d.since)
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.people--; d.people == 0 {
			d.since = time.Now()
			d.timer.Reset(max(d.left, time.Millisecond))
		}
	}
}

// timed says that its deadline has passed, as a context with one does.
type timed struct{ context.Context }

// Err implements [context.Context].
func (t timed) Err() error {
	err := t.Context.Err()
	if err != nil && errors.Is(context.Cause(t.Context), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}
