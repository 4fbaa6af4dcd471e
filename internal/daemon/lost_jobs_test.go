package daemon_test

import (
	"context"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// kept runs a keeper, which makes again what is deleted, for 40 s at most. stop ends it.
func (d *deployment) kept() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 40*time.Second)
	done := make(chan error, 1)
	go func() { done <- d.Deployment().NewKeeper().Run(ctx) }()
	return ctx, func() { cancel(); <-done }
}

// TestJobsThatAreLostArePublishedAgain deletes JOBS while it holds the job of a
// generation. The stream is created again, and the job published again.
func TestJobsThatAreLostArePublishedAgain(t *testing.T) {
	d := serve(t)
	d.run(d.orchestrator("orchestrator"))
	ctx, stop := d.kept()
	defer stop()
	conversation := newID(t)
	d.sendNew(conversation, func(id string) events.Event { return &events.Settings{ID: id, Route: "scripted/demo"} })
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	_, js := d.Raw()
	jobs := func() uint64 {
		s, err := js.Stream(ctx, topology.StreamJobs)
		if err != nil {
			return 0
		}
		return s.CachedInfo().State.Msgs
	}
	within(t, "the generation is not requested", func() bool { return jobs() == 1 })
	if err := js.DeleteStream(ctx, topology.StreamJobs); err != nil {
		t.Fatal(err)
	}
	within(t, "the job is not published again", func() bool { return jobs() == 1 })
	d.run(d.models("models", scriptFile(t, "model: demo\nrules:\n  - match: .\n    steps:\n      - text: Hello there.\n")))
	v := d.view(ctx, conversation)
	var end *events.TurnEnded
	v.until("the end", func(e events.Event) (ok bool) { end, ok = e.(*events.TurnEnded); return ok })
	if end.Outcome != events.OutcomeCompleted {
		t.Errorf("%s %v", end.Outcome, end.Error)
	}
}

// TestJobsOfStartedWorkThatAreLostArePublishedAgain: JOBS is deleted after a worker has
// started a generation, and that worker is gone. Nobody would take the generation over.
func TestJobsOfStartedWorkThatAreLostArePublishedAgain(t *testing.T) {
	d := serve(t)
	d.run(d.orchestrator("orchestrator"))
	ctx, stop := d.kept()
	defer stop()
	conversation := newID(t)
	d.sendNew(conversation, func(id string) events.Event { return &events.Settings{ID: id, Route: "scripted/demo"} })
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v := d.view(ctx, conversation)
	var requested *events.GenerationRequested
	v.until("the request", func(e events.Event) (ok bool) { requested, ok = e.(*events.GenerationRequested); return ok })
	frame, err := events.AppendFrame(nil, &events.GenerationStarted{Origin: events.Origin{Attempt: newID(t)}, Generation: requested.Generation,
		Turn: requested.Turn, Step: 1, Provider: "scripted", Model: "demo", Worker: "gone"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lane(topology.At(d.Shards(), conversation, events.ChannelGen)).Append(ctx, 0, frame); err != nil {
		t.Fatal(err)
	}
	_, js := d.Raw()
	if err := js.DeleteStream(ctx, topology.StreamJobs); err != nil {
		t.Fatal(err)
	}
	d.run(d.models("models", scriptFile(t, "model: demo\nrules:\n  - match: .\n    steps:\n      - text: Hello there.\n")))
	var end *events.TurnEnded
	v.until("the end", func(e events.Event) (ok bool) { end, ok = e.(*events.TurnEnded); return ok })
	if end.Outcome != events.OutcomeCompleted {
		t.Errorf("%s %v", end.Outcome, end.Error)
	}
}

// TestAJobThatIsLostWhileItsWorkerLivesRunsOnce: the job of a running call is published
// again after JOBS was deleted, and its worker still runs it.
func TestAJobThatIsLostWhileItsWorkerLivesRunsOnce(t *testing.T) {
	d := serve(t)
	d.run(d.orchestrator("orchestrator"))
	ctx, stop := d.kept()
	defer stop()
	h := held{make(chan struct{}, 8), make(chan struct{})}
	d.run(d.tools("one", registry(t, h)))
	d.run(d.tools("two", registry(t, h)))
	d.run(d.models("models", scriptFile(t, expiryScript)))
	d.known("hold", true)
	conversation := newID(t)
	v := d.view(ctx, conversation)
	d.sendNew(conversation, func(id string) events.Event {
		return &events.Settings{ID: id, Policy: rule(events.ActionAuto, 0)}
	})
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	select {
	case <-h.running:
	case <-ctx.Done():
		t.Fatal("the call does not run")
	}
	_, js := d.Raw()
	if err := js.DeleteStream(ctx, topology.StreamJobs); err != nil {
		t.Fatal(err)
	}
	within(t, "the job of the running call is not published again", func() bool {
		s, err := js.Stream(ctx, topology.StreamJobs)
		return err == nil && s.CachedInfo().State.Msgs == 1
	})
	close(h.release)
	var end *events.TurnEnded
	v.until("the end", func(e events.Event) (ok bool) { end, ok = e.(*events.TurnEnded); return ok })
	if end.Outcome != events.OutcomeCompleted || len(h.running) > 0 {
		t.Errorf("the turn ended as %s %v, and the call ran %d times more", end.Outcome, end.Error, len(h.running))
	}
}
