package llmworker

import (
	"context"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func cancels(scope events.Scope) func(*stage) {
	return func(s *stage) {
		g, _ := running(s)
		id := conformance.NewID()
		g.PublishInput(g.job.Conversation, id, &events.Cancel{ID: id, Turn: g.job.Turn, Scope: scope})
		g.ended(events.FinishCancelled, events.ErrCancelled)
		g.attempt()
	}
}

func ignoresOthers(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(`{"pause_ms":2500}`).publish()
	await[*events.TextChunk](g, 1, conformance.Soon)
	in := topology.At(s.Shards(), g.job.Conversation, events.ChannelIn).Subject(topology.Conv)
	for _, text := range []string{"no event", `{"type":"Claim","of":"Cancel","object":{"bucket":"PARLEY_OBJECTS","name":"missing","size":9,"sha256":"00"}}`} {
		_, err := s.JS.Publish(g.Within(conformance.Soon), in, []byte(text))
		s.Must(err)
	}
	for _, e := range []events.Cancel{{}, {Scope: "all"}, {Call: conformance.NewID()}, {Turn: conformance.NewID()}, {Scope: "queue"}, {Turn: g.job.Turn, Scope: "queue"}} {
		e.ID = conformance.NewID()
		g.PublishInput(g.job.Conversation, e.ID, &e)
	}
	g.decide(g.job.Decision, g.job.Generation)
	g.ended(events.FinishStop, "")
}

func heedsDecisions(s *stage) {
	g, _ := running(s)
	g.decide(g.job.Decision, "")
	g.ended(events.FinishCancelled, events.ErrCancelled)
}

// yields takes the lane, and has the worker try to write its end.
func yields(s *stage) {
	g, _ := running(s)
	all := g.read()
	other := conformance.NewID()
	at := g.Write(g.lane, all[len(all)-1].At, g.started(other, ""))
	id := conformance.NewID()
	g.PublishInput(g.job.Conversation, id, &events.Cancel{ID: id, Turn: g.job.Turn})
	end := g.Write(g.lane, at, &events.GenerationEnded{Origin: events.Origin{Attempt: other, Index: 1}, Generation: g.job.Generation, Finish: events.FinishStop, Terminated: true, EventCount: 2})
	g.JobRemoved(g.subject, 2*conformance.Soon)
	if all := g.read(); all[len(all)-1].At != end {
		s.Errorf("after the other worker had ended the generation it wrote more: the lane holds %s", conformance.Types(all))
	}
}

func takesOver(s *stage) {
	g, first := running(s)
	before := await[*events.GenerationStarted](g, 1, conformance.Soon)
	first.Signal(syscall.SIGKILL)
	<-first.Done
	s.start("two")
	second := await[*events.GenerationStarted](g, 2, 2*conformance.Soon)
	if !conformance.Named(second.Worker, "two") || second.Attempt == before.Attempt || !conformance.IsUUIDv7(second.Attempt) {
		s.Errorf("the second start is of worker %s and attempt %s, expected worker two, and a new attempt after %s", second.Worker, second.Attempt, before.Attempt)
	}
	g.Eventually(conformance.Soon, "the second attempt streams", func() bool { return len(g.attempt()) > 1 })
	id := conformance.NewID()
	g.PublishInput(g.job.Conversation, id, &events.Cancel{ID: id, Turn: g.job.Turn})
	g.ended(events.FinishCancelled, events.ErrCancelled)
	g.attempt()
}

// leavesRunning redelivers the job of a worker that is present, and then is not.
func leavesRunning(s *stage) {
	s.MakeQueue(s.served)
	const other = "other-worker"
	offer := bus.Offer{Kind: "llm", Name: s.model.Route, Worker: other, Model: s.model.Model}
	ctx, leave := context.WithCancel(s.Within(time.Minute))
	s.Must(s.Presence().Announce(ctx, []bus.Offer{offer}))
	left := make(chan error, 1)
	go func() { left <- s.Presence().Stay(ctx, []bus.Offer{offer}) }()
	g := s.newGeneration(`{}`)
	g.Write(g.lane, 0, g.started(conformance.NewID(), other))
	s.start("one")
	g.publish()
	g.Never(topology.PresenceTTL+conformance.AckWait, "it took the generation of a worker whose key exists", func() bool {
		return strings.Count(g.lanes(), "GenerationStarted") > 1
	})
	leave()
	<-left
	g.ended(events.FinishStop, "")
}

func takesReleased(s *stage) {
	s.MakeQueue(s.served)
	g := s.newGeneration(`{}`)
	attempt := conformance.NewID()
	g.Write(g.lane, 0, g.started(attempt, "other-worker"), &events.GenerationReleased{Origin: events.Origin{Attempt: attempt, Index: 1}, Generation: g.job.Generation})
	s.start("one")
	began := time.Now()
	g.publish()
	await[*events.GenerationStarted](g, 2, conformance.Soon)
	if took := time.Since(began); took > topology.PresenceTTL/2 {
		s.Errorf("a released generation was started after %v, expected at once", took.Round(time.Millisecond))
	}
	g.ended(events.FinishStop, "")
	g.attempt()
}

// handsBack starts a second worker, which takes the job that the first one hands back.
func handsBack(s *stage) {
	g, first := running(s)
	s.start("two")
	stopped := time.Now()
	first.Signal(syscall.SIGTERM)
	second := await[*events.GenerationStarted](g, 2, conformance.Soon)
	took := time.Since(stopped)
	released := 0
	for _, w := range g.read() {
		if e, ok := w.Event.(*events.GenerationReleased); ok && e.Generation == g.job.Generation && e.Error == "" {
			released++
		}
	}
	if released != 1 {
		s.Errorf("the lane holds %s, expected one GenerationReleased of the generation, without an error", g.lanes())
	}
	if took >= conformance.AckWait {
		s.Errorf("another worker got the job after %v, expected at once: it was not handed back before ack_wait had passed", took.Round(time.Millisecond))
	}
	if !conformance.Named(second.Worker, "two") {
		s.Errorf("the second start is of worker %s, expected two", second.Worker)
	}
	if code := first.Exit(conformance.Soon); code != 0 {
		s.Errorf("it exits with code %d after SIGTERM, expected 0", code)
	}
}

// keepsTheJob loses the end of a generation on its way to the server for a while.
func keepsTheJob(s *stage) {
	s = newStage(s.Check, s.model, conformance.Setup{Proxied: true})
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(`{}`)
	var lost atomic.Int64
	s.Proxy.Lose(func(f conformance.Frame) bool {
		return f.ToServer && f.Subject == g.job.Subject && strings.Contains(string(f.Data), `"GenerationEnded"`) && lost.Add(1) > 0
	})
	g.publish()
	s.Eventually(conformance.Soon, "it publishes a GenerationEnded", func() bool { return lost.Load() > 0 })
	s.Never(time.Second, "the job was acknowledged before GenerationEnded was stored, expected after it", func() bool { return !s.HasJob(g.subject) })
	s.Proxy.Lose(nil)
	await[*events.GenerationEnded](g, 1, 2*conformance.Soon)
	g.JobRemoved(g.subject, conformance.Soon)
}
