package daemon_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/orchestrator"
	"github.com/parleybus/parley/internal/topology"
)

// TestAPanicOfDecideFailsOnlyItsOwnTurn: deciding about its call always panics.
// Its turn fails, and the conversation continues; another conversation with the
// same owner is not affected.
func TestAPanicOfDecideFailsOnlyItsOwnTurn(t *testing.T) {
	d := serve(t)
	d.run(d.tools("tools", builtins(t)))
	d.run(d.models("models", scriptFile(t, `
model: demo
pace: 0
rules:
  - name: a call
    match: calculate
    steps:
      - text: A call.
        calls:
          - {tool: calculate, arguments: {expression: "1+1"}}
      - text: Done.
  - name: words
    match: .
    steps:
      - text: Hello.
`)))
	var mu sync.Mutex
	owned := 0
	o := &orchestrator.Orchestrator{Bus: d.Bus, Name: "o", Log: d.log,
		Check: func() func(events.ToolSpec, string) error {
			return func(events.ToolSpec, string) error { panic("an unexpected schema") }
		},
		Owned: func(int) { mu.Lock(); owned++; mu.Unlock() }}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	defer func() { cancel(); <-done }()

	odd := newID(t)
	_, end := d.turn(odd, "calculate")
	if end.Outcome != events.OutcomeFailed || end.Error == nil || end.Error.Class != events.ErrInternal || !strings.Contains(end.Error.Message, "an unexpected schema") {
		t.Errorf("the turn ended as %s %v", end.Outcome, end.Error)
	}
	for _, conversation := range []string{odd, newID(t)} {
		if _, end := d.turn(conversation, "hello"); end.Outcome != events.OutcomeCompleted {
			t.Errorf("a turn after it ended as %s %v", end.Outcome, end.Error)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if owned != 1 {
		t.Errorf("the shard was taken %d times", owned)
	}
}

// sharded starts a server with a number of shards.
func sharded(t *testing.T, shards int) *deployment {
	t.Helper()
	s, err := broker.Start(broker.Config{Dir: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b, err := bus.Connect(t.Context(), bus.Config{Log: log}.InProcess(s.InProcess()), &topology.Plan{Shards: shards})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return &deployment{b, t, log}
}

// TestAnInputInTheWrongShardIsDeliveredOnce: a client always uses shard 0, or a
// wrong number of shards.
func TestAnInputInTheWrongShardIsDeliveredOnce(t *testing.T) {
	d := sharded(t, 4)
	d.run(d.models("models", scriptFile(t, "model: demo\npace: 0\nrules:\n  - {name: one, match: ., steps: [{text: Hello.}]}\n")))
	stop := d.run(d.orchestrator("orchestrator"))
	for name, headers := range map[string][]string{"with an id in the event": nil, "with a message id": {"Nats-Msg-Id", "mine"}, "without an id": nil} {
		conversation := newID(t)
		for topology.ShardOf(conversation, 4) == 0 {
			conversation = newID(t)
		}
		event := `{"type":"UserMessage","text":"hello"}`
		if name == "with an id in the event" {
			event = fmt.Sprintf(`{"type":"UserMessage","id":%q,"text":"hello"}`, newID(t))
		}
		st := &stranger{d, conversation}
		st.publish("conv.0."+conversation+".in", event, headers...)
		if end := d.endOf(conversation); end.Outcome != events.OutcomeCompleted {
			t.Errorf("%s: the turn ended as %s %v", name, end.Outcome, end.Error)
		}
		// An owner that replays the shard delivers it again.
		stop()
		if err := d.Shard(0).SetCheckpoint(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		stop = d.run(d.orchestrator("orchestrator"))
		if _, end := d.turn(conversation, "and again"); end.Outcome != events.OutcomeCompleted {
			t.Errorf("%s: the next turn ended as %s %v", name, end.Outcome, end.Error)
		}
		if turns := d.turns(conversation); turns != 2 {
			t.Errorf("%s: %d turns, want 2", name, turns)
		}
	}
}

// turns counts the turns of a conversation.
func (d *deployment) turns(conversation string) int {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	c := &accumulator.Conversation{ID: conversation}
	if err := d.Conversation(conversation).Facts(ctx, 0, func(m bus.Message) error { c.Apply(m.Folded()); return nil }); err != nil {
		d.t.Fatal(err)
	}
	return c.Turns
}
