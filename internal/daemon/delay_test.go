package daemon_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestAJobSaysHowLongToWaitNotUntilWhen acts as a worker with a wrong clock: a job
// holds a duration, not a time.
func TestAJobSaysHowLongToWaitNotUntilWhen(t *testing.T) {
	d := serve(t)
	d.run(d.orchestrator("orchestrator"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	id := newID(t)
	for _, e := range []events.Event{&events.Settings{ID: newID(t), Route: "x/m"}, &events.UserMessage{ID: newID(t), Text: "go"}} {
		if _, err := d.Conversation(id).Publish(ctx, newID(t), e); err != nil {
			t.Fatal(err)
		}
	}
	_, js := d.Raw()
	jobs := d.queueOf(ctx, js, "x")
	next := func() map[string]any {
		t.Helper()
		m, err := jobs.Next(jetstream.FetchContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		var job map[string]any
		if err := json.Unmarshal(m.Data(), &job); err != nil {
			t.Fatal(err)
		}
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
		return job
	}
	first := next()
	if first["delay_ms"] != nil {
		t.Errorf("the first job is for later: %v", first)
	}
	frame, err := events.AppendFrame(nil, &events.GenerationStarted{Origin: events.Origin{Attempt: "a"}, Generation: first["generation"].(string)},
		&events.GenerationEnded{Origin: events.Origin{Attempt: "a", Index: 1}, Generation: first["generation"].(string), Finish: events.FinishError,
			Error: &events.Error{Class: events.ErrOverloaded, Message: "busy", RetryAfterMS: 1500}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lane(topology.At(d.Shards(), id, events.ChannelGen)).Append(ctx, 0, frame); err != nil {
		t.Fatal(err)
	}
	second := next()
	if delay, ok := second["delay_ms"].(float64); !ok || delay > 1500*1.25 || delay < 500 || second["not_before_ms"] != nil {
		t.Errorf("the second job is %v", second)
	}
}

// queueOf waits for the queue of a route.
func (d *deployment) queueOf(ctx context.Context, js jetstream.JetStream, route string) jetstream.Consumer {
	d.t.Helper()
	q, err := topology.LLMQueue(route)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.Jobs().EnsureQueue(ctx, q); err != nil {
		d.t.Fatal(err)
	}
	c, err := js.Consumer(ctx, topology.StreamJobs, q.Consumer)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}
