package bus

import (
	"context"
	"fmt"
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
