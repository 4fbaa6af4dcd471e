package bus_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// nextJob takes the next job of a tool off its queue.
func nextJob(t *testing.T, b *bus.Bus, tool string) *events.ToolJob {
	t.Helper()
	queue, err := topology.ToolQueue(tool)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Jobs().EnsureQueue(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	_, js := b.Raw()
	jobs, err := js.Consumer(t.Context(), topology.StreamJobs, queue.Consumer)
	if err != nil {
		t.Fatal(err)
	}
	m, err := jobs.Next(jetstream.FetchMaxWait(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := events.DecodeFrame(m.Data())
	if err != nil {
		t.Fatal(err)
	}
	return lines[0].Event.(*events.ToolJob)
}

func TestACallEndsByTheResultOfTheAttemptThatRuns(t *testing.T) {
	b := inProcess(t)
	type ending struct {
		*events.ToolResult
		error
	}
	ended := make(chan ending, 1)
	go func() {
		r, err := b.Jobs().Call(within(t, 30*time.Second), bus.Call{Tool: events.ToolSpec{Name: "f", Effect: "mild"}, Arguments: json.RawMessage("{}")})
		ended <- ending{r, err}
	}()
	job := nextJob(t, b, "f")
	if job.Effect != events.EffectOnce {
		t.Errorf("the job has the effect class %q", job.Effect)
	}
	lane := topology.OfCall(b.Shards(), job.Conversation, events.ChannelCall, job.Call)
	var at uint64
	for _, e := range []events.Event{
		&events.ToolResult{Call: job.Call, Status: events.StatusOK, Content: "unasked"},
		&events.ToolStarted{Call: job.Call, Attempt: "a"},
		&events.ToolResult{Call: job.Call, Attempt: "stranger", Status: events.StatusOK, Content: "a stranger's"},
		&events.ToolStarted{Call: job.Call, Attempt: "b"},
		&events.ToolResult{Call: job.Call, Attempt: "a", Status: events.StatusOK, Content: "of one that was replaced"},
		&events.ToolResult{Call: job.Call, Attempt: "b", Status: events.StatusOK, Content: "the result"},
	} {
		frame, err := events.AppendFrame(nil, e)
		if err == nil {
			at, err = b.Lane(lane).Append(t.Context(), at, frame)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if end := take(t, ended); end.error != nil || end.Content != "the result" {
		t.Errorf("the call ended with %+v, %v", end.ToolResult, end.error)
	}
}
