package bus_test

import (
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestAStreamThatStoresNothingIsNamed: nats-server does not answer a publish that
// it could not write, and answers everything else. A stream without
// acknowledgements looks the same.
func TestAStreamThatStoresNothingIsNamed(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	_, js := b.Raw()
	freeze := func(frozen bool) {
		s, err := js.Stream(t.Context(), topology.ConvStream(0))
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		cfg.NoAck = frozen
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
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
