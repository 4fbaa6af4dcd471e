package bus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// acknowledges makes a stream acknowledge what it stores, or not.
func acknowledges(t *testing.T, js jetstream.JetStream, stream string, yes bool) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.NoAck = !yes
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// TestAStreamThatStoresNothingIsNamed: nats-server does not answer a publish that
// it could not write, and answers everything else. A stream without
// acknowledgements looks the same.
func TestAStreamThatStoresNothingIsNamed(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	_, js := b.Raw()
	freeze := func(frozen bool) { acknowledges(t, js, topology.ConvStream(0), !frozen) }
	k := b.Deployment().NewKeeper()
	if err := k.Problem(); err != nil {
		t.Fatal(err)
	}
	freeze(true)
	input, conversation := id(), id()
	began := time.Now()
	if _, err := b.Conversation(conversation).Publish(within(t, 30*time.Second), input, &events.UserMessage{ID: input, Text: "hello"}); !bus.NotStored(err) {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if err := k.Problem(); !bus.NotStored(err) {
		t.Errorf("the process is ready: %v", err)
	}
	if err := b.Deployment().TestWrites(t.Context()); !bus.NotStored(err) {
		t.Errorf("a test of writes: %v", err)
	}
	freeze(false)
	if _, err := b.Conversation(conversation).Publish(within(t, 30*time.Second), input, &events.UserMessage{ID: input, Text: "hello"}); err != nil {
		t.Error(err)
	}
	if err := k.Problem(); err != nil {
		t.Errorf("the process is not ready again: %v", err)
	}
	if err := b.Deployment().TestWrites(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAnObjectStoreThatStoresNothingIsNamed: the disk is nearly full, messages are
// still stored, and what exceeds a message is not.
func TestAnObjectStoreThatStoresNothingIsNamed(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	_, js := b.Raw()
	freeze := func(frozen bool) { acknowledges(t, js, topology.ObjectStream, !frozen) }
	k := b.Deployment().NewKeeper()
	freeze(true)
	if err := b.Deployment().TestWrites(t.Context()); !bus.NotStored(err) {
		t.Errorf("a test of writes: %v", err)
	}
	began := time.Now()
	if _, err := b.Objects().Put(within(t, time.Minute), id(), make([]byte, 300<<10)); !bus.NotStored(err) || !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
	if err := k.Problem(); !bus.NotStored(err) {
		t.Errorf("the process is ready: %v", err)
	}
	freeze(false)
	if err := b.Deployment().TestWrites(t.Context()); err != nil {
		t.Error(err)
	}
	if err := k.Problem(); err != nil {
		t.Errorf("the process is not ready again: %v", err)
	}
	store, err := js.Stream(t.Context(), topology.ObjectStream)
	if err != nil {
		t.Fatal(err)
	}
	probes := func() uint64 {
		info, err := store.Info(t.Context(), jetstream.WithSubjectFilter(topology.ChunksSubject(topology.ProbeKey)))
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Subjects[topology.ChunksSubject(topology.ProbeKey)]
	}
	stored := probes()
	if err := b.Deployment().TestWrites(t.Context()); err != nil || probes() != stored {
		t.Errorf("%v; the store has %d chunks of tests, had %d a moment ago", err, probes(), stored)
	}
	if _, err := (&bus.Sweeper{Bus: b, Unoffered: time.Hour, Grace: time.Hour}).Sweep(t.Context()); err != nil || stored == 0 || probes() != 0 {
		t.Errorf("%v; a sweep leaves %d of %d chunks of tests", err, probes(), stored)
	}
}
