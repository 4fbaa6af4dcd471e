package bus

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// begin finds out which log this is and where in it the viewer begins.
func (v *viewer) begin(ctx context.Context) error {
	after := v.from.After
	if after.Sequence > 0 {
		v.high = after.Sequence - 1 // the cursor's own message may hold more
		v.seen.floor = v.high
	}
	info, err := v.bus.infoOf(ctx, topology.ConvStream(v.shard))
	if err != nil {
		return fmt.Errorf("conversation %s: %w", v.conversation, err)
	}
	v.epoch = epochOf(info)
	if after.Sequence > info.State.LastSeq || after.Epoch != "" && after.Epoch != v.epoch {
		return &ExpiredError{Conversation: v.conversation, After: after, OtherLog: true}
	}
	return v.wholeIn(ctx, info)
}

// whole reports an [ExpiredError] when something between the last message yielded and
// the log's beginning has expired, or the log is another one by now.
func (v *viewer) whole(ctx context.Context) error {
	info, err := v.bus.infoOf(ctx, topology.ConvStream(v.shard))
	if err != nil {
		return fmt.Errorf("conversation %s: %w", v.conversation, err)
	}
	return v.wholeIn(ctx, info)
}

func (v *viewer) wholeIn(ctx context.Context, info *jetstream.StreamInfo) error {
	v.end = info.State.LastSeq
	at := Cursor{Sequence: v.high, Index: Whole, Epoch: v.epoch}
	next, given := v.high+1, true
	if after := v.from.After; after.Sequence > v.high {
		at, given = after, false
		if after.Index == Whole {
			next++ // the cursor is past all of its own message
		}
	}
	first := max(info.State.FirstSeq, 1)
	switch {
	case epochOf(info) != v.epoch:
		return &ExpiredError{Conversation: v.conversation, After: at, OtherLog: true}
	case next >= first || v.from.Left && v.high == 0:
		return nil
	}
	resume := Cursor{Sequence: first - 1, Index: Whole, Epoch: v.epoch}
	if at.Sequence == 0 {
		at = Cursor{}
	}
	gone, err := v.gone(ctx, at.Sequence, next, first, given)
	if err != nil || !gone {
		return err
	}
	return &ExpiredError{Conversation: v.conversation, After: at, Resume: resume}
}

// gone reports whether the conversation may have had something in a range that has
// expired, between what a viewer was given and the log's beginning. HISTORY knows its
// facts only. Without a fact in the range, events were streamed there if a generation
// was open or a call ran at its start.
func (v *viewer) gone(ctx context.Context, at, next, first uint64, given bool) (bool, error) {
	if at == 0 {
		return v.bus.factBetween(ctx, v.conversation, next, first, v.from.Since)
	}
	last, err := v.bus.lastCopy(ctx, topology.Everything(topology.History, v.bus.Shards(), v.conversation))
	if err != nil {
		return false, err
	}
	if last == nil || last.seq < at || !given && last.seq != at {
		return true, nil
	}
	if !given {
		next = at + 1 // its own message is the last fact
	}
	if gone, err := v.bus.factBetween(ctx, v.conversation, next, first, v.from.Since); err != nil || gone {
		return gone, err
	}
	d, _, err := v.bus.Conversation(v.conversation).LastDecision(ctx, at)
	return d != nil && d.State.Busy(), err
}

// factBetween reports whether a conversation has a fact with a sequence from
// from on and before first, stored at or after since.
func (b *Bus) factBetween(ctx context.Context, conversation string, from, first uint64, since time.Time) (bool, error) {
	filter := topology.Everything(topology.History, b.Shards(), conversation)
	r, err := b.fromLeader(ctx, topology.StreamHistory, getRequest{Sequence: 1, Next: filter})
	for err == nil && r != nil {
		var o raw
		if o, err = original(*r); err != nil || o.seq >= first {
			return false, err
		}
		if o.seq >= from && !r.at.Before(since) {
			return true, nil
		}
		r, err = b.fromLeader(ctx, topology.StreamHistory, getRequest{Sequence: r.seq + 1, Next: filter})
	}
	return false, err
}

// expiring is a read of a log that goes on expiring. A consumer skips what has expired
// and does not say so; the facts in it come from HISTORY.
type expiring struct {
	bus   *Bus
	shard int
	facts func(ctx context.Context, before uint64) error // those from next on
	next  uint64                                         // the sequence that comes next
	at    time.Time                                      // when the one before was stored; zero at first
	keeps time.Duration                                  // the log holds what is younger; 0 when that is not certain
}

// keeps is how long a log holds a message at least: 0 when it has a bound on what it holds,
// which removes messages of any age.
func keeps(cfg jetstream.StreamConfig) time.Duration {
	switch {
	case cfg.MaxBytes > 0 || cfg.MaxMsgs > 0 || cfg.MaxMsgsPerSubject > 0:
		return 0
	case cfg.MaxAge == 0:
		return math.MaxInt64
	}
	return cfg.MaxAge
}

// before passes on the facts before a sequence, up to which the log has expired.
func (e *expiring) before(ctx context.Context, first uint64) error {
	if first <= e.next {
		return nil
	}
	err := e.facts(ctx, first)
	if err == nil {
		e.next = max(e.next, first)
	}
	return err
}

// missed is called before a message that does not follow the one before it, and at the
// end. What lies between is no older than the one before, and so has expired only if that
// one may have.
func (e *expiring) missed(ctx context.Context, seq uint64) error {
	if seq <= e.next || !e.at.IsZero() && e.bus.Now().Sub(e.at) < e.keeps/2 {
		return nil
	}
	first, err := e.first(ctx)
	if err != nil {
		return err
	}
	return e.before(ctx, min(seq, first))
}

// first is where the log begins now.
func (e *expiring) first(ctx context.Context) (uint64, error) {
	info, err := e.bus.infoOf(ctx, topology.ConvStream(e.shard))
	if err != nil {
		return 0, err
	}
	return info.State.FirstSeq, nil
}
