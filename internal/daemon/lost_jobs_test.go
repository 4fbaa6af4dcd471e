package daemon_test

import (
	"context"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestJobsThatAreLostArePublishedAgain deletes JOBS while it holds the job of a
// generation. The stream is created again, and the job published again.
func TestJobsThatAreLostArePublishedAgain(t *testing.T) {
	d := serve(t)
	d.run(d.orchestrator("orchestrator"))
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	kept := make(chan error, 1)
	go func() { kept <- d.Deployment().NewKeeper().Run(ctx) }()
	defer func() { cancel(); <-kept }()
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
