package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Hook is a hook that runs in the orchestrator itself.
type Hook struct {
	events.Hook
	// Ask is called once per turn, and once more when the orchestrator died
	// before the answer stood in the log: the turn's id is the key of effects
	// that must not happen twice. ctx ends at the deadline, and when the turn that
	// it holds up is cancelled. The turn goes on then; what Ask returns later is
	// not heard, but the orchestrator stops only when it has returned.
	Ask func(ctx context.Context, call *events.HookCall) (*events.HookAnswered, error)
}

// hookPatience is how long a hook has that does not say.
const hookPatience = 5 * time.Second

// askHooks asks the hooks that a conversation waits for and that are not being
// asked. Their answers come to the conversation like messages.
func (s *shard) askHooks(ctx context.Context, c *conversation) {
	for _, h := range c.state.Hooks {
		if c.asking[h] != nil {
			continue
		}
		if c.asking == nil {
			c.asking = map[events.PendingHook]context.CancelFunc{}
		}
		own, cancel := context.WithCancel(ctx)
		c.asking[h] = cancel
		call := hookCall(c, h, s.o.Bus.Now())
		s.work.Go(func() {
			defer cancel()
			a := s.askHook(own, h, call)
			if ctx.Err() != nil {
				return // the next owner asks
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.holds(c) { // else the turn has ended without the answer
				c.hooked = append(c.hooked, a)
				s.wake(ctx, c)
			}
		})
	}
	for h, cancel := range c.asking {
		if !slices.Contains(c.state.Hooks, h) {
			cancel()
			delete(c.asking, h)
		}
	}
}

func hookCall(c *conversation, h events.PendingHook, now time.Time) *events.HookCall {
	patience := hookPatience
	if h.DeadlineMS > 0 {
		patience = time.Duration(h.DeadlineMS) * time.Millisecond
	}
	call := &events.HookCall{Hook: h.Name, When: h.When, Conversation: c.id, Turn: h.Turn,
		TimeoutMS: patience.Milliseconds(), DeadlineMS: now.Add(patience).UnixMilli()}
	if h.When == events.HookBefore {
		call.Message = c.state.Transcript.Said(h.Turn)
	} else {
		call.Ended, call.Answer = c.state.Transcript.Ended(h.Turn)
	}
	return call
}

// askHook asks one hook: in this process, or on the bus.
func (s *shard) askHook(ctx context.Context, h events.PendingHook, call *events.HookCall) *events.HookAnswered {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(call.TimeoutMS)*time.Millisecond)
	defer cancel()
	ask := s.o.Bus.AskHook
	for _, own := range s.o.Hooks {
		if own.Name == h.Name && own.When == h.When && own.Ask != nil {
			ask = own.Ask
		}
	}
	a, err := s.within(ctx, ask, call)
	switch {
	case err != nil:
		s.o.Log.Warn("a hook gave no answer", "hook", h.Name, "when", h.When, "turn", h.Turn, "error", err)
		a = &events.HookAnswered{Error: err.Error()}
	case a == nil:
		a = &events.HookAnswered{}
	}
	a.Turn, a.When, a.Hook = h.Turn, h.When, h.Name // whatever the app says
	return a
}

// asking asks a hook.
type asking func(context.Context, *events.HookCall) (*events.HookAnswered, error)

// within asks a hook and waits for its answer until ctx ends, whatever the hook
// makes of that.
func (s *shard) within(ctx context.Context, ask asking, call *events.HookCall) (*events.HookAnswered, error) {
	type answer struct {
		*events.HookAnswered
		error
	}
	answers := make(chan answer, 1)
	s.work.Go(func() {
		a, err := guarded(ctx, ask, call)
		answers <- answer{a, err}
	})
	select {
	case a := <-answers:
		return a.HookAnswered, a.error
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// guarded asks a hook whose panic is its own.
func guarded(ctx context.Context, ask asking, call *events.HookCall) (a *events.HookAnswered, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the hook %s broke down: %v", call.Hook, r)
		}
	}()
	return ask(ctx, call)
}
