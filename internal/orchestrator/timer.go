package orchestrator

import (
	"context"
	"time"

	"github.com/parleybus/parley/internal/bus"
)

// setTimer makes the conversation's one timer fire when something happens in it
// by itself, or takes it back. The timer stands on the server: it fires also
// when every process of ours has been started anew.
//
// Nothing fences it. An owner that stood still between a Decision and this, and
// was followed by another meanwhile, has put its timer in the place of a newer
// one. So it looks afterwards whether its Decision is still the last, and sets
// that of the last: whoever sets a timer last has seen the last Decision.
func (s *shard) setTimer(ctx context.Context, c *conversation, ms int64) error {
	for lane := c.state.TurnLane; ; {
		var err error
		if ms == 0 {
			err = s.o.Bus.StopTimer(ctx, c.id)
		} else {
			err = s.o.Bus.SetTimer(ctx, c.id, time.UnixMilli(ms))
		}
		if err != nil {
			return err
		}
		last, at, err := s.o.Bus.LastDecision(ctx, c.id, 0)
		if err != nil || last == nil || at <= lane {
			return err
		}
		lane, ms = at, last.State.NextMS()
	}
}

// followDues wakes the conversations whose timers fire. It begins when the log
// has been read: what a timer is about stands in the log before it.
func (s *shard) followDues(ctx context.Context) {
	err := s.o.Bus.FollowDue(ctx, s.n, func(d bus.Due) error {
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

// restoreTimers sets timers again that were lost, until it has.
func (s *shard) restoreTimers(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.o.Bus.RestoreTimers(ctx, s.n)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			s.o.Log.Warn("timers that were lost cannot be set again yet", "shard", s.n, "error", err)
		}
		s.o.backoff(ctx)
	}
}

// latest is the time of the last timer that fired; zero when none did.
func latest(dues []bus.Due) time.Time {
	var at time.Time
	for _, d := range dues {
		if d.At.After(at) {
			at = d.At
		}
	}
	return at
}

// dropDues forgets timers that fired and were decided on, and sets the next:
// one that fired early, or for what was decided meanwhile, must not be the last.
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
		if err := s.o.Bus.DropDue(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// resume does again what the owner before may not have come to do.
func (s *shard) resume(ctx context.Context, c *conversation) error {
	if err := s.publish(ctx, c, c.unstarted()); err != nil {
		return err
	}
	s.callHooks(ctx, c)
	if next := c.state.NextMS(); next != 0 {
		return s.setTimer(ctx, c, next)
	}
	return nil
}
