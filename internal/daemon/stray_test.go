package daemon_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestAnInputOfAnotherShardReachesItsConversationOnce: who publishes to a shard
// other than the id's, and does so again, is answered in the conversation, once,
// also by an owner that reads it all again.
func TestAnInputOfAnotherShardReachesItsConversationOnce(t *testing.T) {
	const script = "model: demo\nrules:\n  - match: .\n    steps:\n      - text: Hello there.\n"
	d := serveShards(t, 4)
	d.run(d.models("models", scriptFile(t, script)))
	stop := d.run(d.orchestrator("orchestrator"))
	_, js := d.Raw()
	for name, header := range map[string]nats.Header{"with a message id": {nats.MsgIdHdr: {newID(t)}}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			conversation, input := newID(t), newID(t)
			right := topology.At(d.Shards(), conversation, events.ChannelIn)
			wrong := right
			wrong.Shard = (right.Shard + 1) % d.Shards()
			for range 3 {
				m := &nats.Msg{Subject: wrong.Subject(topology.Conv), Header: header, Data: []byte(`{"type":"UserMessage","id":"` + input + `","text":"hello"}`)}
				if _, err := js.PublishMsg(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			v := d.view(ctx, conversation)
			v.until("the end", func(e events.Event) bool { _, ok := e.(*events.TurnEnded); return ok })
			stop()
			stop = d.run(d.orchestrator("another"))
			// What is asked after all of that is answered after it.
			if _, end := d.turn(conversation, "again"); end.Outcome != events.OutcomeCompleted {
				t.Fatalf("%s %v", end.Outcome, end.Error)
			}
			turns := 0
			err := d.Facts(t.Context(), conversation, 0, func(m bus.Message) error {
				for _, l := range m.Lines {
					d, ok := l.Event.(*events.Decision)
					if ok && slices.ContainsFunc(d.Events, func(l events.Line) bool { _, ok := l.Event.(*events.TurnStarted); return ok }) {
						turns++
					}
				}
				return nil
			})
			if err != nil || turns != 2 {
				t.Errorf("%d turns, want 2: %v", turns, err)
			}
		})
	}
}
