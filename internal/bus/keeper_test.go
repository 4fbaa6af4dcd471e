package bus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// keep runs a keeper until the test ends.
func keep(t *testing.T, b *bus.Bus) *bus.Keeper {
	t.Helper()
	k := b.Deployment().NewKeeper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := take(t, ended); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return k
}

// configurations are those of all streams.
func configurations(t *testing.T, js jetstream.JetStream) map[string]jetstream.StreamConfig {
	t.Helper()
	all := map[string]jetstream.StreamConfig{}
	list := js.ListStreams(t.Context())
	for s := range list.Info() {
		all[s.Config.Name] = s.Config
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// workable reports whether everything is there and every setting is right.
func workable(t *testing.T, js jetstream.JetStream, want map[string]jetstream.StreamConfig) bool {
	t.Helper()
	have := configurations(t, js)
	for name, w := range want {
		h, ok := have[name]
		if _, wrong := topology.Own(h, w); !ok || len(wrong) > 0 {
			return false
		}
	}
	return true
}

func TestWhatIsDeletedIsCreatedAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	b, err := bus.Connect(t.Context(), bus.Config{URL: s.URL()}, &topology.Plan{Shards: 3, MaxAge: 48 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_, js := b.Raw()
	want := configurations(t, js)
	k := keep(t, b)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return workable(t, js, want) && k.Problem() == nil }, "the deployment is not made again")
	}
	t.Run("all of it", func(t *testing.T) {
		for name := range want {
			if err := js.DeleteStream(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, func() bool { return workable(t, js, want) && k.Problem() == nil }, "the deployment is not made again")
		if got := configurations(t, js)[topology.ConvStream(2)].MaxAge; got != 48*time.Hour {
			t.Errorf("CONV is kept for %s", got)
		}
	})
	t.Run("and by somebody who knows less", func(t *testing.T) {
		for _, name := range []string{topology.StreamHistory, topology.StreamTimers, topology.ConvStream(1)} {
			if err := js.DeleteStream(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{"x." + name}}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, func() bool { return workable(t, js, want) && k.Problem() == nil }, "the deployment is not made again")
		conversation := id()
		write(t, b, conversation, 0, []int{0, 1})
		if err := numbered(texts(t, b, conversation, bus.From{}), "", 2); err != nil {
			t.Error(err)
		}
	})
	t.Run("a queue", func(t *testing.T) {
		q, err := topology.ToolQueue("clock")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Jobs().EnsureQueue(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteConsumer(t.Context(), topology.StreamJobs, q.Consumer); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { queues, err := b.Jobs().Queues(t.Context()); return err == nil && len(queues) == 1 }, "the queue is not made again")
		if err := js.DeleteStream(t.Context(), topology.StreamJobs); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return workable(t, js, want) && b.Jobs().EnsureQueue(t.Context(), q) == nil }, "JOBS is not made again")
		eventually(t, func() bool { queues, err := b.Jobs().Queues(t.Context()); return err == nil && len(queues) == 1 }, "the queue is not made again")
	})
}

// clockWorker connects as a worker does, which sets nothing up, and returns the queue of
// its tool.
func clockWorker(t *testing.T, url string) (*bus.Bus, topology.Queue) {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Config{URL: url}, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, err := topology.ToolQueue("clock")
	if err != nil {
		t.Fatal(err)
	}
	return b, q
}

func TestWhoMayNotMakeStreamsReportsThem(t *testing.T) {
	t.Parallel()
	s := start(t)
	admin := join(t, s.URL())
	_, js := admin.Raw()
	worker, q := clockWorker(t, s.URL())
	defer worker.Close()
	if err := worker.Jobs().EnsureQueue(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	k := keep(t, worker)
	for _, name := range []string{topology.StreamJobs, topology.ConvStream(0), "KV_" + topology.BucketPresence} {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return k.Problem() != nil && strings.Contains(k.Problem().Error(), name) }, name+" is not reported")
	}
	join(t, s.URL()) // sets up
	eventually(t, func() bool { return k.Problem() == nil }, "it is reported still")
}

