package worker_test

import (
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

// cancel cancels a turn, as an app does.
func (s *stage) cancel(conversation string, e events.Cancel) {
	s.t.Helper()
	e.ID = newID()
	_, err := s.Conversation(conversation).Publish(s.t.Context(), e.ID, &e)
	s.done(err)
}

func TestACancelEndsWhatRuns(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	x, m := newStep("x", events.EffectOnce), newModel()
	s.tools("tools", x)
	s.models("models", m)
	for name, stop := range map[string]func(conversation, turn, call string, decision uint64){
		"by the turn": func(conversation, turn, _ string, _ uint64) {
			s.cancel(conversation, events.Cancel{Scope: events.ScopeTurn, Turn: turn})
		},
		"by the call": func(conversation, _, call string, _ uint64) {
			s.cancel(conversation, events.Cancel{Scope: events.ScopeCall, Call: call})
		},
		"by a Decision": func(conversation, _, _ string, decision uint64) {
			s.write(topology.At(s.Shards(), conversation, events.ChannelTurn), decision, &events.Decision{State: events.State{Phase: events.PhaseIdle}})
		},
	} {
		t.Run("a call "+name, func(t *testing.T) {
			c := s.request("x", events.EffectOnce, "{}").publish()
			next(t, x.runs)
			stop(c.job.Conversation, c.job.Turn, c.job.Call, c.job.Decision)
			if r := await[*events.ToolResult](s, c.lane, soon); r.Status != events.StatusCancelled {
				t.Errorf("it ended as %s: %s", r.Status, r.Content)
			}
			c.gone(c.subject, soon)
		})
		if name == "by the call" {
			continue
		}
		t.Run("a generation "+name, func(t *testing.T) {
			c := s.chat()
			subject := s.publish(c.request())
			next(t, m.calls)
			stop(c.id, c.turn, "", c.decision)
			if e := await[*events.GenerationEnded](s, c.lane(events.ChannelGen), soon); e.Finish != events.FinishCancelled {
				t.Errorf("it ended as %s: %v", e.Finish, e.Error)
			}
			s.gone(subject, soon)
		})
	}
}

// TestACancelOfAnotherTurnEndsNothing publishes a Cancel that comes late.
func TestACancelOfAnotherTurnEndsNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	x := newStep("x", events.EffectPure)
	s.tools("tools", x)
	c := s.request("x", events.EffectPure, "{}").publish()
	next(t, x.runs)
	s.cancel(c.job.Conversation, events.Cancel{Scope: events.ScopeTurn, Turn: newID()})
	s.cancel(c.job.Conversation, events.Cancel{Scope: events.ScopeCall, Call: newID()})
	_, err := s.Conversation(c.job.Conversation).Publish(t.Context(), newID(), &events.UserMessage{ID: newID(), Text: "continue"})
	s.done(err)
	x.end <- nil
	if r := await[*events.ToolResult](s, c.lane, soon); r.Status != events.StatusOK {
		t.Errorf("it ended as %s: %s", r.Status, r.Content)
	}
}

// draining runs a tool worker with a drain timeout.
func (s *stage) draining(drain time.Duration, tools ...tool.Tool) (stop func()) {
	s.t.Helper()
	registry, err := tool.New(tools...)
	s.done(err)
	w := &worker.Tool{Bus: s.connect(nil), Name: newID(), Log: s.log(), Tools: registry, Drain: drain}
	return s.run(w.Run)
}

func TestAToolWorkerThatStops(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	t.Run("lets a call end within its time", func(t *testing.T) {
		x := newStep("in-time", events.EffectOnce)
		stop := s.draining(soon, x)
		c := s.request(x.name, events.EffectOnce, "{}").publish()
		next(t, x.runs)
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		later := s.request(x.name, events.EffectOnce, "{}").publish()
		select {
		case <-stopped:
			t.Error("stopped while a call ran")
		case <-time.After(200 * time.Millisecond):
		}
		x.end <- nil
		next(t, stopped)
		c.gone(c.subject, soon)
		c.lanes("ToolStarted ToolResult")
		later.lanes("") // it takes no other
	})
	t.Run("hands a pure call back", func(t *testing.T) {
		x := newStep("pure", events.EffectPure)
		stop := s.draining(100*time.Millisecond, x)
		c := s.request(x.name, events.EffectPure, "{}").publish()
		next(t, x.runs)
		stop()
		c.lanes("ToolStarted ToolReleased")
		if r := await[*events.ToolReleased](s, c.lane, soon); r.Error != "" {
			t.Errorf("it was released as failed: %s", r.Error)
		}
		x.end <- nil
		s.draining(0, x)
		c.gone(c.subject, soon)
		c.lanes("ToolStarted ToolReleased ToolStarted ToolResult")
	})
	t.Run("ends a once call as unknown", func(t *testing.T) {
		x := newStep("once", events.EffectOnce)
		stop := s.draining(100*time.Millisecond, x)
		c := s.request(x.name, events.EffectOnce, "{}").publish()
		next(t, x.runs)
		stop()
		c.gone(c.subject, soon)
		if r := await[*events.ToolResult](s, c.lane, soon); r.Status != events.StatusUnknown {
			t.Errorf("it ended as %s: %s", r.Status, r.Content)
		}
	})
}

// TestAFencedAttemptEndsItself appends to the lanes of a running call and a running
// generation.
func TestAFencedAttemptEndsItself(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	x, m := newStep("x", events.EffectPure), newModel()
	s.tools("tools", x)
	s.models("models", m)
	c := s.request("x", events.EffectPure, "{}").publish()
	next(t, x.runs)
	s.takeOver(c.lane, &events.ToolStarted{Call: c.job.Call, Attempt: "other", Tool: "x", Worker: "other"})
	g := s.chat()
	job := g.request()
	subject := s.publish(job)
	next(t, m.calls)
	lane := g.lane(events.ChannelGen)
	s.eventually(soon, func() bool { return s.types(lane) == "GenerationStarted TextChunk" }, "the answer does not begin")
	s.takeOver(lane, &events.GenerationStarted{Origin: events.Origin{Attempt: "other"}, Generation: job.Generation, Worker: "other"})
	x.end <- nil
	m.end <- struct{}{}
	for _, q := range []string{c.subject, subject} {
		s.eventually(soon, func() bool {
			queues, err := s.Jobs().Queues(t.Context())
			s.done(err)
			for _, info := range queues {
				if info.Retried > 0 && (info.Kind == "tool") == (q == c.subject) {
					return true
				}
			}
			return false
		}, "the job is not handed back: "+q)
	}
	c.lanes("ToolStarted ToolStarted")
	if got := s.types(lane); got != "GenerationStarted TextChunk GenerationStarted" {
		t.Errorf("the lane holds %s", got)
	}
}

// takeOver appends to a lane after its last message.
func (s *stage) takeOver(a topology.Address, e events.Event) {
	s.t.Helper()
	s.eventually(soon, func() bool { return s.types(a) != "" }, "the lane is empty")
	last, err := s.Lane(a).Last(s.t.Context())
	s.done(err)
	s.write(a, last.Sequence, e)
}
