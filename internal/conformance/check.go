// Package conformance checks programs that talk to a Parley bus: workers, viewers, apps
// and hooks in any language. A rule starts a bus of its own, runs the program under test
// as a process, plays the rest of a deployment, and reports what the program did wrong.
// The packages below it hold the rules of one role each, by the numbers of the checklists
// in docs.
//
// Everything that a rule starts ends with it. A rule waits for what a program does, never
// longer than its time.
package conformance

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

// Check is one run of a rule. Its methods may be called from any goroutine, but Fatalf
// and those that call it only from the rule's own.
type Check struct {
	ctx     context.Context
	program Program

	mu       sync.Mutex
	problems []string
	output   []*Process
	cleanups []func()
}

// Context ends when the rule has returned, or its time is up.
func (c *Check) Context() context.Context { return c.ctx }

// Errorf reports what the program did wrong, and what was expected. The rule continues.
func (c *Check) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// Fatalf is Errorf, and ends the rule.
func (c *Check) Fatalf(format string, args ...any) {
	c.Errorf(format, args...)
	runtime.Goexit()
}

// Must ends the rule if err is not nil.
func (c *Check) Must(err error) {
	if err != nil {
		c.Fatalf("%v", err)
	}
}

// Cleanup has f called when the rule has ended. The last one added is called first.
func (c *Check) Cleanup(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cleanups = append(c.cleanups, f)
}

// cleanup returns the function to call next; nil when there is none.
func (c *Check) cleanup() func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cleanups) == 0 {
		return nil
	}
	last := c.cleanups[len(c.cleanups)-1]
	c.cleanups = c.cleanups[:len(c.cleanups)-1]
	return last
}

// Failed reports whether the program did something wrong so far.
func (c *Check) Failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.problems) > 0
}

// TempDir returns a new directory, which is removed when the rule has ended.
func (c *Check) TempDir() string {
	dir, err := os.MkdirTemp("", "parley-conformance-")
	c.Must(err)
	c.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			c.Errorf("remove the rule's directory: %v", err)
		}
	})
	return dir
}

// Within bounds one step of the rule.
func (c *Check) Within(d time.Duration) context.Context {
	ctx, stop := context.WithTimeout(c.ctx, d)
	c.Cleanup(stop)
	return ctx
}

// Eventually polls until a condition holds that the server does not announce. what says
// what is expected.
func (c *Check) Eventually(d time.Duration, what string, is func() bool) {
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			c.Fatalf("the rule's time is up, expected: %s", what)
		case <-end.C:
			c.Fatalf("not within %v: %s", d, what)
		}
	}
}

// Never fails if something happens within a time. what says what happened.
func (c *Check) Never(d time.Duration, what string, happened func() bool) {
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if happened() {
			c.Fatalf("%s", what)
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		case <-end.C:
			return
		}
	}
}
