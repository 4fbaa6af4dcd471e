package orchestrator

import (
	"context"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/fault"
)

// setTimer makes the conversation's one timer fire when something happens in it
// by itself, or removes it. The timer is stored on the server: it fires even
// after all our processes have restarted.
//
// There is no fencing. An owner that was suspended between a Decision and this, and
// was replaced in that time, has overwritten a newer timer. So it checks
// afterwards whether its Decision is still the last, and otherwise sets the timer
// of the last: whoever sets a timer last has seen the last Decision.
func (s *shard) setTimer(ctx context.Context, c *conversation, ms int64) error {
	for lane := c.state.TurnLane; ; {
		var err error
		if ms == 0 {
			err = s.o.Bus.Timers().Stop(ctx, c.id)
		} else if !fault.Planted(fault.LoseTimer) {
			err = s.o.Bus.Timers().Set(ctx, c.id, time.UnixMilli(ms))
		}
		if err != nil {
			return err
		}
		if ms == 0 {
			fault.Point(fault.TimerCleared)
		} else {
			fault.Point(fault.TimerSet)
		}
		last, at, err := s.o.Bus.Conversation(c.id).LastDecision(ctx, 0)
		if err != nil || last == nil || at <= lane {
			return err
		}
		lane, ms = at, last.State.NextMS()
	}
}

// followDues wakes the conversations whose timers fire. It starts when the log
// has been read: the cause of a timer precedes it in the log.
func (s *shard) followDues(ctx context.Context) {
	err := s.o.Bus.Shard(s.n).FollowDue(ctx, func(d bus.Due) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.conversations[d.Conversation]
		if c == nil {
			c = s.track(d.Conversation, s.read+1)
		}
		c.dues = append(c.dues, d)
		s.wake(ctx, c)
		return nil
	})
	if ctx.Err() == nil {
		s.fail(err)
	}
}

// restoreTimers sets lost timers again, with retries until it has succeeded.
func (s *shard) restoreTimers(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.o.Bus.Shard(s.n).RestoreTimers(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			s.o.Log.Warn("lost timers cannot be restored yet", "shard", s.n, "error", err)
		}
		s.o.backoff(ctx)
	}
}

// latest returns the time of the last timer that fired; zero when none did.
func latest(dues []bus.Due) time.Time {
	var at time.Time
	for _, d := range dues {
		if d.At.After(at) {
			at = d.At
		}
	}
	return at
}

// dropDues deletes timers that fired and were decided on, and sets the next:
// one that fired early, or for something already decided, must not be the
// last.
func (s *shard) dropDues(ctx context.Context, c *conversation, dues []bus.Due) error {
	if len(dues) == 0 {
		return nil
	}
	if next := c.state.NextMS(); next != 0 {
		if err := s.setTimer(ctx, c, next); err != nil {
			return err
		}
	}
	for _, d := range dues {
		if err := s.o.Bus.Timers().DropDue(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// resume repeats side effects that the previous owner may not have
// completed: jobs, hooks, the timer.
func (s *shard) resume(ctx context.Context, c *conversation) error {
	open := c.unfinished()
	if fault.Planted(fault.ForgetRepublish) {
		open = nil
	}
	if err := s.publish(ctx, c, open, s.o.Bus.Jobs().PublishAgain); err != nil {
		return err
	}
	s.callHooks(ctx, c)
	return s.setTimer(ctx, c, c.state.NextMS())
}
