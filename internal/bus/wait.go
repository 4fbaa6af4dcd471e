package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// Wait connects like [Connect] and retries until it succeeds or ctx ends.
// Only lasting errors end it earlier: a wrong configuration, refused
// credentials, a certificate that does not verify, missing permissions.
func Wait(ctx context.Context, cfg Config, setup *topology.Plan) (*Bus, error) {
	var logged string
	for again := (backoff{next: 100 * time.Millisecond, most: 2 * time.Second}); ; {
		b, err := Connect(ctx, cfg, setup)
		if err == nil || lasting(err) {
			return b, err
		}
		if cfg.Log != nil && err.Error() != logged && ctx.Err() == nil {
			logged = err.Error()
			cfg.Log.Warn("waiting for NATS", "error", err)
		}
		if !again.wait(ctx) {
			return nil, errors.Join(err, context.Cause(ctx))
		}
	}
}

// electionTimeout is how long a cluster may be without the leader of a stream:
// nats-server elects another within 9 s (raft.go).
const electionTimeout = 12 * time.Second

// history finds HISTORY, which exists when all streams do. In a cluster it waits
// for the election of a leader.
func (b *Bus) history(ctx context.Context) (jetstream.Stream, error) {
	for until := time.Now().Add(electionTimeout); ; {
		try, cancel := context.WithTimeout(ctx, 2*appendTimeout)
		s, err := ask(try, func(ctx context.Context) (jetstream.Stream, error) { return b.js.Stream(ctx, topology.StreamHistory) })
		cancel()
		if err == nil {
			return s, nil
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, fmt.Errorf("%w: start an orchestrator or `parley up` once, it makes them", ErrNotSetUp)
		}
		if !electing(ctx, err) || b.explainDenied(err) != err || time.Now().After(until) || !Pause(ctx, backoffMost/4) {
			return nil, explainJetStream(err)
		}
	}
}

// electing reports whether a cluster that has not elected a leader yet would
// answer like this.
func electing(ctx context.Context, err error) bool {
	if errors.Is(err, nats.ErrTimeout) {
		return true
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return ctx.Err() == nil // a request's own deadline, not the caller's
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.Code == 503 && !isFull(err) && !errors.Is(err, jetstream.ErrJetStreamNotEnabled) && !errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}
