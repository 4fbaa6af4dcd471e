package bus

import (
	"context"
	"errors"
	"fmt"
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

const (
	// attachQueue is how many live messages wait for a slow viewer; beyond it the
	// viewer reads the log, so that a slow viewer does not slow others.
	attachQueue = 4096
	// attachSilence is the time without a message after which the log is queried
	// for a lost one: a lost last message leaves no gap.
	attachSilence = 15 * time.Second
	// lagMost bounds the backoff between reads for a gap.
	lagMost = 200 * time.Millisecond
)

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
			yield(Message{}, err)
			return
		}
		v := viewer{bus: c.bus, conversation: c.id, shard: topology.ShardOf(c.id, c.bus.Shards()),
			from: from, yield: yield}
		first := v
		err := first.run(ctx)
		for from.Left && errors.Is(err, ErrCursorExpired) {
			left := v
			left.from = From{Left: true, Ended: from.Ended}
			err = left.run(ctx)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Message{}, err)
		}
	}
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
	live := make(chan *nats.Msg, attachQueue)
	sub, err := v.bus.nc.ChanSubscribe(topology.Everything(topology.Live, v.bus.Shards(), v.conversation), live)
	if err != nil {
		return fmt.Errorf("subscribe to conversation %s: %w", v.conversation, err)
	}
	// An error here means that the connection is closed, and the subscription
	// with it.
	defer func() { _ = sub.Unsubscribe() }()
	// The server has the subscription before it answers the first request of the
	// replay: both go the same way.
	reconnected := v.bus.nc.StatusChanged(nats.CONNECTED)
	defer v.bus.nc.RemoveStatusListener(reconnected)
	silence := time.NewTimer(attachSilence)
	defer silence.Stop()
	lost := v.losses(sub)
	fault.Point(fault.Attaching)
	for err = v.replay(ctx); err == nil; silence.Reset(attachSilence) {
		var msg *nats.Msg
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-reconnected:
		case <-silence.C:
		case msg = <-live:
		}
		// What was lost was lost before msg: read the log first, or msg would
		// overtake it.
		if now := v.losses(sub); now != lost || msg == nil {
			lost = now
			err = v.heal(ctx)
		}
		if err == nil && msg != nil {
			err = v.live(ctx, msg)
		}
	}
	return err
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
	ask, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	r, err := v.bus.fromLeader(ask, topology.ConvStream(v.shard), getRequest{Sequence: v.high + 1, Next: v.pattern()})
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

// replay yields what the log holds after the last message yielded.
func (v *viewer) replay(ctx context.Context) error {
	return v.readLog(ctx, v.pattern(), v.high+1)
}

func (v *viewer) pattern() string {
	return topology.Everything(topology.Conv, v.bus.Shards(), v.conversation)
}

// expiryBatch bounds the messages, and expiryBytes the bytes, that a viewer reads
// before it checks that none before them has expired.
const (
	expiryBatch = 256
	expiryBytes = 4 << 20
)

// readLog yields messages in batches. The log may expire between the check at the
// beginning and the read, or while the consumer of a batch is slow: the check after a
// batch has arrived is the one that shows that nothing before it was skipped.
func (v *viewer) readLog(ctx context.Context, pattern string, from uint64) error {
	var batch []raw
	var size int
	flush := func() error { // also of nothing: all that was due may have expired
		if err := v.whole(ctx); err != nil {
			return err
		}
		for _, r := range batch {
			m, err := v.bus.message(ctx, r, false)
			if err == nil {
				err = v.give(m)
			}
			if err != nil {
				return err
			}
		}
		batch, size = nil, 0
		return nil
	}
	err := v.bus.read(ctx, topology.ConvStream(v.shard), pattern, from, false, func(r raw) error {
		batch, size = append(batch, r), size+len(r.data)
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
	if seq <= v.high {
		if r.at.After(v.latest) {
			return v.whole(ctx) // sequences do not go back but in another log
		}
		return nil
	}
	for again := v.bus.newRetry(); before > v.seen.last(subject); {
		pattern, from := v.pattern(), v.high+1
		if before <= v.high {
			// A message that was stored but never republished (its leader died
			// in between), overtaken by other subjects: late is better than
			// never, and its own subject's order holds.
			pattern, from = subject, v.seen.last(subject)+1
		}
		if err := v.whole(ctx); err != nil {
			return err
		}
		if err := v.readLog(ctx, pattern, from); err != nil {
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
	return v.give(m)
}

func (v *viewer) give(m Message) error {
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
