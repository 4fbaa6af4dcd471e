package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// lastingError marks what no further try gets past: a wrong configuration, or a
// permission that is missing.
type lastingError struct{ error }

func (e lastingError) Unwrap() error { return e.error }

// Wait connects like [Connect] and tries again until it succeeds or ctx ends.
// Only what cannot pass ends it earlier: a wrong configuration, refused
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

// lasting reports whether connecting again is useless.
func lasting(err error) bool {
	for _, refused := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrPermissionViolation, nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, jetstream.ErrStreamNameAlreadyInUse} {
		if errors.Is(err, refused) {
			return true
		}
	}
	if _, ok := errors.AsType[lastingError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.Code == 400
}

// electionTimeout is how long a cluster may be without the leader of a stream:
// nats-server elects another within 9 s (raft.go).
const electionTimeout = 12 * time.Second

// history finds HISTORY, which exists when all streams do. In a cluster it waits
// for the election of a leader.
func (b *Bus) history(ctx context.Context) (jetstream.Stream, error) {
	for until := time.Now().Add(electionTimeout); ; {
		try, cancel := context.WithTimeout(ctx, 2*appendTimeout)
		s, err := b.js.Stream(try, topology.StreamHistory)
		cancel()
		if err == nil {
			return s, nil
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, fmt.Errorf("%w: start an orchestrator or `parley up` once, it makes them", ErrNotSetUp)
		}
		if !electing(ctx, err) || b.explainDenied(err) != err || time.Now().After(until) || !pause(ctx, backoffMost/4) {
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

func explainJetStream(err error) error {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) || errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("the NATS server has no JetStream: start it with `nats-server -js` and allow the account to use it: %w", err)
	}
	if isFull(err) {
		return fmt.Errorf("the NATS server has no space left for JetStream: free the disk or raise max_file_store: %w", err)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fmt.Errorf("it is missing on the server; an orchestrator or `parley up` makes it again within seconds: %w", err)
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeStreamsExhausted:
			return fmt.Errorf("the account may not have as many streams as Parley needs: raise its max_streams: %w", err)
		case codeConsumersExhausted:
			return fmt.Errorf("the account may not have as many consumers as Parley needs: raise its max_consumers, or remove the limit: %w", err)
		case codeBytesRequired:
			return fmt.Errorf("the account wants a limit on every stream: turn max_bytes_required off for Parley's account: %w", err)
		}
	}
	return fmt.Errorf("JetStream: %w", err)
}

// JetStream's answers when a limit of the account keeps a stream from being made.
const (
	codeConsumersExhausted = 10026
	codeStreamsExhausted   = 10027
	codeBytesRequired      = 10113
)

// isFull reports whether the server has no space left: insufficient resources,
// storage resources exceeded, or a stream at its limit.
func isFull(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == 10023 || api.ErrorCode == 10047 || api.ErrorCode == 10077)
}
