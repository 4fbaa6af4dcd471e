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

const helloScript = "model: demo\nrules:\n  - match: .\n    steps:\n      - text: Hello there.\n"

// asksScripted asks the scripted model in a new conversation, whether or not it is served.
func (d *deployment) asksScripted() (conversation string) {
	d.t.Helper()
	conversation = newID(d.t)
	d.sendNew(conversation, func(id string) events.Event { return &events.Settings{ID: id, Route: "scripted/demo"} })
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	return conversation
}

// jobsIfAny is how many jobs JOBS holds; 0 while it does not exist.
func (d *deployment) jobsIfAny(ctx context.Context) uint64 {
	_, js := d.Raw()
	s, err := js.Stream(ctx, topology.StreamJobs)
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.Msgs
}

// purgeJobs loses all jobs, and nobody is told.
func (d *deployment) purgeJobs() {
	d.t.Helper()
	_, js := d.Raw()
	jobs, err := js.Stream(d.t.Context(), topology.StreamJobs)
	if err == nil {
		err = jobs.Purge(d.t.Context())
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// TestJobsThatAreLostArePublishedAgain deletes JOBS while it holds the job of a
// generation. The stream is created again, and the job published again.
func TestJobsThatAreLostArePublishedAgain(t *testing.T) {
	d := serve(t)
	d.run(d.orchestrator("orchestrator"))
	ctx, stop := d.kept()
	defer stop()
	conversation := d.asksScripted()
	_, js := d.Raw()
	within(t, "the generation is not requested", func() bool { return d.jobsIfAny(ctx) == 1 })
	if err := js.DeleteStream(ctx, topology.StreamJobs); err != nil {
		t.Fatal(err)
	}
	within(t, "the job is not published again", func() bool { return d.jobsIfAny(ctx) == 1 })
	d.run(d.models("models", scriptFile(t, helloScript)))
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
	conversation := d.asksScripted()
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
	d.run(d.models("models", scriptFile(t, helloScript)))
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
	within(t, "the job of the running call is not published again", func() bool { return d.jobsIfAny(ctx) == 1 })
	close(h.release)
	var end *events.TurnEnded
	v.until("the end", func(e events.Event) (ok bool) { end, ok = e.(*events.TurnEnded); return ok })
	if end.Outcome != events.OutcomeCompleted || len(h.running) > 0 {
		t.Errorf("the turn ended as %s %v, and the call ran %d times more", end.Outcome, end.Error, len(h.running))
	}
}

// TestAJobThatIsPublishedAgainNamesTheDecisionThatRequestedIt: a worker takes what is on
// the call's lane before that for none of its attempts, and would run the call again.
func TestAJobThatIsPublishedAgainNamesTheDecisionThatRequestedIt(t *testing.T) {
	t.Parallel()
	d := serve(t)
	nc, _ := d.Raw()
	jobs, err := nc.SubscribeSync("jobs.tool.>")
	if err != nil {
		t.Fatal(err)
	}
	next := func() *events.ToolJob {
		t.Helper()
		m, err := jobs.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := events.DecodeFrame(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		return lines[0].Event.(*events.ToolJob)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stopFirst := d.run(d.orchestrator("first"))
	h := held{make(chan struct{}, 8), make(chan struct{})}
	d.run(d.tools("tools", registry(t, h)))
	d.run(d.models("models", scriptFile(t, expiryScript)))
	d.known("hold", true)
	conversation := newID(t)
	v := d.view(ctx, conversation)
	d.sendNew(conversation, func(id string) events.Event {
		return &events.Settings{ID: id, Policy: rule(events.ActionAuto, 0)}
	})
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	first := next()
	var later string
	d.sendNew(conversation, func(id string) events.Event { later = id; return &events.UserMessage{ID: id, Text: "go on"} })
	v.until("another Decision", func(e events.Event) bool { a, is := e.(*events.InputAnswered); return is && a.Input == later })
	stopFirst()
	d.purgeJobs()
	d.run(d.orchestrator("second"))
	if again := next(); again.Call != first.Call || again.Decision != first.Decision {
		t.Errorf("the job of call %s names Decision %d; published again, that of %s names %d", first.Call, first.Decision, again.Call, again.Decision)
	}
	close(h.release)
}

// TestAJobWhoseWorkIsLostIsPublishedAgainByTheNextOwner purges the queue of a job: so it
// looks when a worker had done and acknowledged it, and its answer was in what the log has
// lost. The server still knows the job's message id.
func TestAJobWhoseWorkIsLostIsPublishedAgainByTheNextOwner(t *testing.T) {
	d := serve(t)
	stopFirst := d.run(d.orchestrator("first"))
	_, stop := d.kept()
	defer stop()
	conversation := d.asksScripted()
	within(t, "the generation is not requested", func() bool { return d.jobs() == 1 })
	stopFirst()
	d.purgeJobs()
	d.run(d.orchestrator("second"))
	d.run(d.models("models", scriptFile(t, helloScript)))
	if end := d.endOf(conversation); end.Outcome != events.OutcomeCompleted {
		t.Errorf("%s %v", end.Outcome, end.Error)
	}
}

// TestAJobThatItsQueueLosesIsPublishedAgain purges the queue of a job under its owner. So
// it looks when a worker acknowledges an answer that is in what a log has lost, after the
// owner has seen that the queue holds the job.
func TestAJobThatItsQueueLosesIsPublishedAgain(t *testing.T) {
	t.Parallel()
	d := serve(t)
	d.run(d.orchestrator("orchestrator"))
	conversation := d.asksScripted()
	within(t, "the generation is not requested", func() bool { return d.jobs() == 1 })
	d.purgeJobs()
	d.run(d.models("models", scriptFile(t, helloScript)))
	if end := d.endOf(conversation); end.Outcome != events.OutcomeCompleted {
		t.Errorf("%s %v", end.Outcome, end.Error)
	}
}

// TestAnAnswerInTheGapOfALogIsMadeAgain: an answer has ended and its job is acknowledged,
// then the log loses its end before the owner has decided. HISTORY has no answers, so that
// the next owner does not know it, and the worker must not take it for the one it is to
// make.
func TestAnAnswerInTheGapOfALogIsMadeAgain(t *testing.T) {
	d := serve(t)
	stopFirst := d.run(d.orchestrator("first"))
	ctx, stop := d.kept()
	defer stop()
	conversation := d.asksScripted()
	v := d.view(ctx, conversation)
	var requested *events.GenerationRequested
	v.until("the request", func(e events.Event) (ok bool) { requested, ok = e.(*events.GenerationRequested); return ok })
	stopFirst()
	attempt := newID(t)
	frame, err := events.AppendFrame(nil,
		&events.GenerationStarted{Origin: events.Origin{Attempt: attempt}, Generation: requested.Generation, Turn: requested.Turn, Step: 1, Provider: "scripted", Model: "demo", Worker: "gone"},
		&events.TextChunk{Origin: events.Origin{Attempt: attempt, Index: 1}, Text: "lost"},
		&events.GenerationEnded{Origin: events.Origin{Attempt: attempt, Index: 2}, Generation: requested.Generation, Finish: events.FinishStop, EventCount: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lane(topology.At(d.Shards(), conversation, events.ChannelGen)).Append(ctx, 0, frame); err != nil {
		t.Fatal(err)
	}
	d.purgeJobs()
	shard := topology.ShardOf(conversation, d.Shards())
	d.copied(shard) // or the input would be published again, when the server has forgotten its id
	if err := d.Shard(shard).SetCheckpoint(ctx, 100); err != nil {
		t.Fatal(err)
	}
	d.run(d.orchestrator("second"))
	d.run(d.models("models", scriptFile(t, helloScript)))
	if end := d.endOf(conversation); end.Outcome != events.OutcomeCompleted {
		t.Errorf("%s %v", end.Outcome, end.Error)
	}
}
