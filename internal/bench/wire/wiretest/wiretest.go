// Package wiretest is the conformance suite of [wire.Wire].
package wiretest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/bench/wire"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Address returns one that nobody has written to.
func Address() topology.Address {
	id := uuid.Must(uuid.NewV7()).String()
	return topology.OfCall(1, id, events.ChannelOut, id)
}

// Run runs the suite.
func Run(t *testing.T, w wire.Wire) {
	const n = 300
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var batches [][][]byte
	var all []string
	for i := range n / 3 {
		var batch [][]byte
		for j := range 3 {
			all = append(all, fmt.Sprintf(`{"n":%d}`, 3*i+j))
			batch = append(batch, []byte(all[len(all)-1]))
		}
		batches = append(batches, batch)
	}
	a, other := Address(), Address()
	var seen, after []string
	watched := make(chan struct{})
	stop, err := w.Watch(ctx, a, func(e []byte) {
		if seen = append(seen, string(e)); len(seen) == n {
			close(watched)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range batches {
		if err := w.Publish(ctx, a, batch); err != nil {
			t.Fatal(err)
		}
		if err := w.Publish(ctx, other, [][]byte{[]byte(`{"other":true}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-watched:
	case <-ctx.Done():
		t.Fatal("not every event was watched")
	}
	stop()
	if err := w.Publish(ctx, a, [][]byte{[]byte(`{"late":true}`)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, all) {
		t.Errorf("watched %q", seen)
	}
	if err := w.Read(ctx, a, n, func(e []byte) { after = append(after, string(e)) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(after, all) {
		t.Errorf("read %q", after)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
