package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestAnotherLeaderCopiesWhenHistorysHearsNothing kills the server that leads the log.
// The server that leads HISTORY stays, and by itself asks the log's next leader after 10
// to 20 s; when an election of its own comes first, after 40 s.
func TestAnotherLeaderCopiesWhenHistorysHearsNothing(t *testing.T) {
	t.Parallel()
	const history, log = 0, 1
	c := brokertest.Start(t, brokertest.Config{})
	b, err := bus.Wait(t.Context(), bus.Config{URL: c.URL()}, &topology.Plan{Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	keeping, stop := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() { defer close(kept); b.Deployment().KeepCopying(keeping) }()
	defer func() { stop(); <-kept }()

	_, js := b.Raw()
	conversation := id()
	copied := func() {
		t.Helper()
		seq, err := b.Conversation(conversation).Publish(within(t, time.Minute), id(), &events.UserMessage{Text: "hi"})
		if err != nil {
			t.Fatal(err)
		}
		for ctx := within(t, time.Minute); lastCopy(ctx, js, conversation) < seq; {
			if !bus.Pause(ctx, 100*time.Millisecond) {
				t.Fatalf("message %d is not copied", seq)
			}
		}
	}
	for range 3 { // on a slow machine the log's next leader may come too late
		c.Lead(history, topology.StreamHistory)
		c.Lead(log, topology.ConvStream(0))
		copied()
		c.Kill(log)
		copied()
		if c.Leader(topology.StreamHistory) != history {
			return
		}
		c.Serve(log)
	}
	t.Error("HISTORY kept a leader that heard nothing, three times")
}

// lastCopy returns the sequence in the log of the last input of a conversation that
// HISTORY has; 0 if the servers do not say. A request to a server that was killed is
// never answered.
func lastCopy(ctx context.Context, js jetstream.JetStream, conversation string) (seq uint64) {
	try, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := js.Stream(try, topology.StreamHistory)
	if err != nil {
		return 0
	}
	m, err := s.GetLastMsgForSubject(try, fmt.Sprintf("%s.0.%s.in", topology.History, conversation))
	if err == nil {
		_, err = fmt.Sscanf(m.Header.Get(topology.HeaderSource), topology.ConvStream(0)+" %d", &seq)
	}
	if err != nil {
		return 0
	}
	return seq
}
