package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// lagging is three servers, one of which was down while something was written.
type lagging struct {
	*brokertest.Lagging
	t *testing.T
	b *bus.Bus // connected to another
}

func newLagging(t *testing.T) *lagging {
	t.Helper()
	c := brokertest.Start(t, brokertest.Slow())
	all, err := bus.Wait(t.Context(), bus.Config{URL: c.URL()}, &topology.Plan{Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	all.Close()
	l := &lagging{Lagging: c.Behind(topology.ConvStream(0)), t: t}
	l.b = l.join(l.Leader)
	return l
}

// join connects to one server.
func (l *lagging) join(node int) *bus.Bus {
	l.t.Helper()
	b, err := bus.Wait(l.t.Context(), bus.Config{URL: l.Node(node)}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(b.Close)
	return b
}

// known is a conversation whose content is known.
type known struct {
	id     string
	inputs []uint64 // sequences
	turns  []uint64
	chunks int
	object *events.Object
	data   []byte
	number int
	kept   uint64 // revision of the known tool
}

func (k *known) input(t *testing.T, b *bus.Bus) {
	t.Helper()
	seq, err := b.Conversation(k.id).Publish(within(t, time.Minute), id(), &events.UserMessage{Text: fmt.Sprintf("input %d", len(k.inputs))})
	if err != nil {
		t.Fatal(err)
	}
	k.inputs = append(k.inputs, seq)
}

func (k *known) decision(t *testing.T, b *bus.Bus) {
	t.Helper()
	frame, err := events.AppendFrame(nil, &events.Decision{State: events.State{Phase: events.PhaseIdle, Turns: len(k.turns) + 1}})
	if err != nil {
		t.Fatal(err)
	}
	var after uint64
	if len(k.turns) > 0 {
		after = k.turns[len(k.turns)-1]
	}
	seq, err := b.Lane(topology.At(b.Shards(), k.id, events.ChannelTurn)).Append(within(t, time.Minute), after, frame)
	if err != nil {
		t.Fatal(err)
	}
	k.turns = append(k.turns, seq)
}

func (k *known) answer(t *testing.T, b *bus.Bus) {
	t.Helper()
	lane := b.Lane(gen(b, k.id)).Open(within(t, time.Minute), 0)
	attempt := id()
	for k.chunks = range 9 {
		if err := lane.Append(chunk(attempt, k.chunks)); err != nil {
			t.Fatal(err)
		}
	}
	k.chunks++
	if _, err := lane.Close(); err != nil {
		t.Fatal(err)
	}
	k.data = []byte(strings.Repeat(k.id, 8000)) // in three chunks
	var err error
	if k.object, err = b.Objects().Put(within(t, time.Minute), k.id, k.data); err != nil {
		t.Fatal(err)
	}
}

// keep writes to the buckets: a checkpoint of a shard of its own, and a tool that
// is known and offered.
func (k *known) keep(t *testing.T, b *bus.Bus) {
	t.Helper()
	spec := events.ToolSpec{Name: k.id}
	err := b.Shard(k.shard()).SetCheckpoint(within(t, time.Minute), uint64(len(k.turns)))
	if err == nil {
		k.kept, err = b.Presence().KeepTool(within(t, time.Minute), offer.Known{Tool: spec, SeenMS: time.Now().UnixMilli()}, k.kept)
	}
	if err == nil {
		err = b.Presence().Announce(within(t, time.Minute), named("w", k.id))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (k *known) shard() int { return 1000 + k.number }

// reads are ways to read a conversation; each reports what is missing or wrong.
func reads() map[string]func(ctx context.Context, b *bus.Bus, k *known) error {
	return map[string]func(ctx context.Context, b *bus.Bus, k *known) error{
		"Facts": func(ctx context.Context, b *bus.Bus, k *known) error {
			var facts int
			err := b.Conversation(k.id).Facts(ctx, 0, func(bus.Message) error { facts++; return nil })
			return counted(err, facts, len(k.inputs)+len(k.turns))
		},
		"LastDecision": func(ctx context.Context, b *bus.Bus, k *known) error {
			return k.lastDecision(ctx, b, 0, len(k.turns))
		},
		"LastDecision up to a position": func(ctx context.Context, b *bus.Bus, k *known) error {
			n := len(k.turns) - 1
			return k.lastDecision(ctx, b, k.turns[n]-1, n)
		},
		"Lane.Read": func(ctx context.Context, b *bus.Bus, k *known) error {
			var all int
			err := b.Lane(topology.At(b.Shards(), k.id, events.ChannelTurn)).Read(ctx, 0, func(bus.Message) error { all++; return nil })
			return counted(err, all, len(k.turns))
		},
		"Lane.Last": func(ctx context.Context, b *bus.Bus, k *known) error {
			last, err := b.Lane(topology.At(b.Shards(), k.id, events.ChannelIn)).Last(ctx)
			return counted(err, int(last.Sequence), int(k.inputs[len(k.inputs)-1]))
		},
		"Attach": func(ctx context.Context, b *bus.Bus, k *known) error {
			var all, chunks int
			for m, err := range b.Conversation(k.id).Attach(ctx, bus.From{Ended: true}) {
				if err != nil {
					return err
				}
				if m.Channel == events.ChannelGen {
					chunks += len(m.Lines)
				} else {
					all++
				}
			}
			return counted(nil, all+chunks, len(k.inputs)+len(k.turns)+k.chunks)
		},
		"Get": func(ctx context.Context, b *bus.Bus, k *known) error {
			data, err := b.Objects().Get(ctx, k.object)
			if err == nil && !bytes.Equal(data, k.data) {
				err = fmt.Errorf("%d bytes, want %d", len(data), len(k.data))
			}
			return err
		},
		"Checkpoint": func(ctx context.Context, b *bus.Bus, k *known) error {
			seq, err := b.Shard(k.shard()).Checkpoint(ctx)
			return counted(err, int(seq), len(k.turns))
		},
		"KnownTools": func(ctx context.Context, b *bus.Bus, k *known) error {
			all, err := b.Presence().KnownTools(ctx)
			return counted(err, len(all), conversations)
		},
		"Roster": func(ctx context.Context, b *bus.Bus, _ *known) error {
			return roster(ctx, b, conversations)
		},
		"Piece": func(ctx context.Context, b *bus.Bus, k *known) error {
			from := len(k.data) - 100
			data, size, err := b.Objects().Piece(ctx, k.object.Name, int64(from), 100)
			if err == nil && (!bytes.Equal(data, k.data[from:]) || size != int64(len(k.data))) {
				err = fmt.Errorf("%d bytes of %d, want 100 of %d", len(data), size, len(k.data))
			}
			return err
		},
	}
}

// roster reports how a roster that starts now differs from so many tools.
func roster(ctx context.Context, b *bus.Bus, tools int) error {
	r := b.Presence().NewRoster()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(running) }()
	select {
	case <-r.Ready():
	case err := <-ended:
		stop()
		return err
	}
	all := len(r.Offers("tool"))
	stop()
	<-ended
	return counted(nil, all, tools)
}

func (k *known) lastDecision(ctx context.Context, b *bus.Bus, upTo uint64, turns int) error {
	d, _, err := b.Conversation(k.id).LastDecision(ctx, upTo)
	if err != nil || d == nil {
		return counted(err, 0, turns)
	}
	return counted(nil, d.State.Turns, turns)
}

func counted(err error, got, want int) error {
	if err == nil && got != want {
		err = fmt.Errorf("got %d, want %d", got, want)
	}
	return err
}

// conversations is how many are read.
const conversations = 40

// TestReadsFromAReplicaThatLagsAreComplete stops one of three servers, writes,
// starts it again, and reads through it while it catches up.
func TestReadsFromAReplicaThatLagsAreComplete(t *testing.T) {
	t.Parallel()
	l := newLagging(t)
	shortenTTL(t, l.b, topology.BucketPresence, time.Hour)
	all := make([]*known, conversations)
	for i := range all {
		all[i] = &known{id: id(), number: i}
		if i%2 == 0 { // the replica knows how it began
			all[i].input(t, l.b)
			all[i].decision(t, l.b)
			all[i].keep(t, l.b)
		}
	}
	l.Stop(l.Away)
	fact := topology.OfCall(l.b.Shards(), id(), events.ChannelCall, id()).Subject(topology.Conv)
	l.Write(fact, fact, fact, fact, fact, fact, "$O."+topology.BucketObjects+".C.other", "$KV."+topology.BucketPresence+".other.#")
	for _, k := range all {
		k.input(t, l.b)
		k.decision(t, l.b)
		k.decision(t, l.b)
		k.answer(t, l.b)
		k.keep(t, l.b)
	}
	end, _, err := l.b.Shard(0).End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Serve(l.Away)
	b := l.join(l.Away)
	var followers errgroup.Group
	for range 8 { // some of them read from the replica
		followers.Go(func() error { return l.follow(b, all[0].inputs[1]-1, end) })
	}
	l.read(b, all, end)
	if err := followers.Wait(); err != nil {
		t.Error(err)
	}
}

// follow follows the log from a position that the replica does not hold yet, until
// it has caught up.
func (l *lagging) follow(b *bus.Bus, after, end uint64) error {
	last, enough := after, errors.New("enough")
	began := time.Now()
	err := b.Shard(0).Follow(within(l.t, time.Minute), after, func(m bus.Message) error {
		last = m.Sequence
		return nil
	}, func() error { return enough })
	l.t.Logf("a follower caught up after %s", time.Since(began).Round(time.Millisecond))
	if !errors.Is(err, enough) || last < end {
		return fmt.Errorf("a follower ended at %d of %d: %w", last, end, err)
	}
	return nil
}

// read reads the conversations in every way through a server that holds less than
// the log's end.
func (l *lagging) read(b *bus.Bus, all []*known, end uint64) {
	t := l.t
	began, held := time.Now(), l.Holds(l.Away, topology.ConvStream(0))
	kinds := reads()
	ways := slices.Sorted(maps.Keys(kinds))
	wrong := make([]atomic.Int64, len(ways))
	g, ctx := errgroup.WithContext(within(t, 5*time.Minute))
	g.SetLimit(16)
	lagged, until, n := 0, held, 600
	if brokertest.Full() {
		n = 3000
	}
	for i := range n {
		if i%100 == 0 {
			if until = l.Holds(l.Away, topology.ConvStream(0)); until < end {
				lagged = i
			}
		}
		g.Go(func() error {
			k, way := all[i/len(ways)%len(all)], i%len(ways)
			if err := kinds[ways[way]](ctx, b, k); err != nil && wrong[way].Add(1) == 1 {
				t.Errorf("%s of conversation %s: %v", ways[way], k.id, err)
			}
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	var faults int64
	for way := range wrong {
		faults += wrong[way].Load()
		t.Logf("%s: %d short, wrong or failed", ways[way], wrong[way].Load())
	}
	t.Logf("%d of %d reads were short, wrong or failed; they took %s; the node began at %d of %d and was at %d later; it lagged at read %d",
		faults, n, time.Since(began).Round(time.Millisecond), held, end, until, lagged)
}
