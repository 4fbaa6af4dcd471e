// Package worker runs jobs: an LLM worker calls a model and writes the gen lane,
// a tool worker runs a call and writes the call's lane. Workers keep no state;
// any number of them may serve one queue.
//
// Taking over writes first: an attempt appends GenerationStarted or ToolStarted
// before it does anything, and from then on the lane refuses the attempt before
// it. A job that is delivered twice finds its lane ended.
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

// errStale reports that no turn waits for a job any more.
var errStale = errors.New("nobody waits for this job")

// errCancelled is the cause of a context that ended because the turn was
// cancelled.
var errCancelled = &events.Error{Class: events.ErrCancelled, Message: "the turn was stopped"}

// fencedBackoff is the delay of a job whose lane another worker took during the
// attempt: after it that worker has ended the job, or has died.
const fencedBackoff = topology.JobAckWait

// releaseTimeout is how long a worker that stops may take to write a result, or the
// release of a job.
const releaseTimeout = 2 * time.Second

// newID returns a new UUIDv7.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("mint an id: %w", err)
	}
	return id.String(), nil
}

// address parses the lane that a job names and checks that it is the lane of the
// job's conversation.
func address(subject, conversation string, channel events.Channel) (topology.Address, error) {
	a, err := topology.Parse(subject)
	if err == nil && (a.Channel != channel || a.Conversation != conversation || a.Subject(topology.Conv) != subject) {
		err = fmt.Errorf("%w: subject %q is not the %s lane of conversation %q", topology.ErrBadID, subject, channel, conversation)
	}
	return a, err
}

// wanted returns [errStale] when the conversation's last Decision no longer has what
// a job was made for. Call it after reading the lane: a newer job that takes the
// lane after this refuses the older one. A job that no Decision requested is always
// wanted: it is not part of a turn.
func wanted(ctx context.Context, b *bus.Bus, a topology.Address, decision uint64, has func(events.State) bool) error {
	if decision == 0 {
		return nil
	}
	d, at, err := b.Conversation(a.Conversation).LastDecision(ctx, 0)
	if err != nil {
		return err
	}
	if d != nil && at >= decision && !has(d.State) {
		return errStale
	}
	return nil
}

// watch ends the context that it returns, with [errCancelled] as the cause, when a
// Decision no longer has what a job was made for, or when a Cancel names the turn,
// or the call, which may be empty. A Cancel that names neither may be an old one
// that was published again: only the orchestrator can tell, and its Decision
// follows. A job that no Decision requested (0) ends only with a Cancel that names
// its call. The caller calls stop.
func watch(ctx context.Context, b *bus.Bus, a topology.Address, decision uint64, turn, call string, has func(events.State) bool) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop, err := b.Conversation(a.Conversation).Listen(func(m bus.Message) {
		for _, l := range m.Lines {
			switch e := l.Event.(type) {
			case *events.Cancel:
				if m.Channel == events.ChannelIn && e.Stops(turn, call) && (decision > 0 && e.Turn == turn || call != "" && e.Call == call) {
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

// sleep waits, or returns the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	if !bus.Pause(ctx, d) {
		return context.Cause(ctx)
	}
	return nil
}