// TestAWorkerReportsJobsForAsLongAsItIsMissing: also when the worker has never found
// its queue, and when it reported JOBS before.
func TestAWorkerReportsJobsForAsLongAsItIsMissing(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, js := join(t, s.URL()).Raw()
	worker, q := clockWorker(t, s.URL())
	defer worker.Close()
	remove := func(stream string) {
		if err := js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	remove(topology.StreamJobs)
	worker.Jobs().Serve(t.Context(), q)
	k := keep(t, worker)
	names := func(streams ...string) {
		t.Helper()
		eventually(t, func() bool {
			err := k.Problem()
			return err != nil && !slices.ContainsFunc(streams, func(s string) bool { return !strings.Contains(err.Error(), s) })
		}, fmt.Sprintf("%q are not reported", streams))
	}
	names(topology.StreamJobs)
	remove(topology.ConvStream(0))
	names(topology.StreamJobs, topology.ConvStream(0))
}

func TestTheOrchestratorsRoleMakesStreamsAgain(t *testing.T) {
	t.Parallel()
	g := newGoverned(t)
	_, js := g.as("admin").Raw()
	want := configurations(t, js)
	b := g.connect("orchestrator", &topology.Plan{})
	defer b.Close()
	k := keep(t, b)
	for name := range want {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { return workable(t, js, want) && k.Problem() == nil }, "the deployment is not made again")
}

func TestChangesOfTheAdministratorSurvive(t *testing.T) {
	t.Parallel()
	url := foreign(t, &server.Options{JetStream: true})
	first := join(t, url)
	_, js := first.Raw()
	for _, name := range []string{topology.ConvStream(0), topology.StreamHistory, topology.StreamJobs, topology.StreamTimers, topology.StreamDead,
		"KV_" + topology.BucketPresence, "OBJ_" + topology.BucketObjects} {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		cfg.MaxBytes, cfg.MaxAge, cfg.Duplicates, cfg.Description = 64<<20, 36*time.Hour, time.Minute, "mine"
		cfg.Metadata = map[string]string{"owner": "me"}
		for key, value := range s.CachedInfo().Config.Metadata {
			cfg.Metadata[key] = value
		}
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(name, err)
		}
	}
	q, err := topology.LLMQueue("scripted/demo")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Jobs().EnsureQueue(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	queue := q.ConsumerConfig()
	queue.AckWait, queue.MaxAckPending = 42*time.Second, 7
	if _, err := js.UpdateConsumer(t.Context(), topology.StreamJobs, queue); err != nil {
		t.Fatal(err)
	}
	want := configurations(t, js)
	again := join(t, url)
	keep(t, again)
	if err := again.Jobs().EnsureQueue(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	have := configurations(t, js)
	for name, w := range want {
		h := have[name]
		if h.MaxBytes != w.MaxBytes || h.MaxAge != w.MaxAge || h.Duplicates != w.Duplicates || h.Description != w.Description || !maps.Equal(h.Metadata, w.Metadata) {
			t.Errorf("%s: %+v, want %+v", name, h, w)
		}
	}
	c, err := js.Consumer(t.Context(), topology.StreamJobs, q.Consumer)
	if err != nil {
		t.Fatal(err)
	}
	if cfg := c.CachedInfo().Config; cfg.AckWait != queue.AckWait || cfg.MaxAckPending != queue.MaxAckPending {
		t.Errorf("the queue is now %+v", cfg)
	}
	t.Run("except the operator's settings", func(t *testing.T) {
		b, err := bus.Connect(t.Context(), bus.Config{URL: url}, &topology.Plan{MaxAge: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		now := configurations(t, js)
		if c := now[topology.ConvStream(0)]; c.MaxAge != 30*time.Second || c.MaxBytes != 64<<20 {
			t.Errorf("%+v", c)
		}
		if h := now[topology.StreamHistory]; h.MaxAge != 36*time.Hour {
			t.Errorf("%+v", h)
		}
	})
}

// TestALostHistoryKeepsTheShards: HISTORY records the number of shards, and it can
// be lost while nothing runs.
func TestALostHistoryKeepsTheShards(t *testing.T) {
	t.Parallel()
	s := start(t)
	first, err := bus.Connect(t.Context(), bus.Config{URL: s.URL()}, &topology.Plan{Shards: 5})
	if err != nil {
		t.Fatal(err)
	}
	conversation := id()
	write(t, first, conversation, 0, []int{0, 1})
	_, js := first.Raw()
	if err := js.DeleteStream(t.Context(), topology.StreamHistory); err != nil {
		t.Fatal(err)
	}
	again := join(t, s.URL())
	if again.Shards() != 5 {
		t.Errorf("%d shards", again.Shards())
	}
	if err := numbered(texts(t, again, conversation, bus.From{}), "", 2); err != nil {
		t.Error(err)
	}
	first.Close()
}
