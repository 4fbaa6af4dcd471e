package daemon

import (
	"context"

	"github.com/parleybus/parley/internal/bus"
)

// Keeper returns a role that watches the deployment's streams, for every
// process: the process is ready while none is missing. A process with setup
// permissions creates missing ones again. health may be nil.
func Keeper(health *Health) Role {
	return Role{Name: "keeper", Start: func(_ context.Context, b *bus.Bus) (func(context.Context) error, error) {
		k := b.Deployment().NewKeeper()
		if health != nil {
			health.Require(k.Problem)
		}
		return k.Run, nil
	}}
}
