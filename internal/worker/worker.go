// Package worker runs jobs: an LLM worker asks a model and writes the gen lane,
// a tool worker runs a call and writes the call's lane. Workers keep no state;
// any number of them may serve one queue.
//
// Taking over writes first: an attempt appends GenerationStarted or ToolStarted
// before it does anything, and from then on the lane refuses the attempt before
// it. A job that is handed out twice finds its lane ended.
package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// errStale says that nobody waits for a job any more.
var errStale = errors.New("nobody waits for this job")

// errCancelled is the cause of a context that ended because the turn was
// stopped.
var errCancelled = &events.Error{Class: events.ErrCancelled, Message: "the turn was stopped"}

// yieldTo is how long a worker that lost a lane in the middle of its attempt keeps
// away from the job: by then the one that took the lane has ended it, or died.
const yieldTo = topology.JobAckWait

// releaseTime is how long a worker that is being stopped may take to write what it
// has: a result, or that it gives the job back.
const releaseTime = 2 * time.Second

// newID mints a UUIDv7.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("mint an id: %w", err)
	}
	return id.String(), nil
}

// address parses the lane a job names and checks that it is what the job says.
func address(subject, conversation string, channel events.Channel) (topology.Address, error) {
	a, err := topology.Parse(subject)
	if err == nil && (a.Channel != channel || a.Conversation != conversation || a.Subject(topology.Conv) != subject) {
		err = fmt.Errorf("%w: subject %q is not the %s lane of conversation %q", topology.ErrBadID, subject, channel, conversation)
	}
	return a, err
}

// wanted reports whether the conversation's last Decision still has what a job
// was made for. It is asked after the lane was read: a lane taken after this
// by a newer job refuses the older one. A job that no Decision asked for is
// always wanted: the conversation's turns say nothing about it.
func wanted(ctx context.Context, b *bus.Bus, a topology.Address, decision uint64, has func(events.State) bool) error {
	if decision == 0 {
		return nil
	}
	d, at, err := b.LastDecision(ctx, a.Conversation, 0)
	if err != nil {
		return err
	}
	if d != nil && at >= decision && !has(d.State) {
		return errStale
	}
	return nil
}

// watch ends the context it returns, with [errCancelled] as the cause, when a
// Decision no longer has what a job was made for, or when somebody cancels the
// turn, or the call, which may be empty. A job that no Decision asked for (0) ends
// only with a Cancel that names its call. The returned stop must be called.
func watch(ctx context.Context, b *bus.Bus, a topology.Address, decision uint64, turn, call string, has func(events.State) bool) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop, err := b.Listen(a.Conversation, func(m bus.Message) {
		for _, l := range m.Lines {
			switch e := l.Event.(type) {
			case *events.Cancel:
				if m.Channel == events.ChannelIn && e.Stops(turn, call) && (decision > 0 || e.Call == call) {
					cancel(errCancelled)
				}
			case *events.Decision:
				if m.Channel == events.ChannelTurn && decision > 0 && !has(e.State) {
					cancel(errCancelled)
				}
			}
		}
	})
	if err != nil {
		cancel(nil)
		return nil, nil, err
	}
	return ctx, func() { stop(); cancel(nil) }, nil
}

// pause waits, or returns the cause of ctx's end.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
