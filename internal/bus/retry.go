package bus

import (
	"context"
	"time"
)

// retryTries bounds the tries of a [retry] while the connection is up. With
// growing backoff they take about ten seconds: a cluster elects a leader by then.
const retryTries = 14

// retry is the backoff between tries of one request. The tries are unlimited
// while the server cannot be reached and [retryTries] while it can.
type retry struct {
	bus     *Bus
	backoff time.Duration
	tries   int
}

func (b *Bus) newRetry() retry { return retry{b, backoffFirst, retryTries} }

// wait blocks until the next try. It returns false when there is none: ctx has
// ended, the connection is closed, or the tries are used up.
func (r *retry) wait(ctx context.Context) bool {
	if r.bus.nc.IsConnected() {
		r.tries--
	}
	if r.tries == 0 || r.bus.nc.IsClosed() {
		return false
	}
	t := time.NewTimer(r.backoff)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	}
	r.backoff = min(2*r.backoff, backoffMost)
	return true
}
