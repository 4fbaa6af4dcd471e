package bus

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// From is where a viewer begins. The zero value is the beginning of the log.
type From struct {
	After Cursor    // what was seen last: the next event is the first given
	Since time.Time // begins with the first message stored at or after it
	// Left continues with the rest of the log where its beginning, or what follows
	// After, has expired, and at the beginning of a log that replaced it, instead of
	// an [ExpiredError].
	Left bool
	// Ended stops at the current end of the log instead of following.
	Ended bool
}

// lagMost bounds the backoff between reads for a gap.
const lagMost = 200 * time.Millisecond

// Attach yields a conversation's messages in order, without duplicates or gaps:
// first from the log, then live. It subscribes before it reads, splices by
// sequence, and reads the log again after a gap or a silence. It ends
// when ctx ends, with the consumer's break, or with an error as the last pair.
//
// Messages that the log no longer has are never skipped silently: when something before the next
// message has expired (also while a slow consumer was at work), or the log was
// replaced by another one, the error is an [ExpiredError] with the cursor to
// resume from.
func (c Conversation) Attach(ctx context.Context, from From) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		if err := topology.CheckID("conversation", c.id); err != nil {
			fail(yield, err)
			return
		}
		err := c.attach(from, yield).run(ctx)
		for from.Left && errors.Is(err, ErrCursorExpired) {
			err = c.attach(From{Left: true, Ended: from.Ended}, yield).run(ctx)
		}
		if err != nil && !errors.Is(err, errStopped) {
			fail(yield, err)
		}
	}
}

// fail ends the pairs with an error. It is a call of its own, because a Message takes
// room in the frame of who passes it on, and a viewer waits in these frames: the runtime
// halves a stack of 8 KB when less than 1.2 KB of it are in use.
//
//go:noinline
func fail(yield func(Message, error) bool, err error) { yield(Message{}, err) }

func (c Conversation) attach(from From, yield func(Message, error) bool) *viewer {
	return &viewer{bus: c.bus, conversation: c.id, shard: topology.ShardOf(c.id, c.bus.Shards()), from: from, yield: yield}
}

// errStopped reports that the consumer broke off.
var errStopped = errors.New("stopped")

type viewer struct {
	bus          *Bus
	conversation string
	shard        int
	from         From
	yield        func(Message, error) bool
	epoch        string    // of the log
	end          uint64    // of the log, when it was asked for last
	high         uint64    // last sequence yielded
	latest       time.Time // when that was stored
	seen         positions // last sequence yielded, per subject
}

func (v *viewer) run(ctx context.Context) error {
	if err := v.begin(ctx); err != nil {
		return err
	}
	if v.from.Ended {
		return v.replay(ctx)
	}
	for again := v.bus.newRetry(); ; {
		// The server has the hub's subscription before it answers the first request of
		// the replay: both go the same way.
		h, s, err := v.bus.join(hubKey{v.conversation, v.epoch}, v.shard, v.end)
		if err != nil {
			return err
		}
		before := v.high
		err = v.watch(ctx, h, s)
		v.bus.leave(h, s)
		if err != nil {
			return err
		}
		if v.high > before {
			again = v.bus.newRetry()
		} else if !again.wait(ctx) {
			return context.Cause(ctx)
		}
		if err := v.whole(ctx); err != nil {
			return err
		}
	}
}

