package orchestrator

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// strays handles a shard's messages that belong to none of its conversations, in
// one goroutine however many come: inputs of a conversation of another shard are
// sent there, the others become dead letters.
type strays struct {
	o *Orchestrator
	n int

	mu    sync.Mutex
	wake  chan struct{}
	queue []stray
	full  bool // dead letters are not written any more; logged once
}

// stray is a message that waits. Its payload is read again when its turn comes.
type stray struct {
	seq  uint64
	to   int // shard; -1 for the dead letters
	what error
}

// maxDeadLetters bounds the dead letters in memory. What exceeds it stays in
// the log only, for as long as that keeps it.
const maxDeadLetters = 1024

func newStrays(o *Orchestrator, n int) *strays {
	return &strays{o: o, n: n, wake: make(chan struct{}, 1)}
}

// add takes a message. It never blocks.
func (s *strays) add(m bus.Message) {
	item := stray{seq: m.Sequence, to: -1, what: m.Bad}
	if m.Conversation != "" {
		shard := topology.ShardOf(m.Conversation, s.o.Bus.Shards())
		item.what = fmt.Errorf("conversation %s belongs to shard %d, not to %d: publish to conv.%d.%s.%s", m.Conversation, shard, s.n, shard, m.Conversation, m.Channel)
		if m.Channel == events.ChannelIn {
			item.to = shard
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if item.to < 0 && len(s.queue) >= maxDeadLetters {
		if !s.full {
			s.o.Log.Warn("too many messages on invalid subjects: some are not written to the dead letters and stay in the log only", "shard", s.n, "subject", m.Subject)
		}
		s.full = true
		return
	}
	s.full = false
	s.queue = append(s.queue, item)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// before is the sequence before which nothing waits.
func (s *strays) before() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return math.MaxUint64
	}
	return s.queue[0].seq - 1
}

// run handles what comes until ctx ends.
func (s *strays) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		queue := s.queue
		s.mu.Unlock()
		if len(queue) == 0 {
			select {
			case <-ctx.Done():
			case <-s.wake:
			}
			continue
		}
		if err := s.handle(ctx, queue[0]); err != nil {
			s.o.Log.Warn("an input for another shard could not be delivered, retrying", "shard", s.n, "sequence", queue[0].seq, "error", err)
			s.o.backoff(ctx)
			continue
		}
		s.mu.Lock()
		s.queue = s.queue[1:]
		s.mu.Unlock()
	}
}

func (s *strays) handle(ctx context.Context, item stray) error {
	m, found, err := s.o.Bus.Shard(s.n).At(ctx, item.seq)
	if err != nil || !found {
		return err
	}
	if item.to < 0 {
		m.Bad = item.what
		s.deadLetter(ctx, m)
		return nil
	}
	s.o.Log.Warn("an input was published to another shard than its conversation's, delivering it", "conversation", m.Conversation, "from", s.n, "to", item.to, "sequence", m.Sequence)
	if err := s.o.Bus.Conversation(m.Conversation).Redirect(ctx, m); err != nil && !bus.Lasting(err) {
		return err
	}
	return nil
}

// deadLetter writes a message that cannot be read to the dead letters. One
// from the in channel is also answered in its conversation.
func (s *strays) deadLetter(ctx context.Context, m bus.Message) {
	id := fmt.Sprintf("%s %d", topology.ConvStream(s.n), m.Sequence)
	if err := s.o.Bus.Jobs().DeadLetter(ctx, m.Subject, m.Data, m.Bad.Error(), id); err != nil && ctx.Err() == nil {
		s.o.Log.Warn("a dead letter could not be written; the message stays in the log", "subject", m.Subject, "sequence", m.Sequence, "error", err)
	}
}
