package jobs_test

import (
	"errors"
	"net"
	"sync"
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
	// nats-server waits some seconds for a source that was shut down with it.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

// start starts a server that listens on the loopback interface.
func start(t *testing.T) *broker.Broker {
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

// connect makes the streams.
func connect(t *testing.T, cfg bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), cfg, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// inProcess returns a connection to a deployment of its own.
func inProcess(t *testing.T) *bus.Bus {
	t.Helper()
	return connect(t, bus.Config{Options: []nats.Option{start(t).InProcess()}})
}

// wire is a network connection that a test cuts.
type wire struct {
	mu      sync.Mutex
	refused bool
	conns   []net.Conn
}

func (w *wire) dial(network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refused {
		return nil, errors.New("the test refuses connections")
	}
	c, err := net.Dial(network, address)
	if err == nil {
		w.conns = append(w.conns, c)
	}
	return c, err
}

// cut closes the connections; with refuse, no new one is made until the next
// call.
func (w *wire) cut(refuse bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = refuse
	for _, c := range w.conns {
		_ = c.Close() // by the client already
	}
	w.conns = nil
}

// behind returns two connections to a server, and the wire of the first.
func behind(t *testing.T) (cut, steady *bus.Bus, w *wire) {
	t.Helper()
	s := start(t)
	w = new(wire)
	return connect(t, bus.Config{URL: s.URL(), Dial: w.dial}), connect(t, bus.Config{URL: s.URL()}), w
}

func id() string { return uuid.Must(uuid.NewV7()).String() }

// gen is the lane of a conversation's generations.
func gen(b *bus.Bus, conversation string) topology.Address {
	return topology.At(b.Shards(), conversation, events.ChannelGen)
}

// eventually polls ok and fails the test after ten seconds.
func eventually(t *testing.T, ok func() bool, otherwise string) {
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
	const soon = time.Minute
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		t.Fatalf("nothing came in %s", soon)
		panic("unreachable")
	}
}
