package daemon

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
)

// Role is a service that is ready to run on a bus.
type Role struct {
	Name string
	// Start announces the service and returns the function that runs it.
	Start func(ctx context.Context, b *bus.Bus) (run func(ctx context.Context) error, err error)
}

// RunRoles starts roles in order and runs them until ctx ends or one fails. It
// calls started when all have started; started may be nil.
func RunRoles(ctx context.Context, b *bus.Bus, roles []Role, started func()) error {
	g, run := errgroup.WithContext(ctx)
	for _, r := range roles {
		service, err := r.Start(run, b)
		if err != nil {
			err = fmt.Errorf("%s: %w", r.Name, err)
			g.Go(func() error { return err })
			break
		}
		g.Go(func() error {
			if err := service(run); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			if ctx.Err() == nil {
				return run.Err() // another role failed
			}
			return nil
		})
	}
	if started != nil && run.Err() == nil {
		started()
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
