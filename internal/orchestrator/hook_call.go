package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Hook is a hook that runs inside the orchestrator.
type Hook struct {
	events.Hook
	// Ask is called once per turn, and once more if the orchestrator died
	// before the answer was stored: use the turn's id as the key of effects
	// that must not happen twice. ctx ends at the deadline, and when the
	// turn is cancelled. The turn continues then and a later answer is
	// ignored, but the orchestrator stops only after Ask has returned.
	Ask func(ctx context.Context, call *events.HookCall) (*events.HookAnswered, error)
}

// defaultHookTimeout applies to a hook without a deadline of its own.
const defaultHookTimeout = 5 * time.Second

// callHooks calls the hooks that a conversation waits for and cancels calls
// that it no longer waits for. Answers arrive like messages.
func (s *shard) callHooks(ctx context.Context, c *conversation) {
	for _, h := range c.state.Hooks {
		if c.hookCalls[h] != nil {
			continue
		}
		if c.hookCalls == nil {
			c.hookCalls = map[events.PendingHook]context.CancelFunc{}
		}
		own, cancel := context.WithCancel(ctx)
		c.hookCalls[h] = cancel
		call := hookCall(c, h, s.o.Bus.Now())
		s.work.Go(func() {
			defer cancel()
			a := s.callHook(own, h, call)
			if ctx.Err() != nil {
				return // the next owner calls the hook
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.holds(c) { // else the turn has ended without the answer
				c.hookAnswers = append(c.hookAnswers, a)
				s.wake(ctx, c)
			}
		})
	}
	for h, cancel := range c.hookCalls {
		if !slices.Contains(c.state.Hooks, h) {
			cancel()
			delete(c.hookCalls, h)
		}
	}
}

func hookCall(c *conversation, h events.PendingHook, now time.Time) *events.HookCall {
	timeout := defaultHookTimeout
	if h.DeadlineMS > 0 {
		timeout = time.Duration(h.DeadlineMS) * time.Millisecond
	}
	call := &events.HookCall{Hook: h.Name, When: h.When, Conversation: c.id, Turn: h.Turn,
		TimeoutMS: timeout.Milliseconds(), DeadlineMS: now.Add(timeout).UnixMilli()}
	if h.When == events.HookBefore {
		call.Message = c.state.Transcript.FirstMessage(h.Turn)
	} else {
		call.Ended, call.Answer = c.state.Transcript.Ended(h.Turn)
	}
	return call
}

// callHook calls one hook, in this process or on the bus.
func (s *shard) callHook(ctx context.Context, h events.PendingHook, call *events.HookCall) *events.HookAnswered {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(call.TimeoutMS)*time.Millisecond)
	defer cancel()
	ask := s.o.Bus.Hooks().Call
	for _, own := range s.o.Hooks {
		if own.Name == h.Name && own.When == h.When && own.Ask != nil {
			ask = own.Ask
		}
	}
	a, err := s.callUntil(ctx, ask, call)
	switch {
	case err != nil:
		s.o.Log.Warn("a hook gave no answer", "hook", h.Name, "when", h.When, "turn", h.Turn, "error", err)
		a = &events.HookAnswered{Error: err.Error()}
	case a == nil:
		a = &events.HookAnswered{}
	}
	a.Turn, a.When, a.Hook = h.Turn, h.When, h.Name // the app may have set others
	return a
}

// hookFunc is the function of a hook.
type hookFunc func(context.Context, *events.HookCall) (*events.HookAnswered, error)

// callUntil calls a hook and waits for its answer until ctx ends, even if
// the hook ignores ctx.
func (s *shard) callUntil(ctx context.Context, ask hookFunc, call *events.HookCall) (*events.HookAnswered, error) {
	type answer struct {
		*events.HookAnswered
		error
	}
	answers := make(chan answer, 1)
	s.work.Go(func() {
		a, err := callSafely(ctx, ask, call)
		answers <- answer{a, err}
	})
	select {
	case a := <-answers:
		return a.HookAnswered, a.error
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// callSafely calls a hook and turns its panic into an error.
func callSafely(ctx context.Context, ask hookFunc, call *events.HookCall) (a *events.HookAnswered, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the hook %s panicked: %v", call.Hook, r)
		}
	}()
	return ask(ctx, call)
}
