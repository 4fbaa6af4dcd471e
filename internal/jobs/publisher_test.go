package jobs_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/topology"
)

func TestAPublishedMessageIsAJobOfItsQueue(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	_, js := b.Raw()
	pub := jobs.NewPublisher(b)
	call := id()
	for range 2 { // the second is the same job
		if err := pub.Publish("toollow_clock", message.NewMessage(call, []byte("{}"))); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := js.Stream(t.Context(), topology.StreamJobs)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil || info.State.Msgs != 1 {
		t.Fatalf("%d jobs are stored, %v", info.State.Msgs, err)
	}
	if m, err := stream.GetLastMsgForSubject(t.Context(), "jobs.tool.clock.low."+call); err != nil || string(m.Data) != "{}" {
		t.Errorf("the job is %v, %v", m, err)
	}
	for topic, id := range map[string]string{"clock": call, "tool_a.b": call, "tool_clock": "x", "llm_x": "", jobs.DeadLetters: call} {
		if err := pub.Publish(topic, message.NewMessage(id, nil)); !errors.Is(err, topology.ErrBadID) {
			t.Errorf("%s to %s: %v", id, topic, err)
		}
	}
	if err := pub.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pub.Publish("tool_clock", message.NewMessage(call, nil)); !errors.Is(err, jobs.ErrClosed) {
		t.Errorf("a publisher that is closed: %v", err)
	}
}

// TestHeadersOfAPublisherDecideNothing publishes a message with headers that ask for
// a delay and for a dead letter, and hands it back.
func TestHeadersOfAPublisherDecideNothing(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	q := queue(t, b, time.Minute, -1)
	m := nats.NewMsg(q.queue.Subject(id()))
	m.Data = []byte(`{"type":"ToolJob"}`)
	for key, value := range map[string]string{delay.DelayedForKey: "1h", middleware.ReasonForPoisonedKey: "because", "Nats-Other": "x", "own": "kept"} {
		m.Header.Set(key, value)
	}
	_, js := b.Raw()
	if _, err := js.PublishMsg(t.Context(), m, jetstream.WithMsgID("a/b")); err != nil {
		t.Fatal(err)
	}
	sub := jobs.NewSubscriber(b, jobs.SubscriberConfig{})
	defer func() { _ = sub.Close() }()
	messages, err := sub.Subscribe(t.Context(), q.queue.Consumer)
	if err != nil {
		t.Fatal(err)
	}
	first := take(t, messages)
	if meta := first.Metadata; len(meta) != 2 || meta.Get("own") != "kept" || meta.Get(jetstream.MsgIDHeader) != "a/b" {
		t.Errorf("the metadata is %v", meta)
	}
	first.Nack()
	take(t, messages).Ack()
	q.waitEmpty(t)
}

func TestWhatIsOutWhenASubscriberIsClosedIsHandedBack(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	q := queue(t, b, time.Minute, -1)
	q.put(t, 2)
	const release = 200 * time.Millisecond
	sub := jobs.NewSubscriber(b, jobs.SubscriberConfig{Slots: 2, Release: release})
	messages, err := sub.Subscribe(t.Context(), q.queue.Consumer)
	if err != nil {
		t.Fatal(err)
	}
	late, never := take(t, messages), take(t, messages)
	context.AfterFunc(late.Context(), func() { late.Ack() }) // in time
	began := time.Now()
	if err := errors.Join(sub.Close(), sub.Close()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < release {
		t.Errorf("closed after %v with a message out", took)
	}
	if _, open := <-messages; open || never.Context().Err() == nil {
		t.Error("the subscription has not ended")
	}
	if _, err := sub.Subscribe(t.Context(), q.queue.Consumer); !errors.Is(err, jobs.ErrClosed) {
		t.Errorf("subscribe again: %v", err)
	}
	again := make(chan int, 9)
	q.work(t, 3, 0, func(_ context.Context, j jobs.Job) error { again <- j.Delivery; return nil })
	if n := take(t, again); n != 2 {
		t.Errorf("delivery %d", n)
	}
	q.waitEmpty(t)
	if more := len(again); more > 0 {
		t.Errorf("%d jobs more are delivered", more)
	}
}
