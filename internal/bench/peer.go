package bench

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/bench/wire"
	"github.com/parleybus/parley/internal/bus"
)

// Peer is another system that does the work of a row by hand, see [Options.Peer].
type Peer struct {
	Name string
	// Serve starts a server that keeps its data in dir.
	Serve func(ctx context.Context, dir string) (*PeerServer, error)
	// Open connects to it.
	Open func(ctx context.Context, url string) (wire.Wire, error)
}

// PeerServer is the server of a peer.
type PeerServer struct {
	URL  string
	CPU  func() (time.Duration, error) // processor time so far
	Stop func() error
}

// paths are those that a row is measured with, in three processes.
func (o Options) paths() []string {
	paths := []string{pathParley}
	if o.Raw {
		paths = append(paths, pathRaw)
	}
	if o.Peer != nil {
		paths = append(paths, o.Peer.Name)
	}
	return paths
}

// openWires opens what Parley is measured beside, by the path of a row. peer may be nil.
func openWires(ctx context.Context, b *bus.Bus, peer *Peer, url string) (map[string]wire.Wire, error) {
	raw, err := plain(b)
	if err != nil {
		return nil, err
	}
	wires := map[string]wire.Wire{pathRaw: raw}
	if peer != nil {
		if wires[peer.Name], err = peer.Open(ctx, url); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
	}
	return wires, nil
}

func closeAll(wires map[string]wire.Wire) (err error) {
	for _, path := range slices.Sorted(maps.Keys(wires)) {
		err = errors.Join(err, wires[path].Close())
	}
	return err
}
