package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// attend reads, decides and publishes for a conversation until nothing is
// left to do or the shard's owner stops.
func (s *shard) attend(ctx context.Context, c *conversation) {
	for {
		if err := s.guarded(ctx, c); err != nil {
			if ctx.Err() != nil || !s.failed(ctx, c, err) {
				return
			}
			continue
		}
		c.failures, c.fault = 0, nil
		s.mu.Lock()
		if len(c.inbox) > 0 && s.live || len(c.dues) > 0 || len(c.hookAnswers) > 0 || c.resume || c.looking {
			s.mu.Unlock()
			continue
		}
		c.busy = false
		s.evictIfIdle(c)
		s.mu.Unlock()
		return
	}
}

// guarded calls advance and turns a panic in it into an error of its
// conversation.
func (s *shard) guarded(ctx context.Context, c *conversation) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.o.Log.Error("the orchestrator panicked while deciding: please report this", "conversation", c.id, "panic", r, "stack", string(debug.Stack()))
			err = &faultError{fmt.Errorf("the orchestrator failed to decide: %v", r)}
		}
	}()
	return s.advance(ctx, c)
}

// faultError is an error for which a retry is useless.
type faultError struct{ err error }

func (e *faultError) Error() string { return e.err.Error() }
func (e *faultError) Unwrap() error { return e.err }

// The backoff after an error of a conversation.
const (
	minBackoff = 20 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// betweenBatches is the pause between decisions on inputs that are more than one
// decision answers: other conversations get the processors.
const betweenBatches = 15 * time.Millisecond

// failed decides how a conversation continues after an error, and waits for
// the backoff. It returns false when the conversation is given up.
func (s *shard) failed(ctx context.Context, c *conversation, err error) bool {
	c.failures++
	_, lasting := errors.AsType[*faultError](err)
	switch lasting = lasting || bus.Lasting(err); {
	case errors.Is(err, bus.ErrFenced):
		// Another owner or an unauthorized writer appended to the turn lane. Either
		// way the log has the state. If it was an owner, the lease reports it.
		s.o.Log.Warn("the turn lane has another writer, reloading the conversation", "conversation", c.id, "error", err)
		c.state = nil
	case lasting && c.fault == nil && c.state != nil:
		s.o.Log.Error("a conversation cannot continue, its turn ends as failed", "conversation", c.id, "error", err)
		c.fault = err
	case lasting:
		s.giveUp(ctx, c, err)
		return false
	default:
		s.o.Log.Warn("a conversation is delayed by an error, retrying", "conversation", c.id, "tries", c.failures, "error", err)
	}
	s.mu.Lock()
	c.resume = true // its last Decision may be stored without its side effects
	s.mu.Unlock()
	wait := time.NewTimer(min(minBackoff<<min(c.failures-1, 10), maxBackoff))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wait.C:
		return true
	}
}

// giveUp evicts a conversation that cannot even store why its turn failed.
// Its next message is a new try.
func (s *shard) giveUp(ctx context.Context, c *conversation, err error) {
	s.o.Log.Error("a conversation is evicted after repeated errors, until its next message", "conversation", c.id, "error", err)
	s.strays.deadLetter(ctx, bus.Message{Subject: addressOf(s, c.id).Subject(topology.Conv), Sequence: c.since, Bad: err})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds(c) {
		s.evict(c)
	}
	for _, cancel := range c.hookCalls {
		cancel()
	}
}

// advance applies the messages that arrived and decides until there is
// nothing to decide. On an error no message is lost.
func (s *shard) advance(ctx context.Context, c *conversation) error {
	if c.state == nil {
		if err := s.load(ctx, c); err != nil {
			c.state = nil
			return err
		}
		s.countTurn(c)
	}
	for {
		s.mu.Lock()
		t := pendingWork{c.inbox, s.live, c.resume, c.looking, c.dues, c.hookAnswers}
		c.inbox, c.resume, c.looking, c.dues, c.hookAnswers = nil, false, false, nil, nil
		s.mu.Unlock()
		rest, decided, err := s.step(ctx, c, t)
		if err != nil {
			s.mu.Lock()
			c.inbox, c.dues, c.hookAnswers = append(rest, c.inbox...), append(t.dues, c.dues...), append(t.hookAnswers, c.hookAnswers...)
			s.mu.Unlock()
			return err
		}
		if len(rest) > 0 {
			s.mu.Lock()
			c.inbox = append(rest, c.inbox...)
			s.mu.Unlock()
			if !t.live {
				return nil // the rest when the log is read to its end
			}
			continue
		}
		if decided && len(c.state.Inputs) > 0 && !bus.Pause(ctx, betweenBatches) {
			return context.Cause(ctx)
		}
		if !decided {
			c.fetched = fetched{}
			if t.live {
				s.purge(ctx, c)
			}
			return nil
		}
	}
}

