// Package hook answers the hooks of Parley's turns from any Go program. A hook is an
// app that the orchestrator calls before a turn, to add to the system prompt or to
// refuse the turn, or after it, to be notified. Settings and the deployment's rules
// name hooks; a program that answers one joins the deployment over NATS:
//
//	err := hook.Serve(ctx, parley.Config{}, hook.Before, "memory",
//		func(ctx context.Context, c *hook.Call) (*hook.Answer, error) {
//			return &hook.Answer{Context: recall(ctx, c)}, nil
//		})
//
// Programs that answer the same hook share its calls. A hook that nobody answers
// within its timeout holds a turn up no longer.
package hook

import (
	"context"
	"fmt"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// Time is when a hook is called.
type Time = events.HookTime

// When a hook is called.
const (
	Before = events.HookBefore // before the turn, which waits for the answer
	After  = events.HookAfter  // after the turn
)

// Call is what a hook is called with: the turn, the messages that it answers, and
// after the turn how it ended.
type Call = events.HookCall

// Answer is the answer of a hook. Context is added to the turn's system prompt,
// Refuse ends the turn with this reason; both count before a turn only.
type Answer = events.HookAnswered

// Func answers a call. It may run many times at once. Its context ends with the
// call's timeout. An error is in the log as the answer's Error, and the turn
// continues; a nil answer adds nothing.
type Func func(ctx context.Context, call *Call) (*Answer, error)

// Serve answers the calls of a hook until ctx ends. Then it takes no more calls, and
// finishes those that it has, for at most 10 s; it returns nil after that. It waits
// for a NATS server or a deployment that is not there yet. The error says that the
// name cannot be one (letters, digits, _ and -), or that the server refuses the
// credentials.
func Serve(ctx context.Context, cfg parley.Config, when Time, name string, answer Func) error {
	environment := bus.Environment(bus.Getenv)
	environment.Name = "hook " + name
	b, err := bus.Wait(ctx, bus.Config(cfg).Or(environment), nil)
	if err != nil {
		return fmt.Errorf("serve hook %s: %w", name, err)
	}
	defer b.Close()
	if err := b.Hooks().Serve(ctx, when, name, answer); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve hook %s: %w", name, err)
	}
	return nil
}
