package jobs_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/topology"
)

// decided appends a Decision with a state.
func decided(t *testing.T, b *bus.Bus, conversation string, state events.State) {
	t.Helper()
	frame, err := events.AppendFrame(nil, &events.Decision{Events: []events.Line{}, State: state})
	if err == nil {
		_, err = b.Lane(topology.At(b.Shards(), conversation, events.ChannelTurn)).Append(t.Context(), 0, frame)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// publishJob publishes a job's payload unchanged.
func publishJob(t *testing.T, b *bus.Bus, subject, id, payload string) {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(payload)
	m.Header.Set(nats.MsgIdHdr, id)
	_, js := b.Raw()
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func TestARejectedJobEndsWhatItWasFor(t *testing.T) {
	b := inProcess(t)
	rejects := func(context.Context, jobs.Job) error { return jobs.Reject(errors.New("it is not for this worker")) }

	t.Run("a generation", func(t *testing.T) {
		conversation, generation := id(), id()
		decided(t, b, conversation, events.State{Phase: events.PhaseGenerating, Turn: "t", Step: 2, Generation: generation})
		lane := gen(b, conversation)
		q, err := topology.LLMQueue("later/model")
		if err == nil {
			err = b.Jobs().EnsureQueue(t.Context(), q)
		}
		if err != nil {
			t.Fatal(err)
		}
		// One for a generation that nobody waits for takes no lane.
		publishJob(t, b, "jobs.llm.later."+id(), conversation+"/"+id(), `{"type":"GenerationJob","messages":7}`)
		publishJob(t, b, "jobs.llm.later."+generation, conversation+"/"+generation, `{"type":"GenerationJob","messages":7}`)
		testQueue{Bus: b, queue: q}.work(t, 1, 0, rejects)
		var last bus.Last
		eventually(t, func() bool {
			last, err = b.Lane(lane).Last(t.Context())
			return err != nil || last.Sequence > 0
		}, "nothing is on the lane")
		if err != nil || len(last.Lines) != 2 {
			t.Fatalf("the lane ends with %+v, %v", last, err)
		}
		start, end := last.Lines[0].Event.(*events.GenerationStarted), last.Lines[1].Event.(*events.GenerationEnded)
		if start.Generation != generation || end.Attempt != start.Attempt || end.Error == nil || !strings.Contains(end.Error.Message, `field "messages": a list is expected`) {
			t.Errorf("start %+v, end %+v", start, end)
		}
	})

	t.Run("a call", func(t *testing.T) {
		q := queue(t, b, 5*time.Second, 20)
		conversation, call := id(), id()
		lane := topology.OfCall(b.Shards(), conversation, events.ChannelCall, call)
		subject, err := topology.ToolJob(q.tool, call)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Jobs().Publish(t.Context(), conversation, subject, call, &events.ToolJob{Call: call}); err != nil {
			t.Fatal(err)
		}
		q.work(t, 1, 0, rejects)
		q.waitEmpty(t)
		q.deadLetter(t, subject)
		last, err := b.Lane(lane).Last(t.Context())
		if err != nil || len(last.Lines) != 2 {
			t.Fatalf("the lane ends with %+v, %v", last, err)
		}
		start, end := last.Lines[0].Event.(*events.ToolStarted), last.Lines[1].Event.(*events.ToolResult)
		if start.Call != call || end.Attempt != start.Attempt || end.Status != events.StatusFailed || !strings.Contains(end.Content, "not for this worker") {
			t.Errorf("start %+v, end %+v", start, end)
		}
	})

	t.Run("nothing, when it names no conversation", func(t *testing.T) {
		q := queue(t, b, 5*time.Second, 20)
		call := id()
		subject, err := topology.ToolJob(q.tool, call)
		if err != nil {
			t.Fatal(err)
		}
		publishJob(t, b, subject, call, `{"type":"ToolJob"}`)
		q.work(t, 1, 0, rejects)
		q.waitEmpty(t)
		q.deadLetter(t, subject)
	})
}

// TestADeadLetterIsTerminatedWithItsReason: the server's advisory has the reason.
func TestADeadLetterIsTerminatedWithItsReason(t *testing.T) {
	b := inProcess(t)
	q := queue(t, b, 5*time.Second, 20)
	nc, _ := b.Raw()
	advisories := make(chan *nats.Msg, 9)
	sub, err := nc.ChanSubscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.JOBS."+q.queue.Consumer, advisories)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	q.work(t, 1, 0, func(context.Context, jobs.Job) error { return jobs.Reject(errors.New("of\nno use")) })
	q.put(t, 1)
	if text := string(take(t, advisories).Data); !strings.Contains(text, `"reason":"of no use"`) {
		t.Errorf("the advisory is %s", text)
	}
	q.waitEmpty(t)
}
