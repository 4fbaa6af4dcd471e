package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/topology"
)

// testQueue is a queue with a short AckWait, its consumer and the dead letters.
type testQueue struct {
	*bus.Bus
	queue topology.Queue
	tool  string
	cons  jetstream.Consumer
	dead  jetstream.Stream
	log   *slog.Logger // of the pool; may be nil
}

func queue(t *testing.T, b *bus.Bus, ackWait time.Duration, deliveries int) testQueue {
	t.Helper()
	tool := "tool_" + strings.ReplaceAll(id(), "-", "")
	q, err := topology.ToolQueue(tool)
	if err != nil {
		t.Fatal(err)
	}
	cfg := q.ConsumerConfig()
	cfg.AckWait, cfg.MaxDeliver = ackWait, deliveries
	_, js := b.Raw()
	cons, err := js.CreateOrUpdateConsumer(t.Context(), topology.StreamJobs, cfg)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := js.Stream(t.Context(), topology.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	return testQueue{Bus: b, queue: q, tool: tool, cons: cons, dead: dead}
}

// put puts n jobs in the queue and returns the calls' ids.
func (q testQueue) put(t *testing.T, n int) []string {
	t.Helper()
	var calls []string
	for range n {
		call := id()
		subject, err := topology.ToolJob(q.tool, call)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Jobs().Publish(t.Context(), id(), subject, call, &events.ToolJob{Call: call, Tool: q.tool}); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, call)
	}
	return calls
}

// work runs a worker pool on the queue until stop is called, which waits for it.
func (q testQueue) work(t *testing.T, slots int, drain time.Duration, handle jobs.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	w := jobs.WorkerPool{Bus: q.Bus, Log: q.log, Drain: drain, Queues: map[topology.Queue]jobs.Work{q.queue: {Handle: handle, Slots: slots}}}
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the worker pool does not stop")
		}
	})
	t.Cleanup(stop)
	return stop
}

// waitEmpty waits until the queue has no job left.
func (q testQueue) waitEmpty(t *testing.T) {
	t.Helper()
	q.waitCounts(t, 0, 0)
}

// waitCounts waits until the queue has so many pending and so many unacknowledged
// jobs: the server counts what was published or acknowledged a moment later.
func (q testQueue) waitCounts(t *testing.T, waiting, out int) {
	t.Helper()
	var info *jetstream.ConsumerInfo
	defer func() {
		if t.Failed() {
			t.Logf("%d jobs are pending and %d unacknowledged, want %d and %d", info.NumPending, info.NumAckPending, waiting, out)
		}
	}()
	eventually(t, func() bool {
		var err error
		if info, err = q.cons.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
		return int(info.NumPending) == waiting && info.NumAckPending == out
	}, "the queue does not reach the expected counts")
}

func (q testQueue) deadLetter(t *testing.T, subject string) *jetstream.RawStreamMsg {
	t.Helper()
	var m *jetstream.RawStreamMsg
	eventually(t, func() (ok bool) {
		var err error
		m, err = q.dead.GetLastMsgForSubject(t.Context(), topology.DeadSubject(subject))
		return err == nil
	}, "no dead letter of "+subject)
	return m
}

