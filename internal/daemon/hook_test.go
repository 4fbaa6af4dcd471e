package daemon_test

import (
	"context"
	"errors"
	"sync"

	"github.com/parleybus/parley/internal/events"
)

// hook answers a hook on the bus until it is stopped, at the latest with the
// test.
func (d *deployment) hook(when events.HookTime, name string, fn func(context.Context, *events.HookCall) (*events.HookAnswered, error)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.AnswerHooks(ctx, when, name, fn) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			d.t.Errorf("hook %s: %v", name, err)
		}
	})
	d.t.Cleanup(stop)
	return stop
}
