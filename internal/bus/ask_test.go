package bus_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// lossy passes requests to JetStream's API on, but each first one of a subject, like a
// server that dies before it answers. It returns its prefix.
func lossy(t *testing.T, nc *nats.Conn) string {
	t.Helper()
	prefix := nats.NewInbox()
	var mu sync.Mutex
	lost := map[string]bool{}
	subscribe(t, nc, prefix+".>", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if !lost[m.Subject] {
			lost[m.Subject] = true
			return
		}
		if err := nc.PublishRequest("$JS.API"+strings.TrimPrefix(m.Subject, prefix), m.Reply, m.Data); err != nil {
			t.Error(err)
		}
	})
	return prefix
}

// TestARequestThatIsNeverAnsweredIsMadeAgain: a stream without a leader, or a node that
// has just died, answers no request, and whoever waits until it fails waits far longer
// than for the next leader.
func TestARequestThatIsNeverAnsweredIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	owner := join(t, s.URL())
	nc, _ := owner.Raw()
	conversation := id()
	if _, err := owner.Conversation(conversation).Publish(t.Context(), id(), &events.Cancel{}); err != nil {
		t.Fatal(err)
	}
	shard := topology.ShardOf(conversation, owner.Shards())
	for name, request := range map[string]func(context.Context, *bus.Bus) error{
		"the state of a stream": func(ctx context.Context, b *bus.Bus) error {
			_, _, err := b.Shard(shard).End(ctx)
			return err
		},
		"a message of its leader": func(ctx context.Context, b *bus.Bus) error {
			_, _, err := b.Shard(shard).At(ctx, 1)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := imported(t, s.URL(), lossy(t, nc))
			if err := request(within(t, anAnswer), b); err != nil {
				t.Error(err)
			}
		})
	}
}

// anAnswer is less than the time that a request may take.
const anAnswer = 4500 * time.Millisecond

// imported connects as a user whose account is not the one with the streams.
func imported(t *testing.T, url, prefix string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Config{URL: url, Name: t.Name(), APIPrefix: prefix}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// TestAReaderIsMadeByAnotherOrchestratorThanTheOneThatDied: the first request is taken by
// somebody who never answers.
func TestAReaderIsMadeByAnotherOrchestratorThanTheOneThatDied(t *testing.T) {
	t.Parallel()
	s := start(t)
	owner := join(t, s.URL())
	nc, _ := owner.Raw()
	taken := make(chan *nats.Msg, 16)
	for _, subject := range []string{topology.AllReads, topology.AllQueues} {
		subscribe(t, nc, subject, func(m *nats.Msg) { taken <- m })
	}
	b := imported(t, s.URL(), lossy(t, nc))
	ctx := within(t, anAnswer)
	var read, made error
	var asking, serving sync.WaitGroup
	asking.Go(func() { read = b.Shard(0).Read(ctx, 0, "", func(bus.Message) error { return nil }) })
	asking.Go(func() { made = b.Jobs().EnsureQueue(ctx, topology.Queue{Consumer: "tool_calculate"}) })
	take(t, taken)
	take(t, taken)
	serve, stop := context.WithCancel(t.Context())
	serving.Go(func() { _ = owner.Deployment().ServeUsers(serve, func() bool { return true }) }) // ends with serve
	asking.Wait()
	stop()
	serving.Wait()
	if read != nil || made != nil {
		t.Errorf("read: %v; queue: %v", read, made)
	}
}
