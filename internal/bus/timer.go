package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// Due is a timer that fired.
type Due struct {
	Conversation string
	At           time.Time // as given to [Timers.Set], in whole milliseconds
	Sequence     uint64    // in TIMERS
}

// duePayload is what a timer fires with.
type duePayload struct {
	AtMS int64 `json:"at_ms"`
}

// Set makes the conversation's one timer fire at a time, in place of the one
// that was set. It is a scheduled message of TIMERS (ADR-51): the server fires
// it, whichever of our processes live. One in the past fires at once; the
// server looks every 250 ms at most, so a timer that much later than set is usual,
// never earlier. While the server cannot be reached it retries until ctx
// ends.
//
// When the previous timer fires in the same moment, the server removes the new one
// as well (nats-server 2.15.2, processJetStreamMsgWithRollup), and sends the Due of
// the old one. So the handler of a Due sets the timer again
// if the conversation still waits, however old the Due, and only then drops it.
func (t Timers) Set(ctx context.Context, conversation string, at time.Time) error {
	if err := topology.CheckID("conversation", conversation); err != nil {
		return fmt.Errorf("set a timer: %w", err)
	}
	ms := max(at.Add(time.Millisecond-1).UnixMilli(), 1) // rounded up: never too soon
	when := time.UnixMilli(ms).UTC()
	if when.Year() > 9999 {
		return fmt.Errorf("set the timer of conversation %s: year %d cannot be written; wait without a time instead", conversation, when.Year())
	}
	payload, err := json.Marshal(duePayload{ms})
	if err != nil {
		return err
	}
	m := nats.NewMsg(topology.Timer(t.bus.Shards(), conversation))
	m.Data = payload
	// Not by nats.go's option, which cuts to whole seconds: it would fire early.
	m.Header.Set(jetstream.ScheduleHeader, "@at "+when.Format(time.RFC3339Nano))
	m.Header.Set(jetstream.ScheduleTargetHeader, topology.Due(t.bus.Shards(), conversation))
	// A timer that fired twice while nobody followed is delivered once.
	m.Header.Set(jetstream.ScheduleRollupHeader, jetstream.MsgRollupSubject)
	return t.bus.retryWrite(ctx, "set the timer of conversation "+conversation, func(ctx context.Context) error {
		_, err := t.bus.publish(ctx, m)
		return err
	})
}

// Stop cancels the conversation's timer, if there is one. A timer that fires in the
// same moment is still delivered as a [Due].
func (t Timers) Stop(ctx context.Context, conversation string) error {
	if err := topology.CheckID("conversation", conversation); err != nil {
		return fmt.Errorf("stop a timer: %w", err)
	}
	return t.bus.purgeTimers(ctx, "stop the timer of conversation "+conversation, topology.Timer(t.bus.Shards(), conversation), 0)
}

// DropDue deletes a Due, and those of its conversation before it. A missing one is
// no error.
func (t Timers) DropDue(ctx context.Context, d Due) error {
	if err := topology.CheckID("conversation", d.Conversation); err != nil {
		return fmt.Errorf("drop a due timer: %w", err)
	}
	return t.bus.dropDue(ctx, topology.Due(t.bus.Shards(), d.Conversation), d.Sequence)
}

// dropDue purges rather than deletes: then a missing message is no error.
func (b *Bus) dropDue(ctx context.Context, subject string, seq uint64) error {
	return b.purgeTimers(ctx, "drop what fired on "+subject, subject, seq+1)
}

func (b *Bus) purgeTimers(ctx context.Context, what, subject string, before uint64) error {
	return b.retryWrite(ctx, what, func(ctx context.Context) error {
		_, err := b.purgeOnce(ctx, topology.StreamTimers, subject, before)
		return err
	})
}

// FollowDue delivers the timers of a shard that have fired, earlier ones first, in
// the order in which they fired, until ctx ends. A Due is delivered again
// to the next follower until [Timers.DropDue]; a conversation's later Due replaces
// the one before. fn runs on one goroutine, its error ends FollowDue. What
// cannot be read goes to the dead letters and is dropped.
func (s Shard) FollowDue(ctx context.Context, fn func(Due) error) error {
	f := dueFollower{bus: s.bus, shard: s.number, fn: fn, next: 1}
	return s.bus.keepReading(ctx, fmt.Sprintf("the timers of shard %d", s.number), &f.next, f.follow)
}

// dueFollower is the state of one follower of a shard's fired timers.
type dueFollower struct {
	bus   *Bus
	shard int
	fn    func(Due) error
	next  uint64 // sequence that comes next
}

// follow reads on until ctx ends or the reader is lost.
func (f *dueFollower) follow(ctx context.Context) error {
	p, err := f.bus.newPuller(ctx, topology.StreamTimers, topology.DueOf(f.shard), f.next)
	if err != nil {
		return err
	}
	defer p.close()
	for {
		err := p.batch(ctx, pull{most: pullBatch, expires: pullExpires, heartbeat: readerHeartbeat}, func(r raw) error {
			if err := f.give(ctx, r); err != nil {
				return err
			}
			f.next = r.seq + 1
			return nil
		})
		if err != nil {
			return err
		}
	}
}

func (f *dueFollower) give(ctx context.Context, r raw) error {
	d, err := readDue(f.bus.Shards(), f.shard, r.subject, r.data)
	if err != nil {
		// The same id for the same message, should dropping it fail.
		if err := f.bus.Jobs().DeadLetter(ctx, r.subject, r.data, err.Error(), topology.StreamTimers+"-"+strconv.FormatUint(r.seq, 10)); err != nil {
			return err
		}
		return f.bus.dropDue(ctx, r.subject, r.seq)
	}
	d.Sequence = r.seq
	return f.fn(d)
}

func readDue(shards, shard int, subject string, data []byte) (Due, error) {
	at, conversation, err := topology.ParseDue(subject)
	if err != nil {
		return Due{}, err
	}
	if at != shard || topology.ShardOf(conversation, shards) != shard {
		return Due{}, fmt.Errorf("conversation %s belongs to shard %d, not to %d", conversation, topology.ShardOf(conversation, shards), at)
	}
	var p duePayload
	if err := json.Unmarshal(data, &p); err != nil {
		return Due{}, fmt.Errorf(`payload is not of the form {"at_ms":1767225600000}: %w`, err)
	}
	if p.AtMS <= 0 {
		return Due{}, fmt.Errorf("payload has no at_ms in Unix milliseconds")
	}
	return Due{Conversation: conversation, At: time.UnixMilli(p.AtMS).UTC()}, nil
}
