package parley

import (
	"context"
	"fmt"
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
			err = d.conversation.unanswered(ctx, "message")
		case waiting && !tested && time.Since(started) > testAfter:
			tested, err = true, d.conversation.unwritable(ctx, "message")
		case waiting:
		case silent < silenceAfter:
			allowed = silenceAfter
		case silent > allowed:
			allowed *= 2
			err = d.lost(ctx)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// lost returns an error if the turn cannot continue because nothing is stored.
func (d *doubt) lost(ctx context.Context) error {
	v := d.conversation
	if err := v.client.testWrites(ctx); err != nil {
		return &Error{CodeNotStored, fmt.Errorf("the turn stops here and continues when messages can be stored again, see `parley tail %s`: %w", v.id, err)}
	}
	return nil
}
