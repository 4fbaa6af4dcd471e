package mcp

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// longestStart bounds a first start, which may download its program.
	longestStart = 10 * time.Minute
	// mostDoubled is how often the default start timeout is doubled.
	mostDoubled = 4
)

// slowError is the cause of a start that took too long.
type slowError struct{ limit time.Duration }

// Error implements error.
func (e *slowError) Error() string { return fmt.Sprintf("it did not answer within %s", e.limit) }

// startTimeout returns a context that ends when the server has not started in
// time. A command that has never run and shows signs of work (it prints, or uses
// the processor) may go on for longestStart: it may download its program. Without
// a configured timeout, every second slow start doubles it: each form of the
// handshake is tried with each timeout. The context is for the start only, and the
// caller cancels it afterwards.
func (s *session) startTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	l := s.link
	limit := l.server.Startup
	if l.server.patient {
		limit <<= min(l.slow/2, mostDoubled)
	}
	first := l.specs == nil && len(l.server.Command) > 0
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		last, left := int64(0), longestStart
		t := time.NewTimer(limit)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-t.C:
			}
			work := s.work.Load().done()
			if left -= limit; !first || work == last || left <= 0 {
				l.slow++
				cancel(&slowError{limit})
				return
			}
			last = work
			t.Reset(limit)
		}
	}()
	return ctx, sync.OnceFunc(func() {
		close(done)
		<-finished
		cancel(nil)
	})
}

// done returns a number that grows while a command works: the lines that it
// printed, and the processor time of its process group where that is known.
func (p *process) done() int64 {
	if p == nil || p.pid.Load() == 0 {
		return 0
	}
	p.words.mu.Lock()
	defer p.words.mu.Unlock()
	return p.words.total + cpuOf(int(p.pid.Load()))
}
