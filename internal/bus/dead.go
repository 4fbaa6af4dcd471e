package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Headers of a dead letter.
const (
	headerReason   = "Parley-Reason"
	headerSize     = "Parley-Size"
	headerRejected = "Parley-Rejected" // "true": a worker rejected the job, and wrote nothing else
)

// Rejected is a job that no worker can run.
type Rejected struct {
	ID     string // of the generation or call
	Reason string
}

// FollowRejected passes on the jobs that workers reject from now on, until ctx
// ends. ready is called when no later one can be missed.
func (b *Bus) FollowRejected(ctx context.Context, ready func(), fn func(Rejected)) error {
	last, err := b.lastFromLeader(ctx, topology.StreamDead, "")
	if err != nil {
		return err
	}
	next := uint64(1)
	if last != nil {
		next = last.seq + 1
	}
	ready()
	for again := b.newRetry(); ; {
		before := next
		err := b.rejectedFrom(ctx, &next, fn)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if next > before {
			again = b.newRetry()
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) || permanent(err) || !again.wait(ctx) {
			return fmt.Errorf("follow the rejected jobs: %w", explainJetStream(err))
		}
	}
}

func (b *Bus) rejectedFrom(ctx context.Context, next *uint64, fn func(Rejected)) error {
	p, err := b.newPuller(ctx, topology.StreamDead, topology.DeadSubject("jobs.>"), *next)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	for {
		err := p.batch(ctx, pullBatch, pullExpires, readerHeartbeat, func(r raw) error {
			*next = r.seq + 1
			if rejected, ok := rejection(&r); ok {
				fn(rejected)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// RejectedJob reports whether a worker rejected the job of a generation or call,
// and why.
func (b *Bus) RejectedJob(ctx context.Context, subject string) (reason string, rejected bool, err error) {
	r, err := b.lastFromLeader(ctx, topology.StreamDead, topology.DeadSubject(subject))
	if err != nil || r == nil {
		return "", false, err
	}
	j, ok := rejection(r)
	return j.Reason, ok, nil
}

func rejection(r *raw) (Rejected, bool) {
	id := r.subject[strings.LastIndexByte(r.subject, '.')+1:]
	return Rejected{ID: id, Reason: r.header.Get(headerReason)}, r.header.Get(headerRejected) == "true" && topology.CheckID("job", id) == nil
}

// Redirect publishes an input that was sent to a shard other than its
// conversation's to the right one. Its id stays, or is made from where it was
// found, so that the conversation takes it once however often this is done.
func (b *Bus) Redirect(ctx context.Context, m Message) error {
	id := m.ID
	if id == "" {
		id = fmt.Sprintf("%s-%d", topology.ConvStream(m.Shard), m.Sequence)
	}
	to := topology.At(b.Shards(), m.Conversation, events.ChannelIn)
	ack, err := b.publishData(ctx, to.Subject(topology.Conv), id, m.Data)
	if err != nil || !ack.Duplicate {
		return err
	}
	r, err := b.fromLeader(ctx, topology.ConvStream(to.Shard), getRequest{Sequence: ack.Sequence})
	if err == nil && r != nil && r.subject != to.Subject(topology.Conv) {
		// Dropped by the server. The id must stay, it is what the input is answered
		// under: it goes through when the server's window for duplicates has passed.
		err = fmt.Errorf("an input of another conversation has the message id %q too", id)
	}
	return err
}

// At reads one message of a shard's log from its leader; false when it is gone.
func (b *Bus) At(ctx context.Context, shard int, seq uint64) (Message, bool, error) {
	r, err := b.fromLeader(ctx, topology.ConvStream(shard), getRequest{Sequence: seq})
	if err != nil || r == nil {
		return Message{}, false, err
	}
	return b.unfetched(*r, false), true, nil
}
