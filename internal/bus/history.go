package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Facts gives what was said, decided and answered in a conversation, in log
// order and up to a sequence (0: to the end): from HISTORY, and from CONV what
// the copy has not reached yet. Sequences are those of CONV, which each copy
// carries.
func (b *Bus) Facts(ctx context.Context, conversation string, upTo uint64, fn func(Message) error) error {
	if err := topology.CheckID("conversation", conversation); err != nil {
		return err
	}
	var high uint64
	err := b.read(ctx, topology.StreamHistory, []string{topology.Everything(topology.History, b.Shards(), conversation)}, 1, upTo > 0, func(r raw) error {
		seq, err := originSequence(r.source)
		if err != nil {
			return fmt.Errorf("message %d of %s: %w", r.seq, topology.StreamHistory, err)
		}
		high = seq
		subject := string(topology.Conv) + strings.TrimPrefix(r.subject, string(topology.History))
		m, err := b.message(ctx, subject, seq, r.at, r.data, false)
		if err != nil {
			return err
		}
		return bounded(m, upTo, fn)
	})
	if err != nil {
		return ended(err)
	}
	// One filter, and what is no fact is passed over here: with several the
	// server looks at every message after high, whoever's it is.
	everything := []string{topology.Everything(topology.Conv, b.Shards(), conversation)}
	return ended(b.readShard(ctx, topology.ShardOf(conversation, b.Shards()), high, everything, upTo > 0, func(m Message) error {
		switch m.Channel {
		case events.ChannelIn, events.ChannelTurn, events.ChannelCall:
			return bounded(m, upTo, fn)
		}
		return bounded(m, upTo, func(Message) error { return nil })
	}))
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

// originSequence reads the sequence of the original from the header that the
// server puts on a copy: "CONV_0 812 conv.> history.> conv.0.….in".
func originSequence(source string) (uint64, error) {
	f := strings.Fields(source)
	if len(f) < 2 {
		return 0, fmt.Errorf("header Nats-Stream-Source %q names no sequence", source)
	}
	return strconv.ParseUint(f[1], 10, 64)
}

// LastDecision is a conversation's last Decision at or before a sequence of
// CONV (0: the last there is), from CONV or, where that has let go of it, from
// HISTORY; nil when there was none. lane is where the turn lane stood. What
// stands there and is no Decision, which only a stranger writes, is passed
// over.
func (b *Bus) LastDecision(ctx context.Context, conversation string, upTo uint64) (d *events.Decision, lane uint64, err error) {
	if err := topology.CheckID("conversation", conversation); err != nil {
		return nil, 0, err
	}
	a := topology.At(b.Shards(), conversation, events.ChannelTurn)
	for bound := upTo; ; {
		last, err := b.lastTurn(ctx, a, bound)
		if err != nil || last == nil {
			return nil, lane, err
		}
		lane = max(lane, last.seq)
		m, err := b.message(ctx, a.Subject(topology.Conv), last.seq, last.at, last.data, false)
		if err != nil {
			return nil, 0, fmt.Errorf("decision %d of conversation %s: %w", last.seq, conversation, err)
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
	stream, subject := topology.ConvStream(a.Shard), a.Subject(topology.Conv)
	last, err := b.lastUpTo(ctx, stream, subject, 0)
	if err == nil && last != nil && upTo > 0 && last.seq > upTo {
		// Not asked at first: nats-server 2.15 finds nothing at all when the
		// bound is past the end of the stream, or of a replica that lags.
		last, err = b.lastUpTo(ctx, stream, subject, upTo)
	}
	if err != nil || last != nil {
		return last, err
	}
	// CONV has let go of it, or there was none. HISTORY numbers its messages
	// otherwise: a bound has to be looked for, unless the last will do.
	last, err = b.lastUpTo(ctx, topology.StreamHistory, a.Subject(topology.History), 0)
	if err != nil || last == nil {
		return nil, err
	}
	if last.seq, err = originSequence(last.source); err != nil || upTo == 0 || last.seq <= upTo {
		return last, err
	}
	last = nil
	err = b.read(ctx, topology.StreamHistory, []string{a.Subject(topology.History)}, 1, false, func(r raw) error {
		var err error
		if r.seq, err = originSequence(r.source); err == nil && r.seq <= upTo {
			last = &r
		}
		return err
	})
	return last, err
}
