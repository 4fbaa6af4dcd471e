package jobs_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/jobs"
)

func TestAJobThatComesAgainWhileItRunsHereIsNotRunTwice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ends error
		runs int // after the first
	}{
		"one that ends well":      {nil, 0},
		"one that is handed back": {jobs.RetryAfter(errors.New("later"), 10*time.Millisecond), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cut, steady, w := behind(t)
			q := queue(t, steady, 300*time.Millisecond, -1)
			var said logged
			worker := q
			worker.Bus, worker.log = cut, slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
			runs, end := make(chan int, 10), make(chan error)
			worker.work(t, 4, 0, func(_ context.Context, j jobs.Job) error { runs <- j.Delivery; return <-end })
			q.put(t, 1)
			take(t, runs)
			w.cut(true)
			<-time.After(600 * time.Millisecond) // twice the AckWait
			w.cut(false)
			eventually(t, func() bool { return strings.Contains(said.String(), "was delivered again while it runs here") }, "the job is not delivered again")
			end <- c.ends
			for range c.runs {
				take(t, runs)
				end <- nil
			}
			q.waitEmpty(t)
			if more := len(runs); more > 0 {
				t.Errorf("it ran %d times more", more)
			}
		})
	}
}

func TestARunningJobIsInProgressAtOnceWhenTheConnectionIsBack(t *testing.T) {
	t.Parallel()
	cut, steady, w := behind(t)
	q := queue(t, steady, time.Hour, -1) // the next heartbeat is in 20 minutes
	worker := q
	worker.Bus = cut
	runs, end := make(chan int, 1), make(chan error)
	worker.work(t, 1, 0, func(_ context.Context, j jobs.Job) error { runs <- j.Delivery; return <-end })
	nc, _ := steady.Raw()
	progress := make(chan string, 10)
	sub, err := nc.Subscribe("$JS.ACK.>", func(m *nats.Msg) {
		if strings.HasPrefix(string(m.Data), "+WPI") {
			progress <- m.Subject
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	q.put(t, 1)
	take(t, runs)
	w.cut(false)
	take(t, progress)
	end <- nil
	q.waitEmpty(t)
}

func TestAJobThatIsHandedBackForeverIsReported(t *testing.T) {
	t.Parallel()
	var said logged
	q := queue(t, inProcess(t), time.Minute, -1)
	q.log = slog.New(slog.NewTextHandler(&said, nil))
	runs := make(chan int, 1000)
	stop := q.work(t, 1, 0, func(_ context.Context, j jobs.Job) error {
		runs <- j.Delivery
		return jobs.RetryAfter(errors.New("the tool\nis missing"), 0)
	})
	call := q.put(t, 1)[0]
	for take(t, runs) < 100 {
	}
	stop()
	if text := said.String(); strings.Count(text, "handed back again and again") != 1 || !strings.Contains(text, call) || !strings.Contains(text, "the tool is missing") {
		t.Errorf("it printed:\n%s", text)
	}
}

// logged keeps what is logged.
type logged struct {
	mu  sync.Mutex
	all strings.Builder
}

// Write implements [io.Writer].
func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}
