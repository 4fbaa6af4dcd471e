package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/jobs/metrics"
	"github.com/parleybus/parley/internal/topology"
)

func TestMain(m *testing.M) {
	// nats-server waits some seconds for a source that was shut down with it.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

// TestJobsAreCounted runs jobs in two pools of a process: one job ends well, one
// is handed back once, one panics and is handed back once.
func TestJobsAreCounted(t *testing.T) {
	s, err := broker.Start(broker.Config{Dir: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	b, err := bus.Connect(t.Context(), bus.Config{Options: []nats.Option{s.InProcess()}}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	registry := prometheus.NewRegistry()
	const jobsRun = 3
	done, ended := make(chan struct{}, jobsRun), make(chan error, 2)
	ctx, stop := context.WithCancel(t.Context())
	handle := func(_ context.Context, j jobs.Job) error {
		first := j.Delivery == 1
		switch j.Event.(*events.ToolJob).Tool {
		case "later":
			if first {
				return jobs.RetryAfter(errors.New("not now"), 0)
			}
		case "broken":
			if first {
				panic("a bug")
			}
		}
		done <- struct{}{}
		return nil
	}
	for _, name := range []string{"tool_a", "tool_b"} {
		q, err := topology.QueueNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		pool := jobs.WorkerPool{Bus: b, Metrics: metrics.Prometheus(registry), Queues: map[topology.Queue]jobs.Work{q: {Handle: handle}}}
		go func() { ended <- pool.Run(ctx) }()
	}
	for tool, name := range map[string]string{"fine": "a", "later": "a", "broken": "b"} {
		call := uuid.Must(uuid.NewV7()).String()
		subject, err := topology.ToolJob(name, call)
		if err == nil {
			err = b.Jobs().Publish(t.Context(), call, subject, call, &events.ToolJob{Call: call, Tool: tool})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for range jobsRun {
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the jobs do not end")
		}
	}
	stop()
	if err := errors.Join(<-ended, <-ended); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"handler_execution_time_seconds tool_a true":       2,
		"handler_execution_time_seconds tool_a false":      1,
		"handler_execution_time_seconds tool_b true":       1,
		"handler_execution_time_seconds tool_b false":      1,
		"subscriber_messages_received_total acked tool_a":  2,
		"subscriber_messages_received_total nacked tool_a": 1,
		"subscriber_messages_received_total acked tool_b":  1,
		"subscriber_messages_received_total nacked tool_b": 1,
	}
	var got map[string]float64
	// The component counts an Ack on a goroutine of its own.
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if got = counted(t, registry); fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("it counts %v,\nwant %v", got, want)
}

// counted returns what a registry has counted of jobs, by metric and labels.
func counted(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), "parley_jobs_")
		if !ours {
			t.Errorf("metric %s is not named as ours", f.GetName())
		}
		for _, m := range f.GetMetric() {
			key := name
			for _, l := range m.GetLabel() {
				if l.GetName() != "subscriber_name" {
					key += " " + l.GetValue()
				}
			}
			all[key] += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}
