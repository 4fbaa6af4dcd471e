package parley

import (
	"context"
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
	last     atomic.Int64 // when the last event came, Unix nanoseconds
	answered atomic.Bool  // the orchestrator answered the message
}

// doubts are the tests of a [doubt]; each returns nil while there is hope.
type doubts struct {
	unanswered, unwritable, lost func(context.Context) error
}

func (d *doubt) heard() { d.last.Store(time.Now().UnixNano()) }
func (d *doubt) taken() { d.answered.Store(true) }

// run blocks until ctx ends, or until the message cannot be answered: it returns
// why.
func (d *doubt) run(ctx context.Context, tests doubts) error {
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
			err = tests.unanswered(ctx)
		case waiting && !tested && time.Since(started) > testAfter:
			tested, err = true, tests.unwritable(ctx)
		case waiting:
		case silent < silenceAfter:
			allowed = silenceAfter
		case silent > allowed:
			allowed *= 2
			err = tests.lost(ctx)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}
