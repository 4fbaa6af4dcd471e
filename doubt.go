package parley

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// testAfter is how long a message may be unanswered before it is tested
	// whether messages are stored.
	testAfter = 2500 * time.Millisecond
	// silenceAfter is how long a turn that runs may be silent before that.
	silenceAfter = 8 * time.Second
)

// doubt looks for the reason when nothing comes of a message.
type doubt struct {
	conversation *Conversation
	last         atomic.Int64 // when the last event came, Unix nanoseconds
	answered     atomic.Bool  // the orchestrator answered the message
	// behind returns an error when what is waited for is not in the log, though it was
	// stored; may be nil.
	behind func(context.Context) error
}

func (d *doubt) heard() { d.last.Store(time.Now().UnixNano()) }
func (d *doubt) taken() { d.answered.Store(true) }

// run blocks until ctx ends, or until the message cannot be answered, or nothing can
// be stored any more: it returns why.
func (d *doubt) run(ctx context.Context) error {
	started, tested := time.Now(), false
	tick := time.NewTicker(testAfter / 5)
	defer tick.Stop()
	for allowed := silenceAfter; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var err error
		silent := time.Since(time.Unix(0, d.last.Load()))
		switch waiting := !d.answered.Load(); {
		case waiting && time.Since(started) > answerTimeout:
			err = d.conversation.unanswered(ctx, "message", started)
		case waiting && !tested && time.Since(started) > testAfter:
			tested, err = true, cmp.Or(d.lost(ctx), d.conversation.unwritable(ctx, "message"))
		case waiting:
		case silent < silenceAfter:
			allowed = silenceAfter
		case silent > allowed:
			allowed *= 2
			err = cmp.Or(d.lost(ctx), d.unstored(ctx))
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (d *doubt) lost(ctx context.Context) error {
	if d.behind == nil {
		return nil
	}
	return d.behind(ctx)
}

// unstored returns an error if the turn cannot continue because nothing is stored.
func (d *doubt) unstored(ctx context.Context) error {
	v := d.conversation
	if err := v.client.testWrites(ctx); err != nil {
		return &Error{CodeNotStored, fmt.Errorf("the turn stops here and continues when messages can be stored again, see `parley tail %s`: %w", v.id, err)}
	}
	return nil
}

// watched returns a context that ends with the error of watch, which runs beside until it
// returns. done ends both, and waits.
func watched(ctx context.Context, watch func(context.Context) error) (_ context.Context, done func()) {
	ctx, stop := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := watch(ctx); err != nil {
			stop(err)
		}
	})
	return ctx, func() {
		stop(nil)
		watching.Wait()
	}
}