// pendingWork is what arrived for a conversation since its goroutine last
// looked.
type pendingWork struct {
	inbox       []bus.Message
	live        bool
	resume      bool
	looking     bool
	dues        []bus.Due
	hookAnswers []*events.HookAnswered
}

// step applies pending work and decides once. It returns the messages that
// it has not applied, and whether there may be more to decide.
func (s *shard) step(ctx context.Context, c *conversation, t pendingWork) (rest []bus.Message, decided bool, err error) {
	rest, err = s.applyInbox(ctx, c, t)
	if err != nil || !t.live {
		return rest, false, err
	}
	faulty := c.fault != nil // do not retry what failed before the turn has ended
	if t.resume && !faulty {
		if err := s.resume(ctx, c); err != nil {
			return rest, false, err
		}
	}
	if decided, err = s.decide(ctx, c, latest(t.dues), t.hookAnswers); err != nil {
		return rest, false, err
	}
	if t.looking && !decided && !faulty {
		if err := s.lookForJobs(ctx, c); err != nil {
			return rest, false, err
		}
	}
	if faulty && decided {
		s.mu.Lock()
		c.resume = c.resume || t.resume
		s.mu.Unlock()
	}
	return rest, decided, s.dropDues(ctx, c, t.dues)
}

// decide decides once and stores the Decision. It reports whether there was
// anything to decide. The time is at least that of a timer that has fired:
// the server's clock may be ahead.
func (s *shard) decide(ctx context.Context, c *conversation, due time.Time, hooked []*events.HookAnswered) (bool, error) {
	now := s.o.Bus.Now()
	if due.After(now) {
		now = due
	}
	env := s.env(c.state.Transcript.Settings)
	env.HookAnswers, env.Fault, env.Purged = hooked, c.fault, s.receiptOf(c)
	env.Complete, c.complete = c.complete, nil
	unusable, err := s.unusable(ctx, c)
	if err != nil {
		return false, err
	}
	env.Unusable = unusable
	inputs := trafficOf(batch(c.state))
	env.Conversation, env.Apps = s.o.meter.read(now, c.id)
	env.Running = s.o.meter.turns()
	env.Endpoints = s.o.breakers.endpoints()
	d, draft, apps := Decide(c.state, env, now)
	if d == nil {
		return false, nil
	}
	d.Owner = s.o.Name
	frame, err := events.AppendFrame(nil, d)
	if err != nil {
		return false, &faultError{err}
	}
	seq, err := s.o.Bus.Lane(addressOf(s, c.id)).Append(ctx, c.state.TurnLane, frame)
	if err != nil {
		return false, err
	}
	c.fault = nil // the Decision has ended the turn
	s.o.meter.add(now, c.id, inputs, apps)
	s.o.breakers.count(c.state, d, now)
	timer, open := c.state.NextMS(), c.unstarted()
	c.adopt(draft, d, seq)
	s.countTurn(c)
	reached(d)
	if err := s.publish(ctx, c, d.Events, s.o.Bus.Jobs().Publish); err != nil {
		return false, err
	}
	fault.Point(fault.JobsPublished)
	s.dropJobs(ctx, c, open)
	s.callHooks(ctx, c)
	if next := c.state.NextMS(); next != timer {
		return true, s.setTimer(ctx, c, next)
	}
	return true, nil
}

// reached names the moment after a decision for tests that kill the process there.
func reached(d *events.Decision) {
	fault.Point(fault.DecisionAppended)
	for _, l := range d.Events {
		switch e := l.Event.(type) {
		case *events.ToolCallRequested:
			if e.By != "" {
				fault.Point(fault.VerdictDecided)
			}
		case *events.Compacted:
			fault.Point(fault.CompactDecided)
		case *events.TurnEnded:
			if e.Outcome == events.OutcomeCancelled {
				fault.Point(fault.CancelDecided)
			}
		}
	}
}