// watch yields what the log holds, and then what comes from a hub, until the viewer has
// fallen behind the hub or the hub has ended: then the log has what is missing.
func (v *viewer) watch(ctx context.Context, h *hub, s *seat) error {
	fault.Point(fault.Attaching)
	if err := v.replay(ctx); err != nil {
		return err
	}
	for {
		some, changed, ok := h.take(s)
		if !ok {
			return nil
		}
		for _, m := range some {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := v.give(m); err != nil {
				return err
			}
		}
		if len(some) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// losses counts what may have lost live messages: queue overflows and reconnects.
func (v *viewer) losses(sub *nats.Subscription) uint64 {
	dropped, err := sub.Dropped()
	if err != nil {
		dropped = 0 // the connection is closed: ctx or the next read says so
	}
	return uint64(dropped) + v.bus.nc.Stats().Reconnects<<32
}

// heal reads the log where it holds more than was yielded. The query costs a
// fraction of a replay, and a silent conversation has nothing to replay.
func (v *viewer) heal(ctx context.Context) error {
	r, err := v.next(ctx)
	switch {
	case err == nil && r == nil:
		return v.whole(ctx)
	case err != nil && !v.bus.nc.IsConnected() && !v.bus.nc.IsClosed():
		return nil // queried again when the connection is back
	}
	if err := v.whole(ctx); err != nil {
		return err
	}
	return v.replay(ctx)
}

// next is what the log's leader has behind the last message yielded; nil when that is all.
func (v *viewer) next(ctx context.Context) (*raw, error) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	return v.bus.fromLeader(ctx, topology.ConvStream(v.shard), getRequest{Sequence: v.high + 1, Next: v.pattern()})
}

// replay yields what the log holds after the last message yielded.
func (v *viewer) replay(ctx context.Context) error {
	return v.readLog(ctx, v.high+1)
}

func (v *viewer) pattern() string {
	return topology.Everything(topology.Conv, v.bus.Shards(), v.conversation)
}

// expiryBatch bounds the messages, and expiryBytes the bytes, that a viewer reads
// before it checks that none before them has expired.
const (
	expiryBatch = 1024
	expiryBytes = 4 << 20
)

// readLog yields messages in batches. The log may expire between the check at the
// beginning and the read, or while the consumer of a batch is slow: the check after a
// batch has arrived is the one that shows that nothing before it was skipped.
func (v *viewer) readLog(ctx context.Context, from uint64) error {
	var batch []Message
	var size int
	flush := func() error { // also of nothing: all that was due may have expired
		if err := v.whole(ctx); err != nil {
			return err
		}
		for i := range batch {
			err := v.bus.Objects().FetchWithin(ctx, &batch[i], MaxInput)
			if err == nil {
				err = context.Cause(ctx)
			}
			if err == nil {
				err = v.give(&batch[i])
			}
			if err != nil {
				return err
			}
		}
		clear(batch) // what was given is the consumer's
		batch, size = batch[:0], 0
		return nil
	}
	err := v.bus.read(ctx, topology.ConvStream(v.shard), v.pattern(), from, false, func(r raw) error {
		batch, size = append(batch, v.bus.unfetched(r, false)), size+len(r.data) // decoded while the next ones come
		if len(batch) < expiryBatch && size < expiryBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// live yields a republished message, or reads the log when one before it is
// missing.
func (v *viewer) live(ctx context.Context, msg *nats.Msg) error {
	r, before, ok := republished(msg)
	if !ok {
		return nil
	}
	subject, seq := r.subject, r.seq
	if seq <= v.seen.last(subject) {
		if seq <= v.high && r.at.After(v.latest) {
			return v.whole(ctx) // sequences do not go back but in another log
		}
		return nil
	}
	for again := v.bus.newRetry(); before > v.seen.last(subject); {
		if err := v.whole(ctx); err != nil {
			return err
		}
		// A message that was stored but never republished (its leader died in between)
		// may have been overtaken by other subjects: late is better than never, and its
		// own subject's order holds. All subjects are read: those of the others that are
		// in the log by now and still to come would be behind what is read here.
		if err := v.readLog(ctx, min(v.high, v.seen.last(subject))+1); err != nil {
			return err
		}
		// A replica that lags does not have it yet. One that never gets it (the
		// conversation was deleted meanwhile) must not hold up the rest.
		if v.seen.last(subject) >= before || again.next > lagMost || !again.wait(ctx) {
			break
		}
	}
	if seq <= v.seen.last(subject) {
		return nil
	}
	m, err := v.bus.message(ctx, r, true)
	if err != nil {
		return err
	}
	return v.give(&m)
}

func (v *viewer) give(shared *Message) error {
	m := *shared
	if m.Sequence <= v.seen.last(m.Subject) {
		return nil
	}
	if m.Sequence > v.high {
		v.high, v.latest = m.Sequence, m.Time
	}
	m.Epoch = v.epoch
	v.seen.set(m.Subject, m.Sequence)
	if m.Time.Before(v.from.Since) {
		return nil
	}
	if after := v.from.After; m.Sequence == after.Sequence {
		if after.Index >= len(m.Lines)-1 {
			return nil
		}
		m.Skip = after.Index + 1
	}
	if !v.yield(m, nil) {
		return errStopped
	}
	return nil
}
