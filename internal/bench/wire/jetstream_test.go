package wire_test

import (
	"errors"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/bench/wire"
	"github.com/parleybus/parley/internal/bench/wire/wiretest"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

func TestJetStreamIsAWire(t *testing.T) {
	server, err := broker.Start(broker.Config{Dir: t.TempDir(), Port: -1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Connect(t.Context(), bus.Config{Name: t.Name()}.InProcess(server.InProcess()), &topology.Plan{Shards: 1})
	if err != nil {
		t.Fatal(errors.Join(err, server.Stop()))
	}
	t.Cleanup(func() {
		b.Close()
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	nc, _ := b.Raw()
	w, err := wire.NewJetStream(nc)
	if err != nil {
		t.Fatal(err)
	}
	wiretest.Run(t, w)
}
