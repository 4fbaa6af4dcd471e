package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func TestMain(m *testing.M) {
	// nats-server waits some seconds for a source or a mirror that was shut down with it.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).setupMirrorConsumer.func3"))
}

// start starts a server that listens on the loopback interface.
func start(t testing.TB) *broker.Broker {
	t.Helper()
	s, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// join connects to a server over a socket, making the streams.
func join(t *testing.T, url string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Config{URL: url, Name: t.Name()}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// inProcess is a deployment of its own and a connection to it.
func inProcess(t testing.TB) *bus.Bus {
	t.Helper()
	s := start(t)
	b, err := bus.Connect(t.Context(), bus.Config{Name: t.Name(), Options: []nats.Option{s.InProcess()}}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func id() string { return uuid.Must(uuid.NewV7()).String() }

// gen is the lane of a conversation's generations.
func gen(b *bus.Bus, conversation string) topology.Address {
	return topology.At(b.Shards(), conversation, events.ChannelGen)
}

func chunk(attempt string, i int) *events.TextChunk {
	return &events.TextChunk{Origin: events.Origin{Attempt: attempt, Index: i}, Text: fmt.Sprintf("word %d ", i)}
}

// texts collects the events of a conversation's log as raw lines.
func texts(t *testing.T, b *bus.Bus, conversation string, from bus.From) []string {
	t.Helper()
	from.Ended = true
	var all []string
	for m, err := range b.Conversation(conversation).Attach(t.Context(), from) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, lines(m)...)
	}
	return all
}

func lines(m bus.Message) []string {
	var all []string
	for _, l := range m.Lines[m.Skip:] {
		all = append(all, string(l.Raw))
	}
	return all
}

// numbered reports where a sequence of raw events is not the chunks 0 to n-1.
func numbered(got []string, attempt string, n int) error {
	for i, line := range got {
		want, err := events.Append(nil, chunk(attempt, i))
		if err != nil {
			return err
		}
		if line != string(want) {
			return fmt.Errorf("event %d is %s, want %s", i, line, want)
		}
	}
	if len(got) != n {
		return fmt.Errorf("%d events, want %d", len(got), n)
	}
	return nil
}

// within returns a context with a timeout, so that no test hangs.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// subscribe passes messages to fn until the test ends. The server has the subscription when
// it returns.
func subscribe(t *testing.T, nc *nats.Conn, subject string, fn nats.MsgHandler) {
	t.Helper()
	sub, err := nc.Subscribe(subject, fn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() }) // fails only when the connection is closed
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// eventually polls ok and fails the test after ten seconds.
func eventually(t testing.TB, ok func() bool, otherwise string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal(otherwise)
		}
	}
}

func take[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	return takeIn(t, c, time.Minute)
}

func takeIn[T any](t *testing.T, c <-chan T, timeout time.Duration) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(timeout):
		t.Fatalf("nothing came in %s", timeout)
		panic("unreachable")
	}
}
