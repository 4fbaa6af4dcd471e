package bus

import (
	"context"
	"sync"
	"time"
)

const (
	// answerTime is the timeout of a request.
	answerTime = 5 * time.Second
	// askAgain is how long a request that may be made again has no answer before it is.
	askAgain = time.Second
)

// answer bounds the wait for an answer. A connection that is cut takes requests
// with it unseen, and nats.go waits as long as the context lasts if that has a
// deadline, be it a day.
func answer(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, answerTime)
}

// ask makes a request which may be made again, each [askAgain], and returns the first
// answer, within [answerTime]. The server never answers one that comes while a stream, or
// the cluster, has no leader, nor one for a consumer that it placed on a node which has
// just died: whoever waits for that answer still waits when there is a leader. A server
// that is slow has the whole time for the first one.
func ask[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	type answered struct {
		got T
		err error
	}
	ctx, cancel := answer(ctx)
	var open sync.WaitGroup
	defer open.Wait()
	defer cancel()
	answers := make(chan answered, answerTime/askAgain+1)
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		open.Go(func() {
			got, err := request(ctx)
			answers <- answered{got, err}
		})
		select {
		case a := <-answers:
			return a.got, a.err
		case <-again.C:
		}
	}
}
