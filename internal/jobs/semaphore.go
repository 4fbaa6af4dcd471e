package jobs

import "context"

// Semaphore bounds how many jobs run at once, also of several pools that share
// it. It is a channel, so that a job that waits for it can be kept alive
// meanwhile.
type Semaphore chan struct{}

// NewSemaphore returns a semaphore for n jobs.
func NewSemaphore(n int) Semaphore { return make(Semaphore, n) }

// free returns how many more jobs may run.
func (s Semaphore) free() int { return cap(s) - len(s) }

// wait blocks until one more job may run, and acquires nothing.
func (s Semaphore) wait(ctx context.Context) error {
	err := s.Acquire(ctx)
	if err == nil {
		s.Release()
	}
	return err
}

// Acquire blocks until one more job may run, or returns the cause of ctx's end.
// The caller then calls [Semaphore.Release].
func (s Semaphore) Acquire(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Release lets another job run.
func (s Semaphore) Release() { <-s }
