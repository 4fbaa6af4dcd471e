package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Facts passes on a conversation's facts (inputs, Decisions, results) in log
// order and up to a sequence (0: to the end): from HISTORY, and from CONV what
// the copy has not reached yet. Sequences are those of CONV, which each copy
// carries.
func (c Conversation) Facts(ctx context.Context, upTo uint64, fn func(Message) error) error {
	return c.FactsWithin(ctx, upTo, MaxInput, fn)
}

// FactsWithin is [Conversation.Facts] with a bound on what a message of the in
// channel may claim: what exceeds it is passed on with Bad set.
func (c Conversation) FactsWithin(ctx context.Context, upTo uint64, input int64, fn func(Message) error) error {
	if err := topology.CheckID("conversation", c.id); err != nil {
		return err
	}
	var high uint64
	err := c.bus.read(ctx, topology.StreamHistory, topology.Everything(topology.History, c.bus.Shards(), c.id), 1, upTo > 0, func(r raw) error {
		r, err := original(r)
		if err != nil {
			return err
		}
		high = r.seq
		m, err := c.bus.messageWithin(ctx, r, false, input)
		if err != nil {
			return err
		}
		return bounded(m, upTo, fn)
	})
	if err != nil {
		return ended(err)
	}
	// One filter, and what is no fact is skipped here: with several the server
	// looks at every message after high, of any conversation.
	everything := topology.Everything(topology.Conv, c.bus.Shards(), c.id)
	return ended(c.bus.readShard(ctx, topology.ShardOf(c.id, c.bus.Shards()), high, everything, upTo > 0, input, func(m Message) error {
		switch m.Channel {
		case events.ChannelIn, events.ChannelTurn, events.ChannelCall:
			return bounded(m, upTo, fn)
		}
		return bounded(m, upTo, func(Message) error { return nil })
	}))
}

// Read passes on what was written to a lane of facts after a sequence, in
// order: from HISTORY, where CONV may no longer hold it, and from CONV.
func (l Lane) Read(ctx context.Context, after uint64, fn func(Message) error) error {
	if err := l.address.Check(); err != nil {
		return fmt.Errorf("read a lane: %w", err)
	}
	high := after
	err := l.bus.read(ctx, topology.StreamHistory, l.address.Subject(topology.History), 1, false, func(r raw) error {
		r, err := original(r)
		if err != nil || r.seq <= after {
			return err
		}
		high = r.seq
		m, err := l.bus.message(ctx, r, false)
		if err != nil {
			return err
		}
		return fn(m)
	})
	if err != nil {
		return err
	}
	return l.bus.Shard(l.address.Shard).Read(ctx, high, l.address.Subject(topology.Conv), fn)
}

// Read passes on what the log of a conversation holds after a sequence:
// everything from CONV, and the facts that CONV no longer holds from HISTORY.
func (c Conversation) Read(ctx context.Context, after uint64, fn func(Message) error) error {
	return c.read(ctx, after, MaxInput, fn)
}

// ReadUnfetched is [Conversation.Read] without fetching what messages claim.
func (c Conversation) ReadUnfetched(ctx context.Context, after uint64, fn func(Message) error) error {
	return c.read(ctx, after, -1, fn)
}

func (c Conversation) read(ctx context.Context, after uint64, input int64, fn func(Message) error) error {
	shard := topology.ShardOf(c.id, c.bus.Shards())
	info, err := c.bus.infoOf(ctx, topology.ConvStream(shard))
	if err != nil {
		return err
	}
	e := expiring{bus: c.bus, shard: shard, next: after + 1, keeps: keeps(info.Config)}
	pass := func(m Message) error {
		if m.Sequence < e.next {
			return nil
		}
		e.next, e.at = m.Sequence+1, m.Time
		return fn(m)
	}
	e.facts = func(ctx context.Context, before uint64) error { return c.FactsWithin(ctx, before-1, input, pass) }
	if err := e.before(ctx, max(info.State.FirstSeq, c.bus.gapEnd(shard)+1)); err != nil {
		return err
	}
	e.at = time.Time{} // of what has expired
	take := func(m Message) error {
		if err := e.missed(ctx, m.Sequence); err != nil {
			return err
		}
		return pass(m)
	}
	var held []Message
	var size int
	release := func() error {
		first, err := e.first(ctx)
		for _, m := range held {
			if err == nil {
				err = e.before(ctx, min(m.Sequence, first))
			}
			if err == nil {
				err = pass(m)
			}
		}
		held, size = nil, 0
		return err
	}
	if e.keeps == 0 { // one look at where the log begins for many messages, after they have come
		take = func(m Message) error {
			held, size = append(held, m), size+len(m.Data)
			if len(held) < expiryBatch && size < expiryBytes {
				return nil
			}
			return release()
		}
	}
	err = c.bus.readShard(ctx, shard, e.next-1, topology.Everything(topology.Conv, c.bus.Shards(), c.id), false, input, take)
	if err == nil && len(held) > 0 {
		err = release()
	}
	if err != nil {
		return err
	}
	return e.missed(ctx, math.MaxUint64)
}