func TestJobSteering(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	failed := errors.New("the tool\nis out of order")
	for name, c := range map[string]struct {
		first   error // of the first delivery; the second is fine
		again   bool
		soonest time.Duration
		latest  time.Duration
	}{
		"nil acknowledges it":                      {first: nil},
		"an error redelivers it after a second":    {first: failed, again: true, soonest: 900 * time.Millisecond, latest: 3 * time.Second},
		"RetryAfter redelivers it after its delay": {first: jobs.RetryAfter(failed, 200*time.Millisecond), again: true, soonest: 150 * time.Millisecond, latest: 900 * time.Millisecond},
		"RetryAfter of zero redelivers it at once": {first: fmt.Errorf("wrapped: %w", jobs.RetryAfter(failed, 0)), again: true, latest: 400 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := queue(t, b, 5*time.Second, 20)
			type delivery struct {
				jobs.Job
				at time.Time
			}
			deliveries := make(chan delivery, 9)
			q.work(t, 2, 0, func(_ context.Context, j jobs.Job) error {
				deliveries <- delivery{j, time.Now()}
				if j.Delivery == 1 {
					return c.first
				}
				return nil
			})
			call := q.put(t, 1)[0]
			first := take(t, deliveries)
			if first.Delivery != 1 || first.Event.(*events.ToolJob).Call != call || !strings.HasSuffix(first.Subject, call) {
				t.Errorf("first delivery is %+v", first)
			}
			if c.again {
				second := take(t, deliveries)
				if d := second.at.Sub(first.at); second.Delivery != 2 || d < c.soonest || d > c.latest {
					t.Errorf("delivery %d came after %s", second.Delivery, d)
				}
			}
			q.waitEmpty(t)
			if n := len(deliveries); n > 0 {
				t.Errorf("%d deliveries more", n)
			}
		})
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	_, js := b.Raw()
	fine := func(context.Context, jobs.Job) error { return nil }
	rejects := func(context.Context, jobs.Job) error {
		return fmt.Errorf("on second thought: %w", jobs.Reject(errors.New("the tool is\nunknown")))
	}
	for name, c := range map[string]struct {
		payload string
		handle  jobs.Handler
		reason  string
	}{
		"a job that its handler rejects":       {`{"type":"ToolJob","call":"c"}`, rejects, "the tool is unknown"},
		"a payload that is not JSON":           {"\x00\xff not json", fine, "line 1 of the frame"},
		"an empty payload":                     {"", fine, "the frame is empty"},
		"a payload of the wrong shape":         {`{"type":"ToolJob","call":7}`, fine, "event ToolJob"},
		"a claim of an object that is missing": {`{"type":"Claim","of":"ToolJob","object":{"bucket":"PARLEY_OBJECTS","name":"gone","size":1,"sha256":""}}`, fine, "there is no object"},
		"a claim on somebody else's bucket":    {`{"type":"Claim","of":"ToolJob","object":{"bucket":"OTHER","name":"x","size":1,"sha256":""}}`, fine, "not one of Parley's"},
		"a job that fails on every delivery":   {`{"type":"ToolJob","call":"c"}`, func(context.Context, jobs.Job) error { return jobs.RetryAfter(errors.New("no luck"), 0) }, "given up after delivery 3: no luck"},
		"a job whose handler panics each time": {`{"type":"ToolJob","call":"c"}`, func(context.Context, jobs.Job) error { panic("a bug in a tool") }, "a bug in a tool"},
		"a payload that fills its message":     {strings.Repeat("x", 1<<20-300), fine, "line 1 of the frame"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := queue(t, b, 5*time.Second, 3)
			subject, err := topology.ToolJob(q.tool, id())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(t.Context(), subject, []byte(c.payload)); err != nil {
				t.Fatal(err)
			}
			q.work(t, 1, 0, c.handle)
			m := q.deadLetter(t, subject)
			if why := m.Header.Get("Parley-Reason"); !strings.Contains(why, c.reason) || strings.Contains(why, "\n") || len(why) > 1024 {
				t.Errorf("reason %q, want %q in it", why, c.reason)
			}
			if !strings.HasPrefix(c.payload, string(m.Data)) || len(m.Data) < len(c.payload) && m.Header.Get("Parley-Size") == "" {
				t.Errorf("the dead letter has %d of %d bytes", len(m.Data), len(c.payload))
			}
			q.waitEmpty(t)
		})
	}
}

func TestJobLivesLongerThanTheAckWait(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	q := queue(t, b, time.Second, 20)
	deliveries, let := make(chan int, 9), make(chan struct{})
	q.work(t, 2, 0, func(_ context.Context, j jobs.Job) error {
		deliveries <- j.Delivery
		<-let
		return nil
	})
	q.put(t, 1)
	take(t, deliveries)
	select {
	case n := <-deliveries:
		t.Errorf("delivered again (%d) while it ran", n)
	case <-time.After(2500 * time.Millisecond):
	}
	close(let)
	q.waitEmpty(t)
}

func TestSlots(t *testing.T) {
	b := inProcess(t)
	q := queue(t, b, 5*time.Second, 20)
	let := make(chan struct{})
	one, two := make(chan string, 99), make(chan string, 99)
	hold := func(took chan string) jobs.Handler {
		return func(_ context.Context, j jobs.Job) error {
			took <- j.Subject
			<-let
			return nil
		}
	}
	q.work(t, 3, 0, hold(one))
	q.work(t, 4, 0, hold(two))
	q.put(t, 20)
	for range 3 {
		take(t, one)
	}
	for range 4 {
		take(t, two)
	}
	q.waitCounts(t, 13, 7)
	if n := len(one) + len(two); n > 0 {
		t.Errorf("with 7 slots %d jobs more were taken", n)
	}
	close(let)
	q.waitEmpty(t)
	if len(one)+len(two) != 13 {
		t.Errorf("of the other 13 the pools took %d and %d", len(one), len(two))
	}
}

