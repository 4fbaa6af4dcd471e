package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// republish publishes again, past a gap, what was written into it: readers skip it, and
// HISTORY copies only what is behind the last fact that was lost.
//
// Inputs keep their ids, which makes that idempotent. A call keeps its start and its
// result, so that it does not run twice, where this user may write on its lane; what
// HISTORY has copied of it counts and is not published again. What was
// streamed of answers is purged, and their generations begin again. Decisions do not
// count: they were made without what HISTORY has.
func (b *Bus) republish(ctx context.Context, shard int, g gap) error {
	from, err := b.firstSince(ctx, shard, g)
	if err != nil || from > g.UpTo {
		return err
	}
	calls, gens := map[topology.Address][]raw{}, map[topology.Address]bool{}
	var order []topology.Address
	err = ended(b.read(ctx, topology.ConvStream(shard), "", from, false, func(r raw) error {
		if r.seq > g.UpTo {
			return errEnd
		}
		m := b.unfetched(r, false)
		switch {
		case m.Conversation == "" || topology.ShardOf(m.Conversation, b.Shards()) != shard:
		case m.Channel == events.ChannelIn:
			return b.republishInput(ctx, m)
		case g.Since.IsZero(): // what is new cannot be told
		case m.Channel == events.ChannelGen:
			gens[m.Address] = true
		case m.Channel == events.ChannelCall:
			if len(calls[m.Address]) == 0 {
				order = append(order, m.Address)
			}
			calls[m.Address] = append(calls[m.Address], r)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	for _, a := range order {
		copies, err := b.copies(ctx, a)
		if err != nil {
			return err
		}
		if err := b.republishCall(ctx, a, calls[a], copies, g); err != nil {
			return err
		}
	}
	for a := range gens {
		if err := b.purgeLane(ctx, a, g); err != nil {
			return err
		}
	}
	return nil
}

// firstSince is the first sequence of a shard's log that was stored after its end was
// lost. Messages are stored in the order of their times.
func (b *Bus) firstSince(ctx context.Context, shard int, g gap) (first uint64, err error) {
	return uint64(sort.Search(int(g.UpTo), func(i int) bool {
		if err != nil {
			return true
		}
		var r *raw
		r, err = b.fromLeader(ctx, topology.ConvStream(shard), getRequest{Sequence: uint64(i) + 1, Next: ">"})
		return err != nil || r == nil || !r.at.Before(g.Since)
	})) + 1, err
}

func (b *Bus) republishInput(ctx context.Context, m Message) error {
	b.log.Warn("an input is published again, past the gap in its log", "conversation", m.Conversation, "sequence", m.Sequence)
	for again := b.newRetry(); ; {
		err := b.Conversation(m.Conversation).Redirect(ctx, m)
		if !errors.Is(err, errDuplicate) || !again.wait(ctx) {
			return err
		}
	}
}

// copies returns what HISTORY has of a call, by sequence in the log.
func (b *Bus) copies(ctx context.Context, a topology.Address) (map[uint64][]byte, error) {
	all := map[uint64][]byte{}
	err := b.read(ctx, topology.StreamHistory, a.Subject(topology.History), 1, false, func(r raw) error {
		o, err := original(r)
		all[o.seq] = o.data
		return err
	})
	return all, err
}

// republishCall publishes a call's lane again: what was written into the gap, and behind
// it what its worker wrote since, because a result counts after its start only. When
// HISTORY has the start, that is what it has not copied.
func (b *Bus) republishCall(ctx context.Context, a topology.Address, lane []raw, copies map[uint64][]byte, g gap) error {
	subject, stream := a.Subject(topology.Conv), topology.ConvStream(a.Shard)
	copied := func(r raw) bool { return bytes.Equal(copies[r.seq], r.data) }
	var since []raw
	last := lane[len(lane)-1].seq
	if err := b.read(ctx, stream, subject, g.UpTo+1, false, func(r raw) error {
		since, last = append(since, r), r.seq
		return nil
	}); err != nil {
		return err
	}
	whole := !copied(lane[0])
	if lane = slices.DeleteFunc(lane, copied); len(lane) == 0 {
		return nil
	}
	if slices.ContainsFunc(since, func(r raw) bool { return bytes.Equal(r.data, lane[0].data) }) {
		return nil // done before
	}
	if whole {
		lane = append(lane, since...)
	}
	b.log.Warn("a call is published again, past the gap in its log", "conversation", a.Conversation, "call", a.Call, "messages", len(lane))
	for _, r := range lane {
		var ack *jetstream.PubAck
		err := b.retryWrite(ctx, "publish to "+subject, func(try context.Context) (err error) {
			ack, err = b.publish(try, &nats.Msg{Subject: subject, Data: r.data}, jetstream.WithExpectLastSequencePerSubject(last))
			if api, is := errors.AsType[*jetstream.APIError](err); is && isWrongLast(api) || Denied(err) {
				return &stopError{err}
			}
			return err
		})
		switch {
		case Denied(err):
			b.log.Warn("a call that a worker wrote to in the gap of a log may stand still until its turn's time limit: this user may not publish its result again", "conversation", a.Conversation, "call", a.Call)
			return nil
		case err != nil:
			return fmt.Errorf("publish call %s again: %w", a.Call, err)
		}
		last = ack.Sequence
	}
	return nil
}

// purgeLane deletes what a lane holds up to the end of a gap.
func (b *Bus) purgeLane(ctx context.Context, a topology.Address, g gap) error {
	s, err := b.stream(ctx, topology.ConvStream(a.Shard))
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(a.Subject(topology.Conv)), jetstream.WithPurgeSequence(g.UpTo+1))
	}
	if err != nil {
		return fmt.Errorf("purge what was streamed of an answer into the gap of shard %d: %w", a.Shard, explainJetStream(err))
	}
	return nil
}
