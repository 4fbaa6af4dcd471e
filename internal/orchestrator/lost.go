package orchestrator

import (
	"context"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// A job that is gone from its queue while its work has no end is lost: a worker
// acknowledges only what is in the log. It is looked for in conversations in which
// nothing was decided for lookFirst, then more rarely, up to lookMost apart. What is
// missing is published again when it is missing a second time, lookFirst later: its end
// may be on its way to the owner.
const (
	lookFirst = 5 * time.Second
	lookMost  = time.Minute
	// lookTimeout bounds the question for a job: the conversation waits meanwhile.
	lookTimeout = time.Second
)

// look is when the jobs of a conversation are looked for.
type look struct {
	decided uint64 // the last Decision, in the turn lane
	next    time.Time
	wait    time.Duration
	missing map[string]bool // subjects that were missing the last time
}

// due reports whether it is time to look, in a conversation whose last Decision is at
// this sequence.
func (l *look) due(decided uint64, now time.Time) bool {
	switch {
	case l.decided != decided || l.wait == 0:
		*l = look{decided: decided, wait: lookFirst}
	case now.Before(l.next):
		return false
	default:
		l.next = now.Add(l.wait)
		l.wait = min(2*l.wait, lookMost)
		return true
	}
	l.next = now.Add(l.wait)
	return false
}

// missed records which jobs were missing, and returns those that were so before.
func (l *look) missed(now time.Time, missing map[string]bool) (lost []string) {
	for subject := range missing {
		if l.missing[subject] {
			lost = append(lost, subject)
			delete(missing, subject)
		}
	}
	if l.missing = missing; len(missing) > 0 {
		l.next, l.wait = now.Add(lookFirst), lookFirst
	}
	return lost
}

// lookForJobs publishes the jobs again that are lost.
func (s *shard) lookForJobs(ctx context.Context, c *conversation) error {
	if fault.Planted(fault.ForgetRepublish) || fault.Planted(fault.AckBeforeAppend) {
		return nil // what would mend these bugs
	}
	open, missing := map[string]events.Line{}, map[string]bool{}
	for _, l := range c.queued() {
		asking, cancel := context.WithTimeout(ctx, lookTimeout)
		subjects := topology.JobsOf(l.Event)
		held, err := s.o.Bus.Jobs().Hold(asking, subjects...)
		cancel()
		if err != nil {
			return nil // the next time
		}
		if !held && len(subjects) > 0 {
			open[subjects[0]], missing[subjects[0]] = l, true
		}
	}
	for _, subject := range c.look.missed(time.Now(), missing) {
		s.o.Log.Warn("a job is gone from its queue and its work has not ended, it is published again", "conversation", c.id, "job", subject)
		if err := s.publish(ctx, c, []events.Line{open[subject]}, s.o.Bus.Jobs().PublishAgain); err != nil {
			return err
		}
	}
	return nil
}

// queued returns the requests that a job is for: unlike [conversation.unfinished], not
// of calls that wait for somebody else than a worker.
func (c *conversation) queued() (lines []events.Line) {
	for _, l := range c.unfinished() {
		if r, is := l.Event.(*events.ToolCallRequested); is &&
			!slices.ContainsFunc(c.state.Calls, func(call events.CallState) bool { return call.Call == r.Call && call.Running() }) {
			continue
		}
		lines = append(lines, l)
	}
	return lines
}
