package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// deadLetter waits until a job is a dead letter and returns the reason.
func (s *stage) deadLetter(subject string) (reason string) {
	s.t.Helper()
	_, js := s.Raw()
	dead, err := js.Stream(s.t.Context(), topology.StreamDead)
	s.done(err)
	s.eventually(soon, func() bool {
		m, err := dead.GetLastMsgForSubject(s.t.Context(), topology.DeadSubject(subject))
		if err == nil {
			reason = m.Header.Get("Parley-Reason")
		}
		return err == nil
	}, "there is no dead letter")
	return reason
}

// types returns the types of the events on a lane.
func (s *stage) types(a topology.Address) string {
	s.t.Helper()
	var types []string
	for _, e := range s.events(a) {
		types = append(types, e.Type())
	}
	return strings.Join(types, " ")
}

func TestAToolWorkerTakesAJob(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	x := newStep("x", events.EffectOnce)
	s.tools("first", x)
	c := s.request("x", events.EffectOnce, "{}").publish()
	if got := next(t, x.runs); got != c.job.Call {
		t.Errorf("it runs call %s, want %s", got, c.job.Call)
	}
	start := await[*events.ToolStarted](s, c.lane, soon)
	x.end <- nil
	c.gone(c.subject, soon)
	r := await[*events.ToolResult](s, c.lane, soon)
	if start.Call != c.job.Call || start.Worker != "first" || start.Delivery != 1 || r.Attempt != start.Attempt || r.Status != events.StatusOK || r.Content != "done" {
		t.Errorf("started %+v, ended %+v", start, r)
	}
	c.lanes("ToolStarted ToolResult")
}

func TestAnLLMWorkerTakesAJob(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	m := newModel()
	s.models("first", m)
	c := s.chat()
	job := c.request()
	job.System, job.Route = "Be brief.", "test" // no model: the worker's own
	subject := s.publish(job)
	if r := next(t, m.calls); r.System != job.System || r.Model != "m" {
		t.Errorf("the model was called with %+v", r)
	}
	m.end <- struct{}{}
	s.gone(subject, soon)
	lane := c.lane(events.ChannelGen)
	start, end := await[*events.GenerationStarted](s, lane, soon), await[*events.GenerationEnded](s, lane, soon)
	if start.Generation != job.Generation || start.Worker != "first" || start.Provider != "test" || start.Model != "m" ||
		end.Attempt != start.Attempt || end.Finish != events.FinishStop || end.EventCount != 3 || end.Index != 2 {
		t.Errorf("started %+v, ended %+v", start, end)
	}
	if got := s.types(lane); got != "GenerationStarted TextChunk GenerationEnded" {
		t.Errorf("the lane holds %s", got)
	}
}

// TestAStaleJobIsAcknowledgedAndDoesNothing publishes jobs that no turn waits for.
func TestAStaleJobIsAcknowledgedAndDoesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	x, m := newStep("x", events.EffectPure), newModel()
	s.tools("tools", x)
	s.models("models", m)
	idle := events.State{Phase: events.PhaseIdle}

	t.Run("a call that its turn no longer awaits", func(t *testing.T) {
		c := s.request("x", events.EffectPure, "{}")
		s.write(topology.At(s.Shards(), c.job.Conversation, events.ChannelTurn), c.job.Decision, &events.Decision{State: idle})
		c.publish().gone(c.subject, soon)
		c.lanes("")
	})
	t.Run("a call that has its result", func(t *testing.T) {
		c := s.request("x", events.EffectPure, "{}")
		at := s.write(c.lane, 0, &events.ToolStarted{Call: c.job.Call, Attempt: "a", Tool: "x"})
		s.write(c.lane, at, &events.ToolResult{Call: c.job.Call, Attempt: "a", Tool: "x", Status: events.StatusOK})
		c.publish().gone(c.subject, soon)
		c.lanes("ToolStarted ToolResult")
	})
	t.Run("a generation that another one has replaced", func(t *testing.T) {
		c := s.chat()
		old := c.request()
		c.request()
		s.gone(s.publish(old), soon)
		if got := s.types(c.lane(events.ChannelGen)); got != "" {
			t.Errorf("the lane holds %s", got)
		}
	})
	t.Run("a generation that has ended", func(t *testing.T) {
		c := s.chat()
		job := c.request()
		lane := c.lane(events.ChannelGen)
		at := s.write(lane, 0, &events.GenerationStarted{Origin: events.Origin{Attempt: "a"}, Generation: job.Generation})
		s.write(lane, at, &events.GenerationEnded{Origin: events.Origin{Attempt: "a", Index: 1}, Generation: job.Generation, Finish: events.FinishStop})
		s.gone(s.publish(job), soon)
		if got := s.types(lane); got != "GenerationStarted GenerationEnded" {
			t.Errorf("the lane holds %s", got)
		}
	})
	if n, calls := len(x.runs), len(m.calls); n+calls > 0 {
		t.Errorf("%d calls ran, the model was called %d times", n, calls)
	}
}

// TestARunningJobStaysWithItsWorker lets a call and a generation run for longer than
// the AckWait.
func TestARunningJobStaysWithItsWorker(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	s.queue(topology.ToolQueue("x")) // before its workers look at it
	s.queue(topology.LLMQueue("test"))
	x, m := newStep("x", events.EffectPure), newModel()
	s.tools("tools", x)
	s.models("models", m)
	c := s.request("x", events.EffectPure, "{}").publish()
	g := s.chat()
	generation := s.publish(g.request())
	next(t, x.runs)
	next(t, m.calls)
	<-time.After(2 * ackWait)
	queues, err := s.Jobs().Queues(t.Context())
	s.done(err)
	for _, q := range queues {
		if q.Retried > 0 {
			t.Errorf("%d jobs of %s were delivered again", q.Retried, q.Name)
		}
	}
	x.end <- nil
	m.end <- struct{}{}
	c.gone(c.subject, soon)
	s.gone(generation, soon)
	if again := len(x.runs) + len(m.calls); again > 0 {
		t.Errorf("they ran %d times more", again)
	}
}
