package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// inputs are the ids of the inputs in a conversation's log.
func inputs(t *testing.T, b *bus.Bus, conversation string) []string {
	t.Helper()
	var all []string
	err := b.Conversation(conversation).Facts(t.Context(), 0, func(m bus.Message) error {
		all = append(all, m.Folded().ID)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheSameIDInTwoConversationsIsTwoInputs(t *testing.T) {
	b := inProcess(t)
	one, two, input := id(), id(), id()
	for _, conversation := range []string{one, two} {
		if _, err := b.Conversation(conversation).Publish(t.Context(), input, &events.Cancel{ID: input}); err != nil {
			t.Fatal(err)
		}
	}
	for _, conversation := range []string{one, two} {
		if got := inputs(t, b, conversation); len(got) != 1 || got[0] != input {
			t.Errorf("conversation %s has the inputs %v", conversation, got)
		}
	}
}

func TestAnInputWhoseMessageIDAnotherSubjectHasIsPublishedAllTheSame(t *testing.T) {
	b := inProcess(t)
	nc, _ := b.Raw()
	other, conversation, input := id(), id(), id()
	msg := nats.NewMsg(topology.At(1, other, events.ChannelIn).Subject(topology.Conv))
	msg.Data = []byte(`{"type":"Cancel"}`)
	// A shard that is older than this version remembers for two minutes.
	longWindow(t, b)
	msg.Header.Set(nats.MsgIdHdr, conversation+"/"+input)
	if _, err := nc.RequestMsg(msg, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	first, err := b.Conversation(conversation).Publish(t.Context(), input, &events.Cancel{ID: input})
	if err != nil {
		t.Fatal(err)
	}
	if got := inputs(t, b, conversation); len(got) != 1 {
		t.Errorf("the conversation has the inputs %v", got)
	}
	// And what is a duplicate is one.
	again, err := b.Conversation(conversation).Publish(t.Context(), input, &events.Cancel{ID: input})
	if err != nil || again < first {
		t.Errorf("published again at %d, first at %d: %v", again, first, err)
	}
	fresh := id()
	first, err = b.Conversation(conversation).Publish(t.Context(), fresh, &events.Cancel{ID: fresh})
	if err != nil {
		t.Fatal(err)
	}
	if again, err = b.Conversation(conversation).Publish(t.Context(), fresh, &events.Cancel{ID: fresh}); err != nil || again != first {
		t.Errorf("published again at %d, first at %d: %v", again, first, err)
	}
}

// longWindow makes the shard remember message ids for long.
func longWindow(t *testing.T, b *bus.Bus) {
	t.Helper()
	_, js := b.Raw()
	s, err := js.Stream(t.Context(), topology.ConvStream(0))
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	if cfg.Duplicates != 100*time.Millisecond {
		t.Errorf("a shard remembers message ids for %v: the fold remembers them for good", cfg.Duplicates)
	}
	cfg.Duplicates = time.Minute
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func TestTheSameMessageIDInTwoShardsIsTwoFacts(t *testing.T) {
	s := start(t)
	b, err := bus.Connect(t.Context(), bus.Config{Name: t.Name(), Options: []nats.Option{s.InProcess()}}, &topology.Plan{Shards: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	nc, js := b.Raw()
	for shard := range 2 {
		msg := nats.NewMsg(topology.Address{Shard: shard, Conversation: id(), Channel: events.ChannelIn}.Subject(topology.Conv))
		msg.Data = []byte(`{"type":"Cancel"}`)
		msg.Header.Set(nats.MsgIdHdr, "same")
		if _, err := nc.RequestMsg(msg, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { return stored(t.Context(), js, topology.StreamHistory) == 2 }, "HISTORY lacks one of them")
}

func stored(ctx context.Context, js jetstream.JetStream, stream string) uint64 {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.Msgs
}

func TestTheSameJobIDInTwoConversationsIsTwoJobs(t *testing.T) {
	b := inProcess(t)
	call := id()
	_, js := b.Raw()
	for _, tool := range []string{"f", "g"} {
		subject, err := topology.ToolJob(tool, call)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Jobs().Publish(t.Context(), id(), subject, call, &events.ToolJob{Tool: tool}); err != nil {
			t.Fatal(err)
		}
	}
	if n := stored(t.Context(), js, topology.StreamJobs); n != 2 {
		t.Errorf("%d jobs are in the queue, want 2", n)
	}
}
