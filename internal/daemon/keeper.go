package daemon

import (
	"context"

	"github.com/parleybus/parley/internal/bus"
)

// Keeper is the part of every process that watches the deployment's streams: the
// process is ready while nothing is missing. Where the process may set up, it
// makes again what is missing. health may be nil.
func Keeper(health *Health) Role {
	return Role{Name: "keeper", Start: func(_ context.Context, b *bus.Bus) (func(context.Context) error, error) {
		k := b.Deployment().NewKeeper()
		if health != nil {
			health.Require(k.Problem)
		}
		return k.Run, nil
	}}
}
