package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// follower is a running Follow.
type follower struct {
	got    chan bus.Message
	caught chan struct{}
	ended  chan error
	stop   context.CancelCauseFunc
}

func followShard(t *testing.T, b *bus.Bus, after uint64) follower {
	t.Helper()
	ctx, stop := context.WithCancelCause(t.Context())
	f := follower{make(chan bus.Message, 10_000), make(chan struct{}, 10), make(chan error, 1), stop}
	go func() {
		f.ended <- b.Shard(0).Follow(ctx, after,
			func(m bus.Message) error { f.got <- m; return nil },
			func() error { f.caught <- struct{}{}; return nil })
	}()
	t.Cleanup(func() { stop(nil) })
	return f
}

func (f follower) end(t *testing.T) {
	t.Helper()
	why := errors.New("enough")
	f.stop(why)
	if err := take(t, f.ended); !errors.Is(err, why) {
		t.Errorf("follow ended with %v", err)
	}
	if n := len(f.caught); n > 0 {
		t.Errorf("it caught up %d times more", n)
	}
}

func send(t *testing.T, b *bus.Bus, conversation, text string) uint64 {
	t.Helper()
	input := id()
	seq, err := b.Conversation(conversation).Publish(t.Context(), input, &events.UserMessage{ID: input, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func output(t *testing.T, b *bus.Bus, conversation string) {
	t.Helper()
	call := id()
	before, _, err := b.Shard(0).End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Lane(topology.OfCall(b.Shards(), conversation, events.ChannelOut, call)).Show(&events.ToolOutput{Call: call, Text: "…"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		now, _, err := b.Shard(0).End(t.Context())
		return err == nil && now > before
	}, "the output is not stored")
}

func TestFollowCatchesUpOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		write func(t *testing.T, b *bus.Bus) (after uint64)
		want  int
	}{
		"on an empty log": {func(*testing.T, *bus.Bus) uint64 { return 0 }, 0},
		"at the end of a log": {func(t *testing.T, b *bus.Bus) uint64 {
			send(t, b, id(), "one")
			return send(t, b, id(), "two")
		}, 0},
		"from the beginning": {func(t *testing.T, b *bus.Bus) uint64 {
			send(t, b, id(), "one")
			send(t, b, id(), "two")
			return 0
		}, 2},
		"in the middle": {func(t *testing.T, b *bus.Bus) uint64 {
			after := send(t, b, id(), "one")
			send(t, b, id(), "two")
			send(t, b, id(), "three")
			return after
		}, 2},
		"when a log holds output only": {func(t *testing.T, b *bus.Bus) uint64 {
			output(t, b, id())
			return 0
		}, 0},
		"when output only follows": {func(t *testing.T, b *bus.Bus) uint64 {
			after := send(t, b, id(), "one")
			output(t, b, id())
			return after
		}, 0},
		"when output comes last": {func(t *testing.T, b *bus.Bus) uint64 {
			send(t, b, id(), "one")
			output(t, b, id())
			return 0
		}, 1},
		"after a sequence past the end": {func(t *testing.T, b *bus.Bus) uint64 {
			return send(t, b, id(), "one") + 1
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := inProcess(t)
			after := c.write(t, b)
			f := followShard(t, b, after)
			take(t, f.caught)
			if n := len(f.got); n != c.want {
				t.Errorf("%d messages before it caught up, want %d", n, c.want)
			}
			for range c.want {
				if m := take(t, f.got); m.Live || m.Sequence <= after {
					t.Errorf("message %d is live=%t", m.Sequence, m.Live)
				}
			}
			if name != "after a sequence past the end" { // there it follows future messages
				seq := send(t, b, id(), "now")
				if m := take(t, f.got); m.Sequence != seq || !m.Live {
					t.Errorf("message %d (live=%t) after the %d that was written", m.Sequence, m.Live, seq)
				}
			}
			f.end(t)
		})
	}
}

func TestFollowSurvivesCuts(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := through(t, s.URL())
	b, writer := join(t, p.url()), join(t, s.URL())
	f := followShard(t, b, 0)
	take(t, f.caught)
	var want, got []uint64
	conversation := id()
	for i := range 300 {
		want = append(want, send(t, writer, conversation, fmt.Sprint(i)))
		if i%100 == 50 {
			p.cut()
		}
	}
	for len(got) < len(want) {
		got = append(got, take(t, f.got).Sequence)
	}
	if !slices.Equal(got, want) {
		t.Errorf("sequences %v", got)
	}
	p.refuse(true)
	p.cut()
	f.end(t) // also while nothing can be reached
}

func TestFollowEnds(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	send(t, b, id(), "one")
	send(t, b, id(), "two")
	why := errors.New("cannot fold")
	t.Run("with the error of its callback", func(t *testing.T) {
		n := 0
		err := b.Shard(0).Follow(t.Context(), 0, func(bus.Message) error { n++; return why }, func() error { return nil })
		if !errors.Is(err, why) || n != 1 {
			t.Errorf("%v after %d messages", err, n)
		}
	})
	t.Run("with the error of catching up", func(t *testing.T) {
		if err := b.Shard(0).Follow(t.Context(), 0, func(bus.Message) error { return nil }, func() error { return why }); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
	})
	t.Run("not before its callback has returned", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		began, let, ended := make(chan struct{}, 2), make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- b.Shard(0).Follow(ctx, 0, func(bus.Message) error { began <- struct{}{}; <-let; return nil }, func() error { return nil })
		}()
		take(t, began)
		stop()
		select {
		case <-ended:
			t.Error("it returned while the callback ran")
		case <-time.After(300 * time.Millisecond):
		}
		close(let)
		take(t, ended)
	})
	t.Run("with the connection", func(t *testing.T) {
		s := start(t)
		other := join(t, s.URL())
		f := followShard(t, other, 0)
		take(t, f.caught)
		other.Close()
		if err := take(t, f.ended); !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("%v", err)
		}
	})
}

