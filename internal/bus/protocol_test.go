package bus_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// setProtocol changes the protocol that a stream names; an empty one removes it.
func setProtocol(t *testing.T, b *bus.Bus, stream, protocol string) {
	t.Helper()
	_, js := b.Raw()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	if cfg.Metadata[topology.MetadataProtocol] = protocol; protocol == "" {
		delete(cfg.Metadata, topology.MetadataProtocol)
	}
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func TestADeploymentOfALaterProtocolIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := connected(t, s, &topology.Plan{})
	setProtocol(t, b, topology.StreamHistory, "2")
	for who, plan := range map[string]*topology.Plan{"a client": nil, "an orchestrator": {}} {
		other, err := bus.Connect(t.Context(), bus.Config{Options: []nats.Option{s.InProcess()}}, plan)
		if err == nil {
			other.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "speaks protocol 2") {
			t.Errorf("%s gets %v", who, err)
		}
	}
	_, js := b.Raw()
	stream, err := js.Stream(t.Context(), topology.StreamHistory)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config.Metadata[topology.MetadataProtocol]; got != "2" {
		t.Errorf("its protocol is %q now", got)
	}
}

func TestADeploymentWithoutAProtocolGetsOne(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := connected(t, s, &topology.Plan{})
	_, js := b.Raw()
	var names []string
	for name := range js.StreamNames(t.Context()).Name() {
		names = append(names, name)
		setProtocol(t, b, name, "")
	}
	connected(t, s, nil) // a client of today
	connected(t, s, &topology.Plan{})
	if len(names) < 10 {
		t.Errorf("only %v", names)
	}
	for _, name := range names {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().Config.Metadata[topology.MetadataProtocol]; got != "1" {
			t.Errorf("%s is of protocol %q", name, got)
		}
	}
}

func TestInputsAndJobsNameTheirProtocol(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	_, js := b.Raw()
	conversation := id()
	send(t, b, conversation, "hello")
	subject, err := topology.ToolJob("clock", id())
	if err != nil {
		t.Fatal(err)
	}
	q, err := topology.ToolQueue("clock")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Jobs().EnsureQueue(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if err := b.Jobs().Publish(t.Context(), conversation, subject, id(), &events.ToolJob{Tool: "clock"}); err != nil {
		t.Fatal(err)
	}
	for stream, subject := range map[string]string{
		topology.ConvStream(0): topology.At(1, conversation, events.ChannelIn).Subject(topology.Conv),
		topology.StreamHistory: topology.At(1, conversation, events.ChannelIn).Subject(topology.History),
		topology.StreamJobs:    subject,
	} {
		if stream == topology.StreamHistory {
			copied(t, b, 1)
		}
		s, err := js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.GetLastMsgForSubject(t.Context(), subject)
		if err != nil {
			t.Fatalf("%s: %v", stream, err)
		}
		if got := m.Header.Get(topology.HeaderProtocol); got != "1" {
			t.Errorf("%s has %q in %s", subject, got, stream)
		}
		if stream == topology.ConvStream(0) && m.Header.Get(jetstream.MsgIDHeader) == "" {
			t.Error("the input has no message id")
		}
	}
}

func connected(t *testing.T, s *broker.Broker, plan *topology.Plan) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Config{Options: []nats.Option{s.InProcess()}}, plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}
