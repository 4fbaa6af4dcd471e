package bus

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Summary is what a list of conversations shows.
type Summary struct {
	ID    string       `json:"id"`
	First string       `json:"first,omitempty"` // the beginning of the first message
	Begun time.Time    `json:"begun,omitzero"`
	Last  time.Time    `json:"last,omitzero"`
	State events.State `json:"state"`
	// Position is where a list continues after this conversation.
	Position uint64 `json:"position,omitempty"`
	Error    string `json:"error,omitempty"` // why it cannot be described
}

// describing is how many conversations of a list are read at once.
const describing = 8

// Conversations lists conversations by last activity, newest first: the page
// after the conversation whose Position is before, or the first one when it is
// 0. limit 0 lists all. more: there may be another page. What HISTORY has not
// copied yet is on the first page only. A conversation that was deleted is not
// listed; one that cannot be described is, with its error.
func (d Deployment) Conversations(ctx context.Context, before uint64, limit int) (page []Summary, more bool, err error) {
	var batch []Recent
	full := func() bool { return limit > 0 && len(page) >= limit }
	flush := func() error {
		described, err := d.bus.describeAll(ctx, batch)
		for _, c := range described {
			if c.State.Phase != events.PhaseDeleted {
				page = append(page, c)
			}
		}
		batch = batch[:0]
		return err
	}
	err = d.Recent(ctx, before, func(r Recent) (bool, error) {
		batch = append(batch, r)
		if limit == 0 && len(batch) < recentWindow || len(page)+len(batch) < limit {
			return true, nil
		}
		err := flush()
		more = full()
		return !more, err
	})
	if err == nil {
		err = flush()
	}
	return page, more, err
}

func (b *Bus) describeAll(ctx context.Context, batch []Recent) ([]Summary, error) {
	all := make([]Summary, len(batch))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(describing)
	for i, r := range batch {
		g.Go(func() error {
			c, err := b.Conversation(r.ID).Describe(ctx)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			c.Last, c.Position = r.Last, r.Position
			if err != nil {
				c.Error = err.Error()
			}
			all[i] = c
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

// Describe returns how a conversation begins and what it is doing. It reads its
// first messages and its last Decision, however long it is. One that has no
// message has no Last.
func (c Conversation) Describe(ctx context.Context) (Summary, error) {
	s := Summary{ID: c.id}
	if err := topology.CheckID("conversation", c.id); err != nil {
		return s, err
	}
	if err := c.bus.opening(ctx, &s); err != nil {
		return s, fmt.Errorf("conversation %s: %w", c.id, err)
	}
	for _, log := range []topology.Log{topology.History, topology.Conv} {
		stream := c.bus.logOf(log, c.id)
		last, err := c.bus.lastFromLeader(ctx, stream, topology.Everything(log, c.bus.Shards(), c.id))
		if err != nil {
			return s, fmt.Errorf("conversation %s: %w", c.id, err)
		}
		if last != nil {
			s.Last = later(s.Last, last.at)
		}
	}
	d, _, err := c.LastDecision(ctx, 0)
	if d != nil {
		s.State = d.State
	}
	return s, err
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b.UTC()
	}
	return a
}

// openingInputs is how many inputs are read to find the first message of a person.
const openingInputs = 4

// opening finds out how a conversation begins: from HISTORY, or from CONV when
// nothing of it was copied yet.
func (b *Bus) opening(ctx context.Context, c *Summary) error {
	for _, log := range []topology.Log{topology.History, topology.Conv} {
		stream := b.logOf(log, c.ID)
		first, err := b.firstOf(ctx, stream, topology.Everything(log, b.Shards(), c.ID), 1)
		if err != nil {
			return err
		}
		if first == nil {
			continue
		}
		c.Begun = first.at.UTC()
		subject := topology.At(b.Shards(), c.ID, events.ChannelIn).Subject(log)
		for n, next := 0, first.seq; n < openingInputs && c.First == ""; n++ {
			m := first
			if m.seq != next || m.subject != subject {
				if m, err = b.firstOf(ctx, stream, subject, next); err != nil || m == nil {
					return err
				}
			}
			next = m.seq + 1
			if c.First, err = b.inputText(ctx, m.data); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

// inputText is the beginning of the text of a person's message; empty when the input
// is something else, or cannot be read.
func (b *Bus) inputText(ctx context.Context, data []byte) (string, error) {
	lines, err := b.decode(ctx, data)
	if err != nil {
		return "", ctx.Err() // it was answered as unreadable; the next one may do
	}
	for _, l := range lines {
		if e, ok := l.Event.(*events.UserMessage); ok {
			text := e.Text
			for i := 0; i < len(e.Parts) && strings.TrimSpace(text) == ""; i++ {
				text = cmp.Or(e.Parts[i].Text, e.Parts[i].Name)
			}
			return Preview(oneLine(text), 200), nil
		}
	}
	return "", nil
}
