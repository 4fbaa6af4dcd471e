package orchestrator

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// tick is how often deadlines are checked and the checkpoint is moved.
const tick = time.Second

// shard is the owner of one shard. One goroutine follows the log and applies
// what needs no decision. A conversation that needs loading, deciding or
// publishing gets a goroutine of its own until it is done; messages that arrive
// before that wait in its inbox. A conversation without work in progress is
// evicted: its last Decision has its state.
//
// An error in one conversation never stops the shard (attend.go).
type shard struct {
	o      *Orchestrator
	n      int
	offers *offerings
	strays *strays
	fail   context.CancelCauseFunc
	work   sync.WaitGroup

	purging chan struct{} // semaphore: bounds concurrent purges

	mu            sync.Mutex
	live          bool // the log was read to its end: decide and publish
	later         bool // a later protocol was logged
	read          uint64
	checkpoint    uint64
	marked        uint64 // what was read when the checkpoint was written
	conversations map[string]*conversation
	idle          map[string]idle // evicted a moment ago
	idleBytes     int64           // of these
	repurges      map[string]repurge
}

// conversation is one with work in progress. While busy, state and the
// fields below it belong to its goroutine; otherwise to the shard's lock.
type conversation struct {
	id          string
	since       uint64 // the first message after it was idle
	busy        bool
	inbox       []bus.Message
	resume      bool                   // repeat the side effects of open work
	looking     bool                   // for lost jobs
	dues        []bus.Due              // timers that have fired
	hookAnswers []*events.HookAnswered // what hooks answered

	state       *accumulator.Conversation
	complete    []int  // blocks whose calls have become complete, see [Env.Complete]
	replayed    bool   // its first message here was read before the log's end was reached
	requestedAt uint64 // position of the gen lane when the open generation was requested
	fault       error  // why the turn cannot continue
	failures    int    // in a row
	hookCalls   map[events.PendingHook]context.CancelFunc
	deletion    deletion
	fetched     fetched
	look        look
	// counted is the turn that is counted for the app whose message started it.
	counted, app string
}

func newShard(o *Orchestrator, n int, offers *offerings) *shard {
	return &shard{o: o, n: n, offers: offers, strays: newStrays(o, n), conversations: map[string]*conversation{}, idle: map[string]idle{},
		repurges: map[string]repurge{}, purging: make(chan struct{}, purging)}
}

func (s *shard) run(ctx context.Context, fail context.CancelCauseFunc) error {
	s.fail = fail
	after, err := s.o.Bus.Shard(s.n).Restore(ctx)
	if err != nil {
		return err
	}
	s.read, s.checkpoint, s.marked = after, after, after
	s.work.Go(func() { s.tend(ctx) })
	s.work.Go(func() { s.sweep(ctx) })
	s.work.Go(func() { s.strays.run(ctx) })
	err = s.o.Bus.Shard(s.n).Follow(ctx, after,
		func(m bus.Message) error { s.take(ctx, m); return nil },
		func() error { s.caughtUp(ctx); return nil })
	fail(err)
	s.work.Wait()
	for _, c := range s.conversations {
		s.evict(c)
	}
	return err
}

// take applies a message or leaves it to its conversation's goroutine.
func (s *shard) take(ctx context.Context, m bus.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = m.Sequence
	if m.Protocol > topology.Protocol && !s.later {
		s.later = true // once: anybody may write any number
		s.o.Log.Warn("an app speaks a later protocol than this orchestrator, which skips what it does not know: update this one",
			"conversation", m.Conversation, "protocol", m.Protocol, "own", topology.Protocol)
	}
	if m.Conversation == "" || topology.ShardOf(m.Conversation, s.o.Bus.Shards()) != s.n {
		s.strays.add(m)
		return
	}
	c := s.conversations[m.Conversation]
	switch {
	case c == nil && m.Bad != nil && m.Channel != events.ChannelIn:
		s.strays.add(m) // there is no work in progress that it could change
		return
	case c == nil && m.Bad == nil && (m.Channel == events.ChannelGen || m.Channel == events.ChannelCall && !wantsDecision(m)):
		s.applyLate(m) // there is no work in progress that it could change
		return
	case c == nil:
		c = s.track(m.Conversation, m.Sequence)
	case !c.busy && len(c.inbox) == 0 && m.Bad == nil && m.Claim() == nil && !wantsDecision(m):
		c.apply(m)
		if g := c.state.Open; (g == nil || g.Ended == nil && g.Size() <= s.o.Ceilings.AnswerBytes) && len(c.state.Abandoned()) == 0 {
			s.evictIfIdle(c)
			return
		}
		// A chunk that breaks the contract ends its generation, and the next attempt
		// the calls of the one before: decide.
		s.wake(ctx, c)
		return
	}
	c.inbox = append(c.inbox, m)
	s.wake(ctx, c)
}

// wantsDecision reports whether a message may lead to a decision.
func wantsDecision(m bus.Message) bool {
	return m.Channel == events.ChannelIn ||
		slices.ContainsFunc(m.Lines, func(l events.Line) bool { return events.Decisive(l.Event) })
}

// wake starts a goroutine for a conversation without one; s.mu is held.
func (s *shard) wake(ctx context.Context, c *conversation) {
	if !c.busy {
		c.busy = true
		s.work.Go(func() { s.attend(ctx, c) })
	}
}