func decide(t *testing.T, b *bus.Bus, conversation string, after uint64, owner string) uint64 {
	t.Helper()
	frame, err := events.AppendFrame(nil, &events.Decision{Owner: owner, Events: []events.Line{}})
	if err != nil {
		t.Fatal(err)
	}
	seq, err := b.Lane(topology.At(b.Shards(), conversation, events.ChannelTurn)).Append(t.Context(), after, frame)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func TestFacts(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	facts := func(t *testing.T, conversation string, upTo uint64) []uint64 {
		t.Helper()
		var got []uint64
		err := b.Conversation(conversation).Facts(t.Context(), upTo, func(m bus.Message) error {
			got = append(got, m.Sequence)
			if m.Bad != nil || m.Conversation != conversation || m.Subject != m.Address.Subject(topology.Conv) {
				t.Errorf("message %+v", m)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	t.Run("are without duplicates or gaps while others write", func(t *testing.T) {
		conversation := id()
		var want []uint64
		var turn, lane uint64
		call := topology.OfCall(b.Shards(), conversation, events.ChannelCall, id())
		for i := range 100 {
			switch i % 4 {
			case 0:
				want = append(want, send(t, b, conversation, "hello"))
			case 1:
				turn = decide(t, b, conversation, turn, "")
				want = append(want, turn)
			case 2:
				write(t, b, id(), 0, []int{0})
				output(t, b, conversation)
			case 3:
				seq, err := b.Lane(call).Append(t.Context(), lane, fmt.Appendf(nil, `{"type":"X","n":%d}`, i))
				if err != nil {
					t.Fatal(err)
				}
				lane = seq
				want = append(want, seq)
			}
			if got := facts(t, conversation, 0); !slices.Equal(got, want) {
				t.Fatalf("facts %v, want %v", got, want)
			}
		}
		bound := want[len(want)/2]
		if got := facts(t, conversation, bound); !slices.Equal(got, want[:len(want)/2+1]) {
			t.Errorf("facts up to %d: %v", bound, got)
		}
		emptied(t, b, len(want))
		if got := facts(t, conversation, 0); !slices.Equal(got, want) {
			t.Errorf("facts after they expired in CONV: %v, want %v", got, want)
		}
		if got := facts(t, conversation, bound); !slices.Equal(got, want[:len(want)/2+1]) {
			t.Errorf("facts up to %d after that: %v", bound, got)
		}
	})
	t.Run("end with the callback's error", func(t *testing.T) {
		conversation, why := id(), errors.New("enough")
		send(t, b, conversation, "hello")
		if err := b.Conversation(conversation).Facts(t.Context(), 0, func(bus.Message) error { return why }); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
	})
}

// emptied waits until HISTORY holds n messages, and purges CONV.
func emptied(t *testing.T, b *bus.Bus, n int) {
	t.Helper()
	copied(t, b, n)
	_, js := b.Raw()
	s, err := js.Stream(t.Context(), topology.ConvStream(0))
	if err == nil {
		err = s.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copied waits until HISTORY holds n messages.
func copied(t testing.TB, b *bus.Bus, n int) {
	t.Helper()
	_, js := b.Raw()
	history, err := js.Stream(t.Context(), topology.StreamHistory)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		info, err := history.Info(t.Context())
		return err == nil && int(info.State.Msgs) >= n
	}, "HISTORY does not fill")
}

func TestLastDecision(t *testing.T) {
	b := inProcess(t)
	conversation, other := id(), id()
	one := decide(t, b, conversation, 0, "one")
	decide(t, b, other, 0, "other")
	two := decide(t, b, conversation, one, "two")
	three := decide(t, b, conversation, two, "three")
	check := func(t *testing.T) {
		for _, c := range []struct {
			upTo, seq uint64
			owner     string
		}{{0, three, "three"}, {three, three, "three"}, {three - 1, two, "two"}, {two, two, "two"}, {two - 1, one, "one"}, {one, one, "one"}, {1 << 40, three, "three"}} {
			d, seq, err := b.Conversation(conversation).LastDecision(t.Context(), c.upTo)
			if err != nil || d == nil || seq != c.seq || d.Owner != c.owner {
				t.Errorf("up to %d: %+v at %d, %v; want %q at %d", c.upTo, d, seq, err, c.owner, c.seq)
			}
		}
		if d, _, err := b.Conversation(id()).LastDecision(t.Context(), 0); d != nil || err != nil {
			t.Errorf("of a conversation without any: %v, %v", d, err)
		}
		if d, _, err := b.Conversation(id()).LastDecision(t.Context(), 7); d != nil || err != nil {
			t.Errorf("of a conversation without any, bounded: %v, %v", d, err)
		}
	}
	t.Run("is read from CONV", check)
	emptied(t, b, 4)
	t.Run("is read from HISTORY when it has expired in CONV", check)
	t.Run("is the newer one in CONV when both have one", func(t *testing.T) {
		four := decide(t, b, conversation, 0, "four")
		if d, seq, err := b.Conversation(conversation).LastDecision(t.Context(), 0); err != nil || seq != four || d.Owner != "four" {
			t.Errorf("%+v at %d, %v", d, seq, err)
		}
		if d, seq, err := b.Conversation(conversation).LastDecision(t.Context(), two); err != nil || seq != two || d.Owner != "two" {
			t.Errorf("%+v at %d, %v", d, seq, err)
		}
	})
}

// The server looks at the subjects of all conversations for a bounded direct get, and
// makes a consumer for a read: a Decision shortly before the last one is found by
// stepping back.
func TestADecisionBeforeAPositionIsFoundWithoutLookingAtOtherConversations(t *testing.T) {
	b := inProcess(t)
	nc, js := b.Raw()
	var costly atomic.Int64
	for _, api := range []string{"$JS.API.DIRECT.GET.*", "$JS.API.CONSUMER.CREATE.>"} {
		sub, err := nc.Subscribe(api, func(*nats.Msg) { costly.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	before, conversation := id(), id()
	other := decide(t, b, before, 0, "other")
	var all []uint64
	for i := range 30 {
		after := uint64(0)
		if i > 0 {
			after = all[i-1]
		}
		all = append(all, decide(t, b, conversation, after, fmt.Sprint(i)))
	}
	check := func(upTo uint64, want int, mayCost bool) {
		t.Helper()
		costly.Store(0)
		d, seq, err := b.Conversation(conversation).LastDecision(t.Context(), upTo)
		switch {
		case err != nil:
			t.Errorf("up to %d: %v", upTo, err)
		case want < 0 && d != nil, want >= 0 && (d == nil || seq != all[want] || d.Owner != fmt.Sprint(want)):
			t.Errorf("up to %d: %+v at %d, want decision %d", upTo, d, seq, want)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if n := costly.Load(); n > 0 != mayCost {
			t.Errorf("up to %d: %d costly requests", upTo, n)
		}
	}
	check(all[29], 29, false)
	check(all[29]-1, 28, false)
	check(all[20], 20, false)
	check(all[2], 2, true) // too far back
	stream, err := js.Stream(t.Context(), topology.ConvStream(topology.ShardOf(conversation, b.Shards())))
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range all[4:] {
		if err := stream.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	check(other, -1, false) // before the first
}

// TestForgedHeadersHoldUpNoReader stores messages that look like the server's own
// answers to a client, and headers that only the server sets. Every reader reads
// them in their place, and continues.
func TestForgedHeadersHoldUpNoReader(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	_, js := b.Raw()
	conversation, f := id(), followShard(t, b, 0)
	take(t, f.caught)
	subject := topology.At(b.Shards(), conversation, events.ChannelIn).Subject(topology.Conv)
	var want []uint64
	for _, status := range []string{"100", "404", "408", "409", "503", "204"} {
		for _, header := range []nats.Header{
			{"Status": {status}, "Description": {"Consumer Deleted"}},
			{"Status": {status}, "Nats-Sequence": {"1"}, "Nats-Time-Stamp": {"x"}, "Nats-Subject": {"conv.0.x.in"}, "Nats-Stream": {"X"}, "Nats-Last-Sequence": {"9"}, "Nats-Num-Pending": {"0"}},
		} {
			ack, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: header})
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, ack.Sequence)
		}
	}
	want = append(want, send(t, b, conversation, "hello"))
	for _, sequence := range want {
		if m := take(t, f.got); m.Sequence != sequence || m.Subject != subject {
			t.Fatalf("the follower got %d on %s where %d is due", m.Sequence, m.Subject, sequence)
		}
	}
	f.end(t)
	again := followShard(t, b, 0)
	for _, sequence := range want {
		if m := take(t, again.got); m.Sequence != sequence {
			t.Fatalf("the next follower got %d where %d is due", m.Sequence, sequence)
		}
	}
	take(t, again.caught)
	again.end(t)
	var read []uint64
	for m, err := range b.Conversation(conversation).Attach(within(t, 20*time.Second), bus.From{Ended: true}) {
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, m.Sequence)
	}
	if !slices.Equal(read, want) {
		t.Errorf("a viewer got %v, not %v", read, want)
	}
	copied(t, b, len(want))
	var facts []uint64
	if err := b.Conversation(conversation).Facts(t.Context(), 0, func(m bus.Message) error { facts = append(facts, m.Sequence); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(facts, want) {
		t.Errorf("the facts are %v, not %v", facts, want)
	}
}
