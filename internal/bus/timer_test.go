package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// followDue follows what fires in shard 0 until the test or stop ends it.
func followDue(t *testing.T, b *bus.Bus) (due <-chan bus.Due, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	fired := make(chan bus.Due, 20_000)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Shard(0).FollowDue(ctx, func(d bus.Due) error { fired <- d; return nil })
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := take(t, ended); !errors.Is(err, context.Canceled) {
			t.Errorf("following ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return fired, stop
}

func set(t *testing.T, b *bus.Bus, conversation string, at time.Time) {
	t.Helper()
	if err := b.Timers().Set(t.Context(), conversation, at); err != nil {
		t.Fatal(err)
	}
}

func drop(t *testing.T, b *bus.Bus, d bus.Due) {
	t.Helper()
	if err := b.Timers().DropDue(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func waiting(t *testing.T, b *bus.Bus) []string {
	t.Helper()
	ids, err := b.Timers().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

func soon() time.Time { return time.Now().Add(300 * time.Millisecond) }

func TestTimersFire(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  func(t *testing.T, b *bus.Bus, conversation string) (at time.Time)
		most time.Duration // after at, or after it was set
	}{
		"at their time, not before": {func(t *testing.T, b *bus.Bus, conversation string) time.Time {
			at := soon()
			set(t, b, conversation, at)
			return at
		}, 5 * time.Second},
		"at once when the time has passed": {func(t *testing.T, b *bus.Bus, conversation string) time.Time {
			at := time.Now().Add(-time.Hour)
			set(t, b, conversation, at)
			return at
		}, time.Hour + 5*time.Second},
		"at once when the time is none": {func(t *testing.T, b *bus.Bus, conversation string) time.Time {
			set(t, b, conversation, time.Time{})
			return time.UnixMilli(1)
		}, 100 * 365 * 24 * time.Hour},
		"at the later time when they were put off": {func(t *testing.T, b *bus.Bus, conversation string) time.Time {
			set(t, b, conversation, soon())
			at := soon().Add(300 * time.Millisecond)
			set(t, b, conversation, at)
			return at
		}, 5 * time.Second},
		"at the earlier time when they were brought forward": {func(t *testing.T, b *bus.Bus, conversation string) time.Time {
			set(t, b, conversation, time.Now().Add(time.Hour))
			at := soon()
			set(t, b, conversation, at)
			return at
		}, 5 * time.Second},
		"when they were taken back and set again": {func(t *testing.T, b *bus.Bus, conversation string) time.Time {
			set(t, b, conversation, soon())
			if err := b.Timers().Stop(t.Context(), conversation); err != nil {
				t.Fatal(err)
			}
			at := soon()
			set(t, b, conversation, at)
			return at
		}, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inProcess(t)
			due, _ := followDue(t, b)
			conversation := id()
			at := c.set(t, b, conversation)
			d := take(t, due)
			late := time.Since(at)
			if want := time.UnixMilli(at.Add(time.Millisecond - 1).UnixMilli()).UTC(); d.Conversation != conversation || d.At != want {
				t.Errorf("fired: %+v, want %s at %s", d, conversation, want)
			}
			if late < 0 || late > c.most {
				t.Errorf("fired %s after its time", late)
			}
			if got := waiting(t, b); !slices.Equal(got, []string{conversation}) {
				t.Errorf("before the due is dropped, %v wait", got)
			}
			drop(t, b, d)
			drop(t, b, d)
			if got := waiting(t, b); len(got) > 0 || len(due) > 0 {
				t.Errorf("afterwards %v wait, and %d fired", got, len(due))
			}
		})
	}
}

func TestStoppedTimersDoNotFire(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	due, _ := followDue(t, b)
	stopped, other := id(), id()
	if err := b.Timers().Stop(t.Context(), stopped); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	set(t, b, stopped, soon())
	set(t, b, other, soon().Add(300*time.Millisecond))
	if got, want := waiting(t, b), []string{stopped, other}; !slices.Equal(got, want) {
		t.Errorf("%v wait, want %v", got, want)
	}
	if err := b.Timers().Stop(t.Context(), stopped); err != nil {
		t.Fatal(err)
	}
	if got := waiting(t, b); !slices.Equal(got, []string{other}) {
		t.Errorf("%v wait", got)
	}
	if d := take(t, due); d.Conversation != other {
		t.Errorf("%+v fired", d)
	}
}

func TestTimersRefuseWhatIsNone(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	for _, bad := range []string{"", "*", ">", "a.b", strings.ToUpper(id())} {
		for what, err := range map[string]error{
			"set": b.Timers().Set(t.Context(), bad, soon()), "stop": b.Timers().Stop(t.Context(), bad), "drop": b.Timers().DropDue(t.Context(), bus.Due{Conversation: bad}),
		} {
			if !errors.Is(err, topology.ErrBadID) {
				t.Errorf("%s %q: %v", what, bad, err)
			}
		}
	}
	if err := b.Timers().Set(t.Context(), id(), time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)); err == nil || !strings.Contains(err.Error(), "10000") {
		t.Errorf("the year 10000: %v", err)
	}
	if got := waiting(t, b); len(got) > 0 {
		t.Errorf("%v wait", got)
	}
}

func TestDuesAreDeliveredUntilTheyAreDropped(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	conversation := id()
	due, stop := followDue(t, b)
	set(t, b, conversation, soon())
	first := take(t, due)
	stop()
	t.Run("to the next follower, first of all", func(t *testing.T) {
		due, _ := followDue(t, b)
		if d := take(t, due); d != first {
			t.Errorf("%+v, want %+v", d, first)
		}
	})
	t.Run("and an error of its ends a follower", func(t *testing.T) {
		why := errors.New("why")
		if err := b.Shard(0).FollowDue(t.Context(), func(bus.Due) error { return why }); !errors.Is(err, why) {
			t.Error(err)
		}
	})
	t.Run("and a later one replaces the others", func(t *testing.T) {
		set(t, b, conversation, soon())
		due, _ := followDue(t, b)
		d := take(t, due)
		for d == first { // it had not fired yet
			d = take(t, due)
		}
		if d.Sequence <= first.Sequence || !d.At.After(first.At) {
			t.Errorf("%+v after %+v", d, first)
		}
		drop(t, b, first)
		if got := waiting(t, b); !slices.Equal(got, []string{conversation}) {
			t.Errorf("the later one was dropped with the first: %v wait", got)
		}
		drop(t, b, d)
	})
	t.Run("and no longer", func(t *testing.T) {
		due, _ := followDue(t, b)
		other := id()
		set(t, b, other, time.Now())
		if d := take(t, due); d.Conversation != other {
			t.Errorf("%+v", d)
		}
	})
}

func TestDuesThatCannotBeReadAreDeadLetters(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	_, js := b.Raw()
	good := topology.Due(1, id())
	bad := map[string]string{"due.0.nobody": `{"at_ms":1}`, topology.Due(1, id()): "at once", topology.Due(1, id()): `{"at_ms":-1}`, topology.Due(1, id()): `{}`, topology.Due(1, id()): ""}
	for subject, payload := range bad {
		if _, err := js.Publish(t.Context(), subject, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Publish(t.Context(), good, []byte(`{"at_ms":5}`)); err != nil {
		t.Fatal(err)
	}
	due, _ := followDue(t, b)
	if d := take(t, due); topology.Due(1, d.Conversation) != good || d.At != time.UnixMilli(5).UTC() {
		t.Errorf("%+v", d)
	}
	dead, err := js.Stream(t.Context(), topology.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	for subject, payload := range bad {
		m, err := dead.GetLastMsgForSubject(t.Context(), topology.DeadSubject(subject))
		if err != nil || string(m.Data) != payload || m.Header.Get("Parley-Reason") == "" {
			t.Errorf("%s %q: %+v, %v", subject, payload, m, err)
		}
	}
	s, err := js.Stream(t.Context(), topology.StreamTimers)
	if err != nil || s.CachedInfo().State.Msgs != 1 {
		t.Errorf("%d are left, %v", s.CachedInfo().State.Msgs, err)
	}
}

// A timer that fires takes the one that was set in the same moment away with it:
// it is not lost if the handler of the due sets it again.
func TestATimerSetWhileTheOneBeforeFiresIsNotLost(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	const n = 200
	last := map[string]time.Time{}
	begin := soon()
	for i := range n {
		conversation := id()
		last[conversation] = begin.Add(time.Second + time.Duration(i)*time.Millisecond).Truncate(time.Millisecond)
		set(t, b, conversation, begin)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	fired, lost := map[string]int{}, 0
	go func() {
		ended <- b.Shard(0).FollowDue(ctx, func(d bus.Due) error {
			if at := last[d.Conversation]; d.At.Before(at) {
				lost++
				if err := b.Timers().Set(ctx, d.Conversation, at); err != nil {
					return err
				}
			} else if fired[d.Conversation]++; len(fired) == n {
				stop()
			}
			return b.Timers().DropDue(context.WithoutCancel(ctx), d)
		})
	}()
	<-time.After(time.Until(begin))
	for conversation, at := range last {
		set(t, b, conversation, at)
	}
	if err := take(t, ended); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// One that was set here after it had fired fires once more, which is harmless.
	if len(fired) != n {
		t.Errorf("%d of %d fired", len(fired), n)
	}
	t.Logf("%d fired at the time of before first", lost)
}

// TestTimersSurviveTheServer stops the server while timers are set.
func TestTimersSurviveTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := broker.Start(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	b := join(t, s.URL())
	due, _ := followDue(t, b)
	meanwhile, after, never := id(), id(), id()
	at := time.Now().Add(time.Second)
	set(t, b, meanwhile, soon())
	set(t, b, after, at)
	set(t, b, never, time.Now().Add(time.Hour))
	var port int
	if _, err := fmt.Sscanf(s.URL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	<-time.After(400 * time.Millisecond) // the time of the first passes
	if s, err = broker.Start(broker.Config{Dir: dir, Port: port}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	for _, want := range []string{meanwhile, after} {
		if d := take(t, due); d.Conversation != want {
			t.Errorf("%+v, want one of %s", d, want)
		}
	}
	if time.Now().Before(at) {
		t.Error("the second was early")
	}
	if got, want := waiting(t, b), []string{meanwhile, after, never}; !slices.Equal(got, want) {
		t.Errorf("%v wait, want %v", got, want)
	}
}

func TestTimersSurviveTheConnection(t *testing.T) {
	t.Parallel()
	p := through(t, start(t).URL())
	b := join(t, p.url())
	due, _ := followDue(t, b)
	conversation := id()
	set(t, b, conversation, soon())
	first := take(t, due)
	for name, do := range map[string]func(context.Context) error{
		"set":  func(ctx context.Context) error { return b.Timers().Set(ctx, conversation, time.Now().Add(time.Second)) },
		"stop": func(ctx context.Context) error { return b.Timers().Stop(ctx, id()) },
		"drop": func(ctx context.Context) error { return b.Timers().DropDue(ctx, first) },
	} {
		t.Run(name+" is done although the answer is lost", func(t *testing.T) {
			p.mute()
			done := make(chan error, 1)
			go func() { done <- do(within(t, 20*time.Second)) }()
			p.cut()
			if err := take(t, done); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("what fires meanwhile is given", func(t *testing.T) {
		if d := take(t, due); d.Conversation != conversation || d == first {
			t.Errorf("%+v", d)
		}
	})
	t.Run("what cannot be done before ctx ends is an error", func(t *testing.T) {
		p.refuse(true)
		p.cut()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := b.Timers().Set(ctx, conversation, soon()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), conversation) {
			t.Error(err)
		}
		p.refuse(false)
	})
}

// TestTenThousandTimers: as many as wait are listed, each fires once, and
// nothing is left.
func TestTenThousandTimers(t *testing.T) {
	t.Parallel()
	const n = 10_000
	b := inProcess(t)
	at := time.Now().Add(time.Hour)
	ids := make(chan string, n)
	for range n {
		ids <- id()
	}
	close(ids)
	each := func(do func(conversation string) error) (failed error) {
		var all sync.WaitGroup
		var once sync.Once
		work := make(chan string, n)
		for _, conversation := range waiting(t, b) {
			work <- conversation
		}
		close(work)
		for range 16 {
			all.Go(func() {
				for conversation := range work {
					if err := do(conversation); err != nil {
						once.Do(func() { failed = err })
					}
				}
			})
		}
		all.Wait()
		return failed
	}
	for conversation := range ids {
		set(t, b, conversation, at)
	}
	if got := waiting(t, b); len(got) != n {
		t.Fatalf("%d wait", len(got))
	}
	due, _ := followDue(t, b)
	if err := each(func(conversation string) error { return b.Timers().Set(t.Context(), conversation, time.Now()) }); err != nil {
		t.Fatal(err)
	}
	fired := map[string]int{}
	for range n {
		d := take(t, due)
		fired[d.Conversation]++
	}
	if len(fired) != n || len(due) > 0 {
		t.Errorf("%d conversations fired, and %d more", len(fired), len(due))
	}
	if err := each(func(conversation string) error {
		return b.Timers().DropDue(t.Context(), bus.Due{Conversation: conversation, Sequence: 1 << 40})
	}); err != nil {
		t.Fatal(err)
	}
	if got := waiting(t, b); len(got) > 0 {
		t.Errorf("%d wait", len(got))
	}
}

// TestSetUpGivesSchedules updates a TIMERS of before, which could schedule
// nothing.
func TestSetUpGivesSchedules(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := join(t, s.URL())
	_, js := b.Raw()
	cfg := jetstream.StreamConfig{Name: topology.StreamTimers, Subjects: []string{"timer.>"}, AllowDirect: true, Compression: jetstream.S2Compression}
	if err := js.DeleteStream(t.Context(), topology.StreamTimers); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	err := b.Timers().Set(within(t, 5*time.Second), id(), soon())
	if api := new(jetstream.APIError); !errors.As(err, &api) || api.ErrorCode != 10188 {
		t.Errorf("before: %v", err)
	}
	b = join(t, s.URL())
	due, _ := followDue(t, b)
	conversation := id()
	set(t, b, conversation, soon())
	if d := take(t, due); d.Conversation != conversation {
		t.Errorf("%+v", d)
	}
}
