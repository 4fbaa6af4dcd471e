package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// CatchUp is how long reading a conversation of so many events took, one in a message.
type CatchUp struct {
	Path   string  `json:"path"`
	Events int     `json:"events"`
	P50MS  float64 `json:"p50_ms"`
	MaxMS  float64 `json:"max_ms"`
}

// catchUps is how often each is read; the first of them is not counted.
const catchUps = 21

// catchUp writes n events and reads them from the beginning, again and again.
func (c *crew) catchUp(ctx context.Context, path string, n int) (CatchUp, error) {
	ctx, cancel := context.WithTimeout(ctx, rowTimeout)
	defer cancel()
	write, read := c.writeLane, c.readLane
	if path != pathParley {
		w := c.wires[path]
		write = func(ctx context.Context, a topology.Address, n int) error {
			for i := range n {
				e, err := events.Append(nil, chunkEvent(i))
				if err != nil {
					return err
				}
				if err := w.Publish(ctx, a, [][]byte{e}); err != nil {
					return err
				}
			}
			return w.Flush(ctx)
		}
		read = func(ctx context.Context, a topology.Address, n int) error {
			return w.Read(ctx, a, n, func([]byte) {})
		}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return CatchUp{}, err
	}
	a := topology.OfCall(1, id.String(), events.ChannelOut, id.String())
	if path == pathParley {
		a = topology.At(1, id.String(), events.ChannelGen)
	}
	if err := write(ctx, a, n); err != nil {
		return CatchUp{}, fmt.Errorf("write %d events, %s: %w", n, path, err)
	}
	var took []int64
	for range catchUps {
		began := time.Now()
		if err := read(ctx, a, n); err != nil {
			return CatchUp{}, fmt.Errorf("read %d events, %s: %w", n, path, err)
		}
		took = append(took, int64(time.Since(began)))
	}
	took = took[1:]
	slices.Sort(took)
	return CatchUp{Path: path, Events: n, P50MS: quantile(took, 0.5), MaxMS: quantile(took, 1)}, nil
}

// chunkEvent is a chunk of an answer, by its place in it.
func chunkEvent(i int) *events.TextChunk {
	return &events.TextChunk{Origin: events.Origin{Attempt: "01938a5c-7c1e-7000-8000-000000000001", Index: i + 1}, Text: string(appendText(nil, 1))}
}

func (c *crew) writeLane(ctx context.Context, a topology.Address, n int) (err error) {
	lane := c.viewers.Lane(a).Open(ctx, 0)
	defer func() {
		_, closed := lane.Close()
		err = errors.Join(err, closed)
	}()
	for i := range n {
		if err := lane.Append(chunkEvent(i)); err != nil {
			return err
		}
		if _, err := lane.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *crew) readLane(ctx context.Context, a topology.Address, n int) error {
	got := 0
	for m, err := range c.viewers.Conversation(a.Conversation).Attach(ctx, bus.From{Ended: true}) {
		if err != nil {
			return err
		}
		got += len(m.Lines)
	}
	if got != n {
		return fmt.Errorf("%d of %d events were read", got, n)
	}
	return nil
}
