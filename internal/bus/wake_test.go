package bus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestAnOwnerIsWokenByWhatItDecidesOn: chunks gather, here for an hour; what a decision may
// be due on brings them all.
func TestAnOwnerIsWokenByWhatItDecidesOn(t *testing.T) {
	t.Parallel()
	b := deployment(t)
	conversation, call := uuid.Must(uuid.NewV7()).String(), uuid.Must(uuid.NewV7()).String()
	gen := b.Lane(topology.At(b.Shards(), conversation, events.ChannelGen)).Open(t.Context(), 0)
	t.Cleanup(func() { _, _ = gen.Close() }) // it has no frame left
	shard := topology.ShardOf(conversation, b.Shards())
	live, err := b.nc.SubscribeSync(topology.At(b.Shards(), conversation, events.ChannelGen).Subject(topology.Live))
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	chunk := func(e events.Event) {
		t.Helper()
		if err := gen.Append(e); err != nil {
			t.Fatal(err)
		}
		if _, err := gen.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, err := live.NextMsg(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		stored++
	}
	read := followHourly(t, b, shard)
	for n := range 2 * gatherAfter {
		chunk(text(n))
	}
	for range gatherAfter { // one by one until they gather
		<-read
		stored--
	}
	for name, decisive := range map[string]func(){
		"an input": func() {
			input := uuid.Must(uuid.NewV7()).String()
			if _, err := b.Conversation(conversation).Publish(t.Context(), input, &events.UserMessage{ID: input, Text: "hello"}); err != nil {
				t.Fatal(err)
			}
			stored++
		},
		"a call's result": func() {
			frame, err := events.AppendFrame(nil, &events.ToolStarted{Call: call, Attempt: "w"})
			if err != nil {
				t.Fatal(err)
			}
			lane := b.Lane(topology.OfCall(b.Shards(), conversation, events.ChannelCall, call))
			if _, err := lane.Append(t.Context(), 0, frame); err != nil {
				t.Fatal(err)
			}
			stored++
		},
		"the end of a call's arguments": func() { chunk(&events.ToolCallEnd{Call: call}) },
		"the end of an answer":          func() { chunk(&events.GenerationEnded{Generation: call}) },
	} {
		chunk(text(0))
		chunk(text(1))
		if err := b.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if n := len(read); n > 0 {
			t.Errorf("before %s, %d messages were read that decide nothing", name, n)
		}
		decisive()
		for ; stored > 0; stored-- {
			select {
			case <-read:
			case <-time.After(20 * time.Second):
				t.Fatalf("%s: %d messages were not read", name, stored)
			}
		}
	}
}

// TestAnOwnerThatIsBehindDoesNotWait: it is woken once, and what it decides on may be behind
// more than it reads at a time.
func TestAnOwnerThatIsBehindDoesNotWait(t *testing.T) {
	t.Parallel()
	b := deployment(t)
	conversation := uuid.Must(uuid.NewV7()).String()
	shard := topology.ShardOf(conversation, b.Shards())
	frame, err := events.AppendFrame(nil, text(1))
	if err != nil {
		t.Fatal(err)
	}
	read := followHourly(t, b, shard)
	write := func(messages int) {
		for range messages {
			if _, err := b.js.PublishMsgAsync(&nats.Msg{Subject: topology.At(b.Shards(), conversation, events.ChannelGen).Subject(topology.Conv), Data: frame}); err != nil {
				t.Fatal(err)
			}
		}
		<-b.js.PublishAsyncComplete()
	}
	write(gatherAfter) // one by one until they gather
	for range gatherAfter {
		<-read
	}
	const backlog = 3 * pullBatch
	write(backlog)
	b.wake(shard)
	for n := range backlog {
		select {
		case <-read:
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d messages were read", n, backlog)
		}
	}
}

// followHourly follows a shard, letting messages gather for an hour, and returns them.
func followHourly(t *testing.T, b *Bus, shard int) <-chan Message {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	read, live, ended := make(chan Message, 1000), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.Shard(shard).follow(ctx, 0, time.Hour, func(m Message) error { read <- m; return nil }, func() error { close(live); return nil })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	select {
	case <-live:
	case err := <-ended:
		t.Fatal(err)
	}
	return read
}

// TestAWorkerThatMayNotWakeTriesOnce: its permissions are those of an earlier version.
func TestAWorkerThatMayNotWakeTriesOnce(t *testing.T) {
	t.Parallel()
	b := deployment(t)
	sub, err := b.nc.SubscribeSync("wake.*")
	if err != nil {
		t.Fatal(err)
	}
	b.denied.note(errors.New(`nats: permissions violation: Permissions Violation for Publish to "wake.0"`))
	b.wake(0)
	b.wake(1)
	if m, err := sub.NextMsg(10 * time.Second); err != nil || m.Subject != topology.Wake(1) {
		t.Errorf("%+v, %v", m, err)
	}
}
