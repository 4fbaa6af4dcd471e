package worker_test

import (
	"context"
	"errors"
	"testing"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func TestACallOutsideOfAnyTurnRunsInAConversationThatHadOne(t *testing.T) {
	s := newStage(t, topology.PresenceTTL)
	x := newStep("x", events.EffectPure)
	s.tools("tools", x)
	c := s.chat()
	c.request() // a Decision that knows nothing of the call
	x.end <- nil
	first, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	r, err := s.Jobs().Call(first, bus.Call{Conversation: c.id, Tool: x.Spec(), Arguments: []byte("{}")})
	if err != nil || r.Status != events.StatusOK {
		t.Fatalf("%+v, %v", r, err)
	}
	// A turn of the conversation that begins, or is stopped, is not the call's.
	ctx, stop := context.WithCancelCause(t.Context())
	got := make(chan error, 1)
	go func() {
		r, err := s.Jobs().Call(ctx, bus.Call{Conversation: c.id, Tool: x.Spec(), Arguments: []byte("{}")})
		if err == nil && r.Status != events.StatusOK {
			err = errors.New(string(r.Status))
		}
		got <- err
	}()
	next(t, x.runs)
	next(t, x.runs)
	c.request()
	id := newID()
	_, err = s.Conversation(c.id).Publish(t.Context(), id, &events.Cancel{ID: id, Scope: events.ScopeTurn, Turn: c.turn})
	s.done(err)
	select {
	case err := <-got:
		t.Fatalf("the call ended with %v", err)
	case x.end <- nil:
	}
	if err := next(t, got); err != nil {
		t.Error(err)
	}
	go func() {
		_, err := s.Jobs().Call(ctx, bus.Call{Conversation: c.id, Tool: x.Spec(), Arguments: []byte("{}")})
		got <- err
	}()
	call := next(t, x.runs)
	tired := errors.New("tired of waiting")
	stop(tired)
	if err := next(t, got); !errors.Is(err, tired) {
		t.Error(err)
	}
	if r := await[*events.ToolResult](s, topology.OfCall(s.Shards(), c.id, events.ChannelCall, call), soon); r.Status != events.StatusCancelled {
		t.Errorf("the call that was cancelled ended as %s", r.Status)
	}
}
