package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	backoffFirst = 20 * time.Millisecond
	backoffMost  = time.Second
)

// backoff is the time between tries: it doubles up to a bound.
type backoff struct {
	next, most time.Duration
	jitter     bool // subtracts a random half, so that many writers do not retry at once
}

// writeBackoff is the backoff of what many processes may write at once.
func writeBackoff() backoff { return backoff{backoffFirst, backoffMost, true} }

// delay returns the time until the next try and doubles the one after it.
func (b *backoff) delay() time.Duration {
	d := b.next
	b.next = min(2*d, b.most)
	if b.jitter {
		d = d/2 + rand.N(d/2)
	}
	return d
}

// wait blocks until the next try. It returns false when ctx has ended.
func (b *backoff) wait(ctx context.Context) bool { return Pause(ctx, b.delay()) }

// Pause blocks for a time. It returns false when ctx has ended.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// retryTries bounds the tries of a [retry] while the connection is up. With
// growing backoff they take about ten seconds: a cluster elects a leader by then.
const retryTries = 14

// retry is the backoff between tries of one request. The tries are unlimited
// while the server cannot be reached and [retryTries] while it can.
type retry struct {
	bus *Bus
	backoff
	tries int
}

func (b *Bus) newRetry() retry {
	return retry{b, backoff{next: backoffFirst, most: backoffMost}, retryTries}
}

// wait blocks until the next try. It returns false when there is none: ctx has
// ended, the connection is closed, or the tries are used up.
func (r *retry) wait(ctx context.Context) bool {
	if r.bus.nc.IsConnected() {
		r.tries--
	}
	return r.tries != 0 && !r.bus.nc.IsClosed() && r.backoff.wait(ctx)
}

// after is wait after an error, and returns false also when that error is final.
func (r *retry) after(ctx context.Context, err error) bool {
	return !errors.Is(err, jetstream.ErrStreamNotFound) && !permanent(err) && r.wait(ctx)
}

// retryRequest repeats a request until it succeeds, cannot succeed, or [retry]
// has no more tries. what names it in errors.
func retryRequest[T any](ctx context.Context, b *Bus, what string, request func() (T, error)) (T, error) {
	for again := b.newRetry(); ; {
		answer, err := request()
		if err == nil {
			return answer, nil
		}
		var none T
		if ctx.Err() != nil {
			return none, context.Cause(ctx)
		}
		if !again.after(ctx, err) {
			return none, fmt.Errorf("%s: %w", what, explainJetStream(err))
		}
	}
}

// retryWrite repeats an idempotent write until it succeeds, cannot succeed, or ctx
// ends. what names it in errors. A [stopError] of the write's ends it as well.
func (b *Bus) retryWrite(ctx context.Context, what string, write func(context.Context) error) error {
	for again := writeBackoff(); ; {
		try, cancel := context.WithTimeout(ctx, appendTimeout)
		err := write(try)
		cancel()
		if err == nil {
			return nil
		}
		if stop, ok := errors.AsType[*stopError](err); ok {
			return fmt.Errorf("%s: %w", what, stop.err)
		}
		if permanent(err) || isFull(err) || errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("%s: %w", what, explainJetStream(err))
		}
		if !again.wait(ctx) {
			return fmt.Errorf("%s: %w (last try: %v)", what, context.Cause(ctx), err)
		}
	}
}
