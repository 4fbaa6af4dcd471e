package parley_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestAnAnswerMayTakeAnElectionWhileAnOrchestratorOwnsTheConversation: of a cluster that
// has lost a node, several streams elect a leader within 9 s each.
func TestAnAnswerMayTakeAnElectionWhileAnOrchestratorOwnsTheConversation(t *testing.T) {
	t.Parallel()
	s := serve(t)
	owner, err := bus.Connect(t.Context(), bus.Config{URL: s.URL(), Name: t.Name()}, &topology.Plan{Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(owner.Close)
	lease, err := owner.Shard(0).TakeLease(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- lease.Keep(ctx) }()
	t.Cleanup(func() {
		stop()
		<-kept
	})
	client := connect(t, s.URL())
	t.Run("it comes late", func(t *testing.T) {
		t.Parallel()
		conversation, input := parley.NewID(), parley.NewID()
		decision := &events.Decision{Events: []events.Line{{Event: &events.InputAnswered{Input: input, Answer: events.AnswerAccepted}}}}
		frame, err := events.AppendFrame(nil, decision)
		if err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(12*time.Second, func() {
			a := topology.At(owner.Shards(), conversation, events.ChannelTurn)
			if _, err := owner.Lane(a).Append(t.Context(), 0, frame); err != nil {
				t.Error(err)
			}
		})
		defer late.Stop()
		answer, err := client.Conversation(conversation).Submit(t.Context(), &parley.Cancel{ID: input})
		if err != nil || answer.Answer != parley.AnswerAccepted {
			t.Errorf("answer %+v, %v", answer, err)
		}
	})
	t.Run("it never comes", func(t *testing.T) {
		t.Parallel()
		_, err := client.Conversation(parley.NewID()).Submit(t.Context(), &parley.Cancel{})
		if failed, is := errors.AsType[*parley.Error](err); !is || failed.Code != parley.CodeNoAnswer {
			t.Errorf("error %v", err)
		}
	})
}
