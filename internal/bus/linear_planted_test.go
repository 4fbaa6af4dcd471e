package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// publishOnce publishes to a lane as Lane.Append does, once.
func publishOnce(ctx context.Context, b *bus.Bus, a topology.Address, frame []byte, opts ...jetstream.PublishOpt) (uint64, error) {
	try, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, js := b.Raw()
	ack, err := js.PublishMsg(try, &nats.Msg{Subject: a.Subject(topology.Conv), Data: frame}, append(opts, jetstream.WithRetryAttempts(0))...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// The planted faults: appenders that are wrong.
var planted = map[string]laneAppender{
	"the expected sequence is skipped": func(ctx context.Context, b *bus.Bus, a topology.Address, _ uint64, frame []byte) (uint64, error) {
		return publishOnce(ctx, b, a, frame)
	},
	"an append is acknowledged before it is stored": func(_ context.Context, b *bus.Bus, a topology.Address, after uint64, frame []byte) (uint64, error) {
		nc, _ := b.Raw()
		m := nats.NewMsg(a.Subject(topology.Conv))
		m.Data = frame
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, fmt.Sprint(after))
		return after + 1, nc.PublishMsg(m)
	},
	"a lost acknowledgement is taken for a failure and the frame appended again": func(ctx context.Context, b *bus.Bus, a topology.Address, after uint64, frame []byte) (uint64, error) {
		for {
			seq, err := publishOnce(ctx, b, a, frame, jetstream.WithExpectLastSequencePerSubject(after))
			var api *jetstream.APIError
			if err == nil || ctx.Err() != nil {
				return seq, err
			}
			if errors.As(err, &api) && api.Code == 400 {
				return 0, bus.ErrFenced
			}
			if last, err := b.Lane(a).Last(ctx); err == nil {
				after = last.Sequence
			}
		}
	},
	"a fenced writer goes on where the lane ends": func(ctx context.Context, b *bus.Bus, a topology.Address, after uint64, frame []byte) (uint64, error) {
		seq, err := b.Lane(a).Append(ctx, after, frame)
		if errors.Is(err, bus.ErrFenced) {
			last, err := b.Lane(a).Last(ctx)
			if err != nil {
				return 0, err
			}
			return b.Lane(a).Append(ctx, last.Sequence, frame)
		}
		return seq, err
	},
	"the result is fenced when the acknowledgement was lost": func(ctx context.Context, b *bus.Bus, a topology.Address, after uint64, frame []byte) (uint64, error) {
		for {
			seq, err := publishOnce(ctx, b, a, frame, jetstream.WithExpectLastSequencePerSubject(after))
			var api *jetstream.APIError
			if errors.As(err, &api) && api.Code == 400 {
				return 0, bus.ErrFenced
			}
			if err == nil || ctx.Err() != nil {
				return seq, err
			}
		}
	},
}

// plainAppend is a compare-and-append that does nothing about lost acknowledgements: it is
// right, and reports them as undecided.
func plainAppend(ctx context.Context, b *bus.Bus, a topology.Address, after uint64, frame []byte) (uint64, error) {
	seq, err := publishOnce(ctx, b, a, frame, jetstream.WithExpectLastSequencePerSubject(after))
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.Code == 400 {
		return 0, bus.ErrFenced
	}
	return seq, err
}

// TestTheLaneCheckerAcceptsAPlainCompareAndAppend is the control of the planted
// faults: it shares their schedules, recording and publish.
func TestTheLaneCheckerAcceptsAPlainCompareAndAppend(t *testing.T) {
	t.Parallel()
	brokertest.Seeds(t, 2, func(t *testing.T, seed uint64) {
		for _, err := range newLaneRun(t, seed, plainAppend).verdict(seed) {
			t.Error(err)
		}
	})
}

// plantedSeeds is within how many seeds a planted fault is to be found.
const plantedSeeds = 20

// TestTheLaneCheckerFindsPlantedFaults runs wrong writers through the same
// schedules, recording and checker.
func TestTheLaneCheckerFindsPlantedFaults(t *testing.T) {
	t.Parallel()
	var all errgroup.Group // not parallel subtests: they mostly wait for timeouts
	for name, fault := range planted {
		all.Go(func() error {
			t.Run(name, func(t *testing.T) { findPlanted(t, fault) })
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}

func findPlanted(t *testing.T, fault laneAppender) {
	var found atomic.Uint64
	var g errgroup.Group
	g.SetLimit(3)
	for seed := uint64(1); seed <= plantedSeeds && found.Load() == 0; seed++ {
		g.Go(func() error {
			if found.Load() > 0 {
				return nil
			}
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				for _, err := range newLaneRun(t, seed, fault).verdict(seed) {
					if strings.Contains(err.Error(), string(porcupine.Illegal)) {
						found.Store(seed)
					}
				}
			})
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if found.Load() == 0 {
		t.Errorf("not found in %d seeds", plantedSeeds)
	}
	t.Logf("found with seed %d", found.Load())
}
