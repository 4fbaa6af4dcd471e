package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// behind gives a connection through a proxy, and one that the proxy does not cut.
func behind(t *testing.T) (cut, steady *bus.Bus, p *proxy) {
	t.Helper()
	s := start(t)
	steady = join(t, s.URL())
	p = through(t, s.URL())
	return join(t, p.url()), steady, p
}

func TestAJobThatComesAgainWhileItRunsHereIsNotRunTwice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ends error
		runs int // after the first
	}{
		"one that ends well":      {nil, 0},
		"one that is handed back": {bus.RetryAfter(errors.New("later"), 10*time.Millisecond), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cut, steady, p := behind(t)
			q := queue(t, steady, 300*time.Millisecond, -1)
			worker := q
			worker.Bus = cut
			runs, end := make(chan int, 10), make(chan error)
			worker.work(t, 4, 0, func(_ context.Context, j bus.Job) error { runs <- j.Delivery; return <-end })
			q.put(t, 1)
			take(t, runs)
			p.refuse(true)
			p.cut()
			<-time.After(600 * time.Millisecond) // until its time is over twice
			p.refuse(false)
			until(t, func() bool {
				info, err := q.cons.Info(t.Context())
				return err == nil && info.NumRedelivered == 1
			}, "the job is not handed out again")
			end <- c.ends
			for range c.runs {
				take(t, runs)
				end <- nil
			}
			q.settled(t)
			if more := len(runs); more > 0 {
				t.Errorf("it ran %d times more", more)
			}
		})
	}
}

func TestARunningJobIsInProgressAtOnceWhenTheConnectionIsBack(t *testing.T) {
	t.Parallel()
	cut, steady, p := behind(t)
	q := queue(t, steady, time.Hour, -1) // the next beat is in 20 minutes
	worker := q
	worker.Bus = cut
	runs, end := make(chan int, 1), make(chan error)
	worker.work(t, 1, 0, func(_ context.Context, j bus.Job) error { runs <- j.Delivery; return <-end })
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
	p.cut()
	take(t, progress)
	end <- nil
	q.settled(t)
}

func TestAWorkerIsGoneWhenNobodyCouldHaveMissedIt(t *testing.T) {
	t.Parallel()
	const ttl = 500 * time.Millisecond
	cut, steady, p := behind(t)
	_, js := steady.Raw()
	for _, cfg := range (topology.Plan{}).Buckets() {
		if cfg.Bucket == topology.BucketPresence {
			cfg.TTL = ttl
			if _, err := js.UpdateKeyValue(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone := func(sure bool) bool {
		t.Helper()
		wait, err := cut.UntilGone(t.Context(), "other", sure)
		if err != nil {
			t.Fatal(err)
		}
		return wait == 0
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	offers := []bus.Offer{{Kind: "llm", Name: "x", Worker: "other"}}
	if err := steady.Announce(ctx, offers); err != nil {
		t.Fatal(err)
	}
	go func() { left <- steady.StayPresent(ctx, offers) }()
	<-time.After(2 * ttl)
	if gone(false) || gone(true) {
		t.Error("a worker that is present is gone")
	}
	p.cut()
	until(t, func() bool { return !cut.Connected() }, "the connection is not cut")
	until(t, cut.Connected, "the connection does not come back")
	leave()
	<-left
	back := time.Now()
	if gone(false) {
		t.Error("a worker is gone for somebody who has just come back")
	}
	until(t, func() bool { return gone(false) }, "it is never gone")
	if took := time.Since(back); took < ttl*9/10 {
		t.Errorf("it is gone after %v: an announcement lives for %v", took, ttl)
	}
	if wait, err := cut.UntilGone(t.Context(), "another", true); wait == 0 || err != nil {
		t.Errorf("a worker that was missed for the first time is gone for sure: %v", err)
	}
	until(t, func() bool { return gone(true) }, "it is never gone for sure")
}

func TestAJobThatIsHandedBackForeverIsReported(t *testing.T) {
	t.Parallel()
	s := start(t)
	var said logged
	b, err := bus.Connect(t.Context(), bus.Config{Log: slog.New(slog.NewTextHandler(&said, nil)), Options: []nats.Option{s.InProcess()}}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	q := queue(t, b, time.Minute, -1)
	runs := make(chan int, 1000)
	stop := q.work(t, 1, 0, func(_ context.Context, j bus.Job) error {
		runs <- j.Delivery
		return bus.RetryAfter(errors.New("the tool\nis missing"), 0)
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