// errEnd ends a read at its bound.
var errEnd = errors.New("end")

func bounded(m Message, upTo uint64, fn func(Message) error) error {
	if upTo > 0 && m.Sequence > upTo {
		return errEnd
	}
	if err := fn(m); err != nil || m.Sequence != upTo {
		return err
	}
	return errEnd
}

func ended(err error) error {
	if errors.Is(err, errEnd) {
		return nil
	}
	return err
}

// expiredFacts passes on the facts of a shard that CONV no longer holds: those
// with a sequence from from on and before first.
func (b *Bus) expiredFacts(ctx context.Context, shard int, from, first uint64, fn func(Message) error) error {
	filter := topology.HistoryOf(shard)
	last, err := b.lastFromLeader(ctx, topology.StreamHistory, filter)
	if err != nil || last == nil {
		return err
	}
	begin, err := b.historyFrom(ctx, filter, last.seq, from)
	if err != nil {
		return err
	}
	return ended(b.read(ctx, topology.StreamHistory, filter, begin, false, func(r raw) error {
		r, err := original(r)
		if err != nil {
			return err
		}
		if r.seq >= first {
			return errEnd
		}
		return fn(b.unfetched(r, false))
	}))
}

// historyFrom is where in HISTORY the copies under a filter begin that have a sequence
// from from on; last is HISTORY's last message under the filter. HISTORY numbers its
// messages itself, but keeps the order of each shard.
func (b *Bus) historyFrom(ctx context.Context, filter string, last, from uint64) (begin uint64, err error) {
	begin = uint64(sort.Search(int(last), func(i int) bool {
		if err != nil {
			return true
		}
		var r *raw
		if r, err = b.fromLeader(ctx, topology.StreamHistory, getRequest{Sequence: uint64(i) + 1, Next: filter}); err != nil || r == nil {
			return true
		}
		var o raw
		o, err = original(*r)
		return o.seq >= from
	})) + 1
	return begin, err
}

// LastDecision returns a conversation's last Decision at or before a sequence of
// CONV (0: the last there is), from CONV or, where it has expired there, from
// HISTORY; nil when there was none. lane is the sequence of the last message of
// the turn lane up to there. A message of the lane that is no Decision, which
// only another program writes, is skipped.
func (c Conversation) LastDecision(ctx context.Context, upTo uint64) (d *events.Decision, lane uint64, err error) {
	if err := topology.CheckID("conversation", c.id); err != nil {
		return nil, 0, err
	}
	a := topology.At(c.bus.Shards(), c.id, events.ChannelTurn)
	for bound := upTo; ; {
		last, err := c.bus.lastTurn(ctx, a, bound)
		if err != nil || last == nil {
			return nil, lane, err
		}
		lane = max(lane, last.seq)
		m, err := c.bus.message(ctx, *last, false)
		if err != nil {
			return nil, 0, fmt.Errorf("decision %d of conversation %s: %w", last.seq, c.id, err)
		}
		if len(m.Lines) > 0 {
			if d, ok := m.Lines[0].Event.(*events.Decision); ok {
				return d, lane, nil
			}
		}
		if bound = last.seq - 1; bound == 0 {
			return nil, lane, nil
		}
	}
}

// lastTurn is the last message of a turn lane at or before a sequence of CONV
// (0: the last there is), with that sequence.
func (b *Bus) lastTurn(ctx context.Context, a topology.Address, upTo uint64) (*raw, error) {
	last, err := b.lastFromLeader(ctx, topology.ConvStream(a.Shard), a.Subject(topology.Conv))
	if err == nil && last != nil && upTo > 0 && last.seq > upTo {
		last, err = b.lastUpTo(ctx, a, *last, upTo)
	}
	if err != nil || last != nil && last.seq > b.gapEnd(a.Shard) {
		return last, err
	}
	// It has expired in CONV or is lost, or there was none. HISTORY numbers its
	// messages otherwise: a bound has to be looked for, unless the last will do.
	last, err = b.lastCopy(ctx, a.Subject(topology.History))
	if err != nil || last == nil || upTo == 0 || last.seq <= upTo {
		return last, err
	}
	first, err := b.fromLeader(ctx, topology.StreamHistory, getRequest{Sequence: 1, Next: a.Subject(topology.History)})
	if err != nil || first == nil {
		return nil, err
	}
	if r, err := original(*first); err != nil || r.seq > upTo {
		return nil, err
	}
	last = nil
	err = b.read(ctx, topology.StreamHistory, a.Subject(topology.History), 1, false, func(r raw) error {
		r, err := original(r)
		if err == nil && r.seq <= upTo {
			last = &r
		}
		return err
	})
	return last, err
}

// lastCopy is the last message under a filter of HISTORY's subjects as the one of
// CONV that it is a copy of; nil when there is none.
func (b *Bus) lastCopy(ctx context.Context, filter string) (*raw, error) {
	last, err := b.lastFromLeader(ctx, topology.StreamHistory, filter)
	if err != nil || last == nil {
		return nil, err
	}
	r, err := original(*last)
	return &r, err
}
