// Package wire is what a benchmark measures Parley beside: a bus that programs write
// events to and read them from by hand, without order, fence, decisions or anybody who
// folds.
package wire

import (
	"context"

	"github.com/parleybus/parley/internal/topology"
)

// Wire is a connection to such a bus. [JetStream] is one, Redis another, in a module of
// its own. The methods may be called at once for different addresses.
type Wire interface {
	// Publish writes events to an address, in their order. It may return before they are
	// stored.
	Publish(ctx context.Context, to topology.Address, events [][]byte) error
	// Flush waits until all that was published is stored, and returns the first refusal.
	Flush(ctx context.Context) error
	// Watch calls each, one call at a time, for the events that are written to an address
	// from now on, until stop, which waits for the last call.
	Watch(ctx context.Context, to topology.Address, each func(event []byte)) (stop func(), err error)
	// Read calls each for the first n events of an address, which must be there.
	Read(ctx context.Context, to topology.Address, n int, each func(event []byte)) error
	// Close ends the connection.
	Close() error
}
