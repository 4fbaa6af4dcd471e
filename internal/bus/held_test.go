package bus_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestAnAcknowledgedJobThatIsThereAgainIsPublishedAgain: a server that was killed may have
// kept that a job was acknowledged, and not that it was removed. Its queue never delivers
// it, and its subject is taken.
func TestAnAcknowledgedJobThatIsThereAgainIsPublishedAgain(t *testing.T) {
	t.Parallel()
	l := newLogs(t)
	call, conversation := id(), id()
	q, err := topology.ToolQueue("clock")
	if err != nil {
		t.Fatal(err)
	}
	subject, err := topology.ToolJob("clock", call)
	if err != nil {
		t.Fatal(err)
	}
	job := &events.ToolJob{Call: call, Tool: "clock"}
	jobs := l.bus.Jobs()
	if err := errors.Join(jobs.EnsureQueue(t.Context(), q), jobs.Publish(t.Context(), conversation, subject, call, job)); err != nil {
		t.Fatal(err)
	}
	if held, err := jobs.Hold(t.Context(), subject); err != nil || !held {
		t.Fatalf("a job that waits: %v, %v", held, err)
	}
	msgs, backup := filepath.Join(l.dir, "jetstream", "$G", "streams", topology.StreamJobs, "msgs"), filepath.Join(t.TempDir(), "msgs")
	l.stop()
	if err := os.CopyFS(backup, os.DirFS(msgs)); err != nil {
		t.Fatal(err)
	}
	l.start()
	taken := func() jetstream.Msg {
		_, js := l.bus.Raw()
		cons, err := js.Consumer(t.Context(), topology.StreamJobs, q.Consumer)
		if err != nil {
			t.Fatal(err)
		}
		m, err := cons.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := taken()
	if held, err := l.bus.Jobs().Hold(t.Context(), subject); err != nil || !held {
		t.Errorf("a job that a worker has: %v, %v", held, err)
	}
	if err := m.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.stop()
	if err := errors.Join(os.RemoveAll(msgs), os.CopyFS(msgs, os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	l.start()
	jobs = l.bus.Jobs()
	if held, err := jobs.Hold(t.Context(), subject); err != nil || held {
		t.Errorf("a job that was acknowledged: %v, %v", held, err)
	}
	for range 2 {
		if err := jobs.PublishAgain(t.Context(), conversation, subject, call, job); err != nil {
			t.Fatal(err)
		}
	}
	if m = taken(); m.Subject() != subject {
		t.Errorf("the job of %s is delivered", m.Subject())
	}
	if held, err := jobs.Hold(t.Context(), subject); err != nil || !held {
		t.Errorf("a job that a worker has again: %v, %v", held, err)
	}
	if err := m.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if held, err := jobs.Hold(t.Context(), subject); err != nil || held {
		t.Errorf("a job that is done: %v, %v", held, err)
	}
}