// track starts to keep a conversation in memory that was idle until a
// message; s.mu is held.
func (s *shard) track(id string, since uint64) *conversation {
	c := s.takeIdle(id)
	c.since, c.replayed = since, !s.live
	s.conversations[id] = c
	s.o.Held.Add(1)
	return c
}

// evictIfIdle evicts an idle conversation once its last Decision has come
// back from the log: before that, the Decision would be taken for a new
// message. While the log is read again none is evicted: the previous owner may have
// died before it set or removed a timer, which this one does when it has read all.
// s.mu is held.
func (s *shard) evictIfIdle(c *conversation) {
	if s.holds(c) && len(c.inbox) == 0 && c.state.Quiet() && !c.unpurged() && s.read >= c.state.TurnLane && s.live {
		s.evict(c)
		s.keepIdle(c)
	}
}

// evict removes a conversation from memory; s.mu is held.
func (s *shard) evict(c *conversation) {
	delete(s.conversations, c.id)
	s.o.Held.Add(-1)
	s.uncountTurn(c)
}

// holds reports whether this conversation is in memory; s.mu is held. An
// evicted one may have been loaded again, as another struct.
func (s *shard) holds(c *conversation) bool { return s.conversations[c.id] == c }

// load loads the state of a conversation before its first message here and,
// after an error, puts what has come since into its inbox.
func (s *shard) load(ctx context.Context, c *conversation) error {
	if err := s.loadState(ctx, c); err != nil || c.failures == 0 {
		return err
	}
	var since []bus.Message
	err := s.o.Bus.Conversation(c.id).ReadUnfetched(ctx, c.since-1, func(m bus.Message) error {
		since = append(since, m)
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	c.inbox = append(since, c.inbox...) // one that is there twice counts once
	return err
}

// loadState is load without the messages that have come since. A checkpoint passes a
// turn that has ended wherever its messages are, so that the first that a new owner
// reads may be in the middle of one: what was not answered before it counts, too.
func (s *shard) loadState(ctx context.Context, c *conversation) error {
	c.state = &accumulator.Conversation{ID: c.id}
	c.state.Transcript = accumulator.NewTranscript()
	if c.since <= 1 {
		return nil // the log has nothing before its first message
	}
	last, seq, err := s.o.Bus.Conversation(c.id).LastDecision(ctx, c.since-1)
	switch {
	case err != nil:
		return err
	case last != nil:
		c.state = accumulator.Resume(c.id, last.State, seq)
		c.requestedAt = c.state.GenLane
	default:
		if c.state.TurnLane = seq; !c.replayed {
			return nil // without a Decision the conversation has no state
		}
	}
	upTo := seq
	if c.replayed || mayHaveResults(last.State) {
		upTo = c.since - 1
	}
	said, err := s.readFacts(ctx, c.id, upTo)
	c.state.Transcript, c.state.Inputs = said.Transcript, said.Inputs
	c.state.TakeResults(said)
	return err
}

// mayHaveResults reports whether a call may have got its result after this
// Decision without leading to another one. Other messages after it change
// nothing: inputs are answered by a Decision, and a new owner starts before
// the first that is not.
func mayHaveResults(state events.State) bool {
	return slices.ContainsFunc(state.Calls, func(c events.CallState) bool {
		return c.Running() || c.Status == "" && (c.Waits == events.WaitResult || c.Waits == events.WaitAnswer)
	})
}

// caughtUp starts to decide, first on what was open before.
func (s *shard) caughtUp(ctx context.Context) {
	s.mu.Lock()
	s.live = true
	for _, c := range s.conversations {
		c.resume = true
		s.wake(ctx, c)
	}
	s.mu.Unlock()
	s.work.Go(func() { s.followDues(ctx) })
	s.work.Go(func() { s.restoreTimers(ctx) })
	if s.o.Owned != nil {
		s.o.Owned(s.n)
	}
}

// tend checks deadlines and moves the checkpoint.
func (s *shard) tend(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.offers.look(time.Now())
		to, read, moved := s.survey(ctx)
		if !moved {
			continue
		}
		fault.Point(fault.CheckpointBefore)
		if err := s.o.Bus.Shard(s.n).SetCheckpoint(ctx, to); err != nil {
			if ctx.Err() == nil {
				s.o.Log.Warn("the checkpoint cannot be moved, retrying", "shard", s.n, "error", err)
			}
			continue
		}
		s.checkpoint, s.marked = to, read
		fault.Point(fault.CheckpointAfter)
	}
}

// survey wakes the conversations whose time is up and finds the sequence
// before which no work in progress started. The checkpoint also says what was read, for
// the next owner to see whether it has the same log: it is written when either moves.
func (s *shard) survey(ctx context.Context) (to, read uint64, moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(time.Now())
	to = min(s.read, s.strays.before())
	s.revisit(ctx, time.Now())
	now := s.o.Bus.Now().UnixMilli()
	for _, c := range s.conversations {
		if !fault.Planted(fault.CheckpointPast) {
			to = min(to, c.since-1)
		}
		if !c.busy && c.state.Turn != "" {
			if stop := s.stop(c); stop > 0 && now >= stop && s.live {
				s.wake(ctx, c)
			}
			if s.live && len(c.queued()) > 0 && c.look.due(c.state.TurnLane, time.Now()) {
				c.looking = true
				s.wake(ctx, c)
			}
		}
	}
	to = max(to, s.checkpoint)
	return to, s.read, s.live && (to > s.checkpoint || s.read > s.marked)
}
