package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// compareMost is how many of HISTORY's newest messages are compared with the log when
// a shard is taken.
const compareMost = 256

// lost returns what a shard's log has lost at its end, and the last fact that HISTORY
// has of it; nil when it has lost nothing that was not repaired before.
//
// It costs a request for each mark, a search in HISTORY (about 20 requests), and a
// request for each fact behind the mark: what was written since the last second of the
// owner before. That owner's mark is in the checkpoint. Without one that the log still
// has, these are the facts among HISTORY's newest [compareMost] messages.
func (s Shard) lost(ctx context.Context, after uint64, read mark, copied *raw, info *jetstream.StreamInfo, before *gap) (found *gap, fact uint64, err error) {
	var last raw
	if copied != nil {
		if last, err = original(*copied); err != nil {
			return nil, 0, err
		}
	}
	var repaired uint64 // up to here the log is known not to be whole
	if before != nil {
		repaired = before.UpTo
	}
	own := s.bus.markOf(s.number)
	if repaired != s.bus.gapEnd(s.number) {
		own = mark{} // another owner has repaired the log since this process read it
	}
	floor := max(repaired, max(info.State.FirstSeq, 1)-1) // behind here facts are compared
	for _, m := range []mark{read, own} {
		if m.seq <= repaired {
			continue
		}
		became, err := s.bus.fateOf(ctx, s.number, m)
		switch {
		case err != nil:
			return nil, 0, err
		case became == kept && found == nil:
			floor = max(floor, m.seq)
		case became == replaced && (found == nil || m.seq > found.UpTo):
			found = &gap{UpTo: m.seq, Since: m.at}
		}
	}
	if end := max(last.seq, after); end > info.State.LastSeq {
		return found.with(&gap{UpTo: end, Since: last.at}), last.seq, nil
	}
	if found != nil {
		floor = max(repaired, after-min(after, 1)) // which fact is the last of what was lost?
	}
	if copied == nil || last.seq <= floor {
		return found, 0, nil
	}
	other, err := s.grown(ctx, floor, *copied)
	if err != nil || other == nil {
		return found, 0, err
	}
	return found.with(other), other.UpTo, nil
}

// whole reports whether a shard's log has all that this process has read of it, and the
// facts that HISTORY has behind that.
func (s Shard) whole(ctx context.Context) (bool, error) {
	copied, err := s.bus.lastFromLeader(ctx, topology.StreamHistory, topology.HistoryOf(s.number))
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) { // without HISTORY, the log says all
		return false, err
	}
	info, err := s.bus.infoOf(ctx, topology.ConvStream(s.number)) // after HISTORY, see [Shard.Restore]
	if err != nil {
		return false, err
	}
	found, _, err := s.lost(ctx, 0, mark{}, copied, info, &gap{UpTo: s.bus.gapEnd(s.number)})
	return found == nil, err
}

// with is both gaps as one: what is known of the log that was lost.
func (g *gap) with(other *gap) *gap {
	if g == nil {
		return other
	}
	both := gap{UpTo: max(g.UpTo, other.UpTo), Since: g.Since}
	if other.Since.After(g.Since) {
		both.Since = other.Since
	}
	return &both
}

// grown compares the facts that HISTORY has behind a sequence with the log. What others
// wrote to a log that had lost its end has the sequences of what was lost, which HISTORY
// keeps: it returns the last fact that the log has another message for. A fact that the
// log no longer has, because it expired or was deleted, says nothing.
func (s Shard) grown(ctx context.Context, floor uint64, copied raw) (*gap, error) {
	filter := topology.HistoryOf(s.number)
	begin, err := s.bus.historyFrom(ctx, filter, copied.seq, floor+1)
	if err != nil {
		return nil, err
	}
	if copied.seq > compareMost {
		begin = max(begin, copied.seq-compareMost)
	}
	type fact struct {
		seq     uint64
		at      time.Time
		subject string
		sum     [sha256.Size]byte
	}
	var facts []fact
	err = ended(s.bus.read(ctx, topology.StreamHistory, filter, begin, false, func(r raw) error {
		o, err := original(r)
		if err == nil && r.seq > copied.seq {
			return errEnd
		}
		if err == nil && o.seq > floor {
			facts = append(facts, fact{o.seq, o.at, o.subject, sha256.Sum256(o.data)})
		}
		return err
	}))
	if err != nil {
		return nil, err
	}
	for i := len(facts) - 1; i >= 0; i-- {
		f := facts[i]
		r, err := s.bus.fromLeader(ctx, topology.ConvStream(s.number), getRequest{Sequence: f.seq})
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(dataOf(r)); r != nil && (r.subject != f.subject || !bytes.Equal(sum[:], f.sum[:])) {
			return &gap{UpTo: f.seq, Since: f.at}, nil
		}
	}
	return nil, nil
}

// LostSince returns the sequence of the conversation's first fact from a sequence on that
// HISTORY has and the log lost; 0 when there is none. What has expired is not lost.
func (c Conversation) LostSince(ctx context.Context, from uint64) (uint64, error) {
	if err := topology.CheckID("conversation", c.id); err != nil {
		return 0, err
	}
	shard := topology.ShardOf(c.id, c.bus.Shards())
	var facts []raw
	err := c.bus.read(ctx, topology.StreamHistory, topology.Everything(topology.History, c.bus.Shards(), c.id), 1, false, func(r raw) error {
		o, err := original(r)
		if err == nil && o.seq >= from {
			facts = append(facts, o)
		}
		return err
	})
	if err != nil || len(facts) == 0 {
		return 0, err
	}
	info, err := c.bus.infoOf(ctx, topology.ConvStream(shard))
	if err != nil {
		return 0, err
	}
	for _, f := range facts {
		if f.seq < info.State.FirstSeq {
			continue
		}
		r, err := c.bus.fromLeader(ctx, topology.ConvStream(shard), getRequest{Sequence: f.seq})
		if err != nil {
			return 0, err
		}
		if r == nil || r.subject != f.subject || !bytes.Equal(r.data, f.data) {
			return f.seq, nil
		}
	}
	return 0, nil
}

func dataOf(r *raw) []byte {
	if r == nil {
		return nil
	}
	return r.data
}
