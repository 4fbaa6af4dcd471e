package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Conversation is what a list of conversations shows.
type Conversation struct {
	ID    string       `json:"id"`
	First string       `json:"first,omitempty"` // the beginning of the first message
	Begun time.Time    `json:"begun"`
	Last  time.Time    `json:"last"`
	State events.State `json:"state"`
}

// ConversationIDs are the ids of the newest conversations, newest first: ids
// are UUIDv7, which sort by time. limit 0 gives all.
func (b *Bus) ConversationIDs(ctx context.Context, limit int) ([]string, error) {
	seen := map[string]bool{}
	if err := b.begun(ctx, topology.StreamHistory, "history.*.*.in", seen); err != nil {
		return nil, err
	}
	// And what the copy has not reached yet.
	for shard := range b.Shards() {
		if err := b.begun(ctx, topology.ConvStream(shard), fmt.Sprintf("conv.%d.*.in", shard), seen); err != nil {
			return nil, err
		}
	}
	ids := slices.SortedFunc(maps.Keys(seen), func(a, b string) int { return strings.Compare(b, a) })
	if limit > 0 && len(ids) > limit {
		ids = ids[:limit]
	}
	return ids, nil
}

// begun notes the conversations in which a stream holds something said.
func (b *Bus) begun(ctx context.Context, stream, subjects string, seen map[string]bool) error {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subjects))
	if err != nil {
		return fmt.Errorf("list conversations: %w", explainJetStream(err))
	}
	for subject := range info.State.Subjects {
		seen[strings.Split(subject, ".")[2]] = true
	}
	return nil
}

// Describe says what a conversation is about and how it stands.
func (b *Bus) Describe(ctx context.Context, id string) (Conversation, error) {
	c := Conversation{ID: id}
	a := topology.At(b.Shards(), id, events.ChannelIn)
	err := b.opening(ctx, topology.StreamHistory, a.Subject(topology.History), &c)
	if err == nil && c.Begun.IsZero() { // the copy has not come that far
		err = b.opening(ctx, topology.ConvStream(a.Shard), a.Subject(topology.Conv), &c)
	}
	if err != nil {
		return c, err
	}
	last, err := b.LastOf(ctx, topology.At(b.Shards(), id, events.ChannelTurn))
	if err != nil {
		return c, err
	}
	if len(last.Lines) > 0 {
		if d, ok := last.Lines[0].Event.(*events.Decision); ok {
			c.State, c.Last = d.State, last.Time
		}
		return c, nil
	}
	d, _, err := b.LastDecision(ctx, id, 0)
	if d != nil {
		c.State = d.State
	}
	return c, err
}

// opening finds out how a conversation begins.
func (b *Bus) opening(ctx context.Context, stream, subject string, c *Conversation) error {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	for next := uint64(1); c.First == ""; {
		m, err := s.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read conversation %s: %w", c.ID, explainJetStream(err))
		}
		if c.Begun.IsZero() {
			c.Begun, c.Last = m.Time, m.Time
		}
		next = m.Sequence + 1
		lines, err := b.decode(ctx, m.Data)
		if err != nil {
			continue // it was answered as unreadable; the next one may do
		}
		for _, l := range lines {
			if e, ok := l.Event.(*events.UserMessage); ok && c.First == "" {
				c.First = Preview(oneLine(e.Text), 200)
			}
		}
	}
	return nil
}
