package bus

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// recentWindow is how many messages of a log are looked at first, from its end;
// each further window is twice as large, up to recentWindowMost.
const (
	recentWindow     = 256
	recentWindowMost = 64 << 10
)

// Recent is a conversation's last activity.
type Recent struct {
	ID   string
	Last time.Time // of its last fact
	// Position in HISTORY. Conversations whose position is lower come after it.
	Position uint64
}

// walk is one way through the conversations by last activity.
type walk struct {
	bus  *Bus
	seen map[string]bool
	fn   func(Recent) (more bool, err error)
}

// Recent lists conversations by last activity, newest first, until fn returns
// false. before is the Position of the conversation to continue after; 0 begins
// with the newest. It reads the log from its end backwards, so it costs by the
// conversations listed, however many exist. Invalid subjects are skipped.
func (d Deployment) Recent(ctx context.Context, before uint64, fn func(Recent) (more bool, err error)) error {
	w := walk{bus: d.bus, seen: map[string]bool{}, fn: fn}
	uncopied, err := d.bus.uncopied(ctx)
	if err != nil {
		return err
	}
	// Afterwards: what is copied in between would be in neither.
	end, err := d.bus.endOf(ctx, topology.StreamHistory)
	if err != nil {
		return err
	}
	for _, r := range uncopied {
		w.seen[r.ID] = true
		if before == 0 {
			r.Position = end + 1
			if more, err := fn(r); err != nil || !more {
				return err
			}
		}
	}
	to := end
	if before > 0 {
		to = min(end, before-1)
	}
	for size := uint64(recentWindow); to > 0; size = min(2*size, recentWindowMost) {
		from := max(to, size) - size + 1
		if more, err := w.window(ctx, from, to, before > 0); err != nil || !more {
			return err
		}
		to = from - 1
	}
	return nil
}

// window lists the conversations whose last message is between two sequences of
// HISTORY. later: there are messages after the window that this walk has not
// seen, so the leader is queried for each subject's last message.
func (w *walk) window(ctx context.Context, from, to uint64, later bool) (more bool, err error) {
	found := map[string]raw{}
	err = w.bus.heads(ctx, topology.StreamHistory, from, to, func(h raw) {
		if id := w.bus.conversationOf(h.subject); id != "" && !w.seen[id] {
			found[id] = h
		}
	})
	if err != nil {
		return false, err
	}
	ids := slices.SortedFunc(maps.Keys(found), func(a, b string) int { return cmp.Compare(found[b].seq, found[a].seq) })
	for _, id := range ids {
		w.seen[id] = true
		h := found[id]
		if later {
			last, err := w.bus.lastFromLeader(ctx, topology.StreamHistory, topology.Everything(topology.History, w.bus.Shards(), id))
			if err != nil {
				return false, err
			}
			if last == nil || last.seq != h.seq {
				continue // it was active later, or is being deleted
			}
		}
		if more, err := w.fn(Recent{id, h.at.UTC(), h.seq}); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// conversationOf is the conversation that a subject of a log belongs to; empty
// when it is none: its id is no UUID, its channel is unknown, or it belongs on
// another shard.
func (b *Bus) conversationOf(subject string) string {
	a, err := topology.Parse(subject)
	if err != nil || a.Shard != topology.ShardOf(a.Conversation, b.Shards()) {
		return ""
	}
	return a.Conversation
}

// uncopied lists the conversations with facts in CONV that HISTORY does not hold
// yet, newest first.
func (b *Bus) uncopied(ctx context.Context) ([]Recent, error) {
	var mu sync.Mutex
	var all []Recent
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for shard := range b.Shards() {
		g.Go(func() error {
			found, err := b.uncopiedOf(ctx, shard)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, found...)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Recent) int { return b.Last.Compare(a.Last) })
	return all, nil
}

// uncopiedOf looks at a shard's log from its end backwards, up to a fact that
// HISTORY holds: facts are copied in order.
func (b *Bus) uncopiedOf(ctx context.Context, shard int) ([]Recent, error) {
	stream := topology.ConvStream(shard)
	to, err := b.endOf(ctx, stream)
	if err != nil {
		return nil, err
	}
	last := map[string]Recent{}
	for size := uint64(recentWindow); to > 0; size = min(2*size, recentWindowMost) {
		from := max(to, size) - size + 1
		var facts []raw
		err := b.heads(ctx, stream, from, to, func(h raw) {
			if isFact(h.subject) {
				facts = append(facts, h)
			}
		})
		if err != nil {
			return nil, err
		}
		for _, h := range slices.Backward(facts) {
			copied, err := b.copied(ctx, h)
			if err != nil {
				return nil, err
			}
			if copied {
				return slices.Collect(maps.Values(last)), nil
			}
			if id := b.conversationOf(h.subject); id != "" && last[id].ID == "" {
				last[id] = Recent{ID: id, Last: h.at.UTC()}
			}
		}
		to = from - 1
	}
	return slices.Collect(maps.Values(last)), nil
}

// copied reports whether HISTORY holds a fact of CONV, or a later one of its
// subject.
func (b *Bus) copied(ctx context.Context, fact raw) (bool, error) {
	subject := string(topology.History) + strings.TrimPrefix(fact.subject, string(topology.Conv))
	last, err := b.lastFromLeader(ctx, topology.StreamHistory, subject)
	if err != nil || last == nil {
		return false, err
	}
	origin, err := original(*last)
	return err == nil && origin.seq >= fact.seq, err
}

// isFact reports whether a subject is one that HISTORY copies, whatever its
// conversation's id looks like.
func isFact(subject string) bool {
	t := strings.Split(subject, ".")
	switch {
	case len(t) == 4:
		return t[3] == string(events.ChannelIn) || t[3] == string(events.ChannelTurn)
	case len(t) == 5:
		return t[3] == string(events.ChannelCall)
	}
	return false
}
