package bus_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// sweep sweeps once and makes sure of what is removed.
func sweep(t *testing.T, s *bus.Sweeper, want bus.Swept) {
	t.Helper()
	got, err := s.Sweep(t.Context())
	if err != nil || got != want {
		t.Errorf("removed %+v, %v; want %+v", got, err, want)
	}
}

func queueNames(t *testing.T, b *bus.Bus) map[string]bool {
	t.Helper()
	all, err := b.Jobs().Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, q := range all {
		names[q.Name] = true
	}
	return names
}

func TestQueuesThatNobodyOffersAreDeleted(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	ensure := func(name string) {
		t.Helper()
		for _, of := range []func(string) (topology.Queue, error){topology.ToolQueue, topology.LowQueue, topology.LLMQueue} {
			q, err := of(name)
			if err == nil {
				err = b.Jobs().EnsureQueue(t.Context(), q)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 50 {
		ensure(fmt.Sprintf("gone_%d", i))
	}
	ensure("offered")
	ensure("asked")
	if err := b.Presence().Announce(t.Context(), []bus.Offer{
		{Kind: "tool", Name: "offered", Worker: "w", Tool: &events.ToolSpec{Name: "offered"}}, {Kind: "llm", Name: "offered", Worker: "w", Model: "offered/m"}}); err != nil {
		t.Fatal(err)
	}
	call := id()
	subject, err := topology.ToolJob("asked", call)
	if err == nil {
		err = b.Jobs().Publish(t.Context(), id(), subject, call, &events.ToolJob{Call: call, Tool: "asked"})
	}
	if err != nil {
		t.Fatal(err)
	}
	never := &bus.Sweeper{Bus: b, Unoffered: time.Hour}
	sweep(t, never, bus.Swept{})
	sweep(t, never, bus.Swept{})
	s := &bus.Sweeper{Bus: b, Unoffered: time.Nanosecond}
	sweep(t, s, bus.Swept{}) // an hour counts from when it was first seen
	sweep(t, s, bus.Swept{Queues: 3*50 + 2})
	if names := queueNames(t, b); len(names) != 2 || !names["offered"] || !names["asked"] {
		t.Errorf("there are %v", names)
	}
	ensure("gone_1")
	if names := queueNames(t, b); !names["gone_1"] {
		t.Error("a queue that was deleted is not made again")
	}
}

func TestObjectsOfFinishedJobsAreDeleted(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	_, js := b.Raw()
	objects := func() (n int) {
		t.Helper()
		s, err := js.Stream(t.Context(), "OBJ_"+topology.BucketObjects)
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(">"))
		if err != nil {
			t.Fatal(err)
		}
		return len(info.State.Subjects)
	}
	large := strings.Repeat("a large text ", 200_000)
	send(t, b, id(), large) // is no job's
	kept := objects()
	generation, conversation := id(), id()
	subject, err := topology.GenerationJob("r", generation)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // as a second owner does
		if err := b.Jobs().Publish(t.Context(), conversation, subject, generation, &events.GenerationJob{Generation: generation, System: large}); err != nil {
			t.Fatal(err)
		}
	}
	s := &bus.Sweeper{Bus: b, Unoffered: time.Hour}
	sweep(t, s, bus.Swept{})
	if err := b.Jobs().Drop(t.Context(), subject); err != nil {
		t.Fatal(err)
	}
	sweep(t, &bus.Sweeper{Bus: b, Unoffered: time.Hour, Grace: time.Hour}, bus.Swept{})
	sweep(t, s, bus.Swept{Objects: 2})
	if n := objects(); n != kept {
		t.Errorf("%d subjects are left in the object store, want %d", n, kept)
	}
}

func TestJobsThatNoTurnWaitsForArePurged(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	conversation := id()
	generation, call := id(), id()
	frame, err := events.AppendFrame(nil, &events.Decision{Events: []events.Line{}, State: events.State{Generation: generation, Calls: []events.CallState{{Call: call}}}})
	if err != nil {
		t.Fatal(err)
	}
	decision, err := b.Lane(topology.At(1, conversation, events.ChannelTurn)).Append(t.Context(), 0, frame)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(job events.Event) {
		t.Helper()
		name := id()
		subject, err := topology.ToolJob("f", name)
		if err == nil {
			err = b.Jobs().Publish(t.Context(), conversation, subject, name, job)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(&events.GenerationJob{Conversation: conversation, Generation: generation, Decision: decision})
	publish(&events.ToolJob{Conversation: conversation, Call: call, Decision: decision})
	publish(&events.ToolJob{Conversation: conversation, Call: id()})                    // a call without a turn
	publish(&events.ToolJob{Conversation: conversation, Call: id(), Decision: 1 << 20}) // of a later Decision
	publish(&events.ToolJob{Conversation: id(), Call: id(), Decision: 1})               // of what is not known
	publish(&events.UserMessage{Text: "no job"})                                        // a stranger's
	publish(&events.GenerationJob{Conversation: conversation, Generation: id(), Decision: decision})
	publish(&events.ToolJob{Conversation: conversation, Call: id(), Decision: decision, Arguments: events.Arguments(`"` + strings.Repeat("x", 2<<20) + `"`)})
	s := &bus.Sweeper{Bus: b, Unoffered: time.Hour}
	sweep(t, &bus.Sweeper{Bus: b, Unoffered: time.Hour, Grace: time.Hour}, bus.Swept{})
	sweep(t, s, bus.Swept{Jobs: 2, Objects: 1})
	sweep(t, s, bus.Swept{})
}