func TestAWorkerPoolStops(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	t.Run("handing back running jobs at once", func(t *testing.T) {
		q := queue(t, b, 30*time.Second, 20)
		began := make(chan struct{}, 9)
		stop := q.work(t, 2, 0, func(ctx context.Context, _ jobs.Job) error {
			began <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		q.put(t, 2)
		take(t, began)
		take(t, began)
		stop()
		again := make(chan int, 9)
		q.work(t, 2, 0, func(_ context.Context, j jobs.Job) error { again <- j.Delivery; return nil })
		if n := take(t, again) + take(t, again); n != 4 {
			t.Errorf("deliveries sum to %d, want 2 and 2", n)
		}
		q.waitEmpty(t)
	})
	t.Run("after running jobs have ended, within the drain timeout", func(t *testing.T) {
		q := queue(t, b, 5*time.Second, 20)
		began, let := make(chan struct{}, 9), make(chan struct{})
		stop := q.work(t, 1, 5*time.Second, func(ctx context.Context, _ jobs.Job) error {
			began <- struct{}{}
			<-let
			return ctx.Err()
		})
		q.put(t, 2)
		take(t, began)
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		select {
		case <-stopped:
			t.Error("stopped while a job ran")
		case <-time.After(100 * time.Millisecond):
		}
		close(let)
		take(t, stopped)
		q.waitCounts(t, 1, 0)
	})
	t.Run("handing back running jobs when the drain timeout is over", func(t *testing.T) {
		q := queue(t, b, 5*time.Second, 20)
		began := make(chan struct{}, 9)
		stop := q.work(t, 1, 100*time.Millisecond, func(ctx context.Context, _ jobs.Job) error {
			began <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		q.put(t, 1)
		take(t, began)
		stop()
		q.waitCounts(t, 0, 1) // the server counts a job that was handed back as unacknowledged
	})
}

// TestWhatIsHandedBackGoesToAnotherWorker stops a worker that waits for one more job
// and hands back what it has at that moment: its own request for jobs does not get it.
func TestWhatIsHandedBackGoesToAnotherWorker(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	q := queue(t, b, time.Minute, -1)
	took := make(chan int)
	for range 200 {
		began := make(chan struct{})
		stop := q.work(t, 2, 0, func(ctx context.Context, _ jobs.Job) error {
			close(began)
			<-ctx.Done()
			return ctx.Err()
		})
		q.put(t, 1)
		take(t, began)
		stopped := make(chan struct{})
		stopOther := q.work(t, 1, 0, func(_ context.Context, j jobs.Job) error { took <- j.Delivery; return nil })
		go func() { stop(); close(stopped) }()
		if n := take(t, took); n != 2 {
			t.Fatalf("delivery %d", n)
		}
		take(t, stopped)
		stopOther()
	}
}

func TestJobPublishedTwiceRunsOnce(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	q := queue(t, b, 5*time.Second, 20)
	conversation, call := id(), id()
	subject, err := topology.ToolJob(q.tool, call)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("large ", 400_000) // by reference
	for range 3 {
		job := &events.ToolJob{Call: call, Tool: q.tool, Arguments: fmt.Appendf(nil, `{"text":%q}`, want)}
		if err := q.Jobs().Publish(t.Context(), conversation, subject, call, job); err != nil {
			t.Fatal(err)
		}
	}
	q.waitCounts(t, 1, 0)
	took := make(chan string, 9)
	q.work(t, 1, 0, func(_ context.Context, j jobs.Job) error {
		took <- string(j.Event.(*events.ToolJob).Arguments)
		return nil
	})
	if got := take(t, took); got != `{"text":"`+want+`"}` {
		t.Errorf("the job's arguments came back as %d bytes", len(got))
	}
	q.waitEmpty(t)
}

func TestQueueThatWasRemovedIsCreatedAgain(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	q := queue(t, b, 5*time.Second, 20)
	if err := b.Jobs().EnsureQueue(t.Context(), q.queue); err != nil {
		t.Fatal(err)
	}
	took := make(chan struct{}, 9)
	q.work(t, 1, 0, func(context.Context, jobs.Job) error { took <- struct{}{}; return nil })
	q.put(t, 1)
	take(t, took)
	_, js := b.Raw()
	if err := js.DeleteConsumer(t.Context(), topology.StreamJobs, q.queue.Consumer); err != nil {
		t.Fatal(err)
	}
	q.put(t, 1)
	take(t, took)
}
