package llm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Guard returns p with a watchdog: if p yields no event for the duration idle,
// the request is cancelled and the answer ends with class idle. Only yielded
// events reset the watchdog, not keep-alives of a gateway; the consumer's time
// does not count. Common values are 90 to 120 s; 0 means no watchdog. An answer
// without streaming yields nothing before it is complete: idle bounds its whole
// duration.
//
// It also enforces the rules of [Stream] if an adapter breaks them at the end:
// it closes open calls, treats an answer without a GenerationEnded as cut, and
// drops events after the end. p must return when its context is cancelled.
func Guard(p Provider, idle time.Duration) Provider {
	return &guarded{Provider: p, idle: idle}
}

type guarded struct {
	Provider
	idle time.Duration
}

// Stream implements [Provider].
func (g *guarded) Stream(ctx context.Context, req Request) Stream {
	return func(yield func(events.Event, error) bool) {
		stalled := &events.Error{Class: events.ErrIdle, Message: fmt.Sprintf(
			"%s/%s sent nothing for %s and the connection was closed; try again", g.Name(), req.Model, g.idle)}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		rest, feed := func() {}, func() {}
		if g.idle > 0 {
			timer := time.AfterFunc(g.idle, func() { cancel(stalled) })
			defer timer.Stop()
			rest, feed = func() { timer.Stop() }, func() { timer.Reset(g.idle) }
		}
		var calls openCalls
		for e, err := range g.Provider.Stream(ctx, req) {
			rest()
			end, last := e.(*events.GenerationEnded)
			if e != nil && !last {
				calls.see(e)
				if !yield(e, nil) {
					return
				}
			}
			if e == nil || last || err != nil {
				calls.finish(yield, ended(ctx, end, err, stalled))
				return
			}
			feed()
		}
		calls.finish(yield, ended(ctx, nil, nil, stalled))
	}
}

// ended returns the end of an answer, and creates one if it is missing. After
// the watchdog cancelled the request, an adapter may report the connection, its
// caller or nothing as the cause: then the watchdog is the reason.
func ended(ctx context.Context, end *events.GenerationEnded, err error, stalled *events.Error) *events.GenerationEnded {
	out := &events.GenerationEnded{}
	switch {
	case end != nil:
		*out = *end
	case err != nil:
		if !errors.As(err, &out.Error) {
			out.Error = FromRead(ctx, err)
		}
	}
	if e := cutOff(out); e != nil && !out.Terminated && errors.Is(context.Cause(ctx), stalled) && consequence(e) {
		out.Error = stalled
	}
	return out
}

// consequence reports whether an error may result from the cancelled request.
func consequence(e *events.Error) bool {
	switch e.Class {
	case events.ErrCancelled, events.ErrNetwork, events.ErrCut:
		return true
	}
	return false
}

// openCalls holds the blocks of calls without an end, in order.
type openCalls struct {
	at      map[int]int
	started int
}

func (o *openCalls) see(e events.Event) {
	switch e := e.(type) {
	case *events.ToolCallStart:
		if o.at == nil {
			o.at = map[int]int{}
		}
		o.at[e.Block] = o.started
		o.started++
	case *events.ToolCallEnd:
		delete(o.at, e.Block)
	}
}

// blocks returns the open blocks, in the order of their start.
func (o *openCalls) blocks() []int {
	return slices.SortedFunc(maps.Keys(o.at), func(a, b int) int { return o.at[a] - o.at[b] })
}

// finish closes open calls and yields the end.
func (o *openCalls) finish(yield func(events.Event, error) bool, end *events.GenerationEnded) {
	end.Error = cutOff(end)
	switch {
	case end.Error != nil:
		end.Finish = finishOf(end.Error)
	case end.Finish == "":
		end.Finish = events.FinishOther
	}
	for _, block := range o.blocks() {
		if !yield(&events.ToolCallEnd{Block: block, Invalid: "the answer ended before the call was complete"}, nil) {
			return
		}
	}
	if end.Error != nil {
		yield(end, end.Error)
		return
	}
	yield(end, nil)
}
