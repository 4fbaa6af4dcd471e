package bus

import (
	"context"
	"errors"
	"fmt"
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
	s, err := b.stream(ctx, topology.StreamHistory)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter("history.*.*.in"))
	if err != nil {
		return nil, fmt.Errorf("list conversations: %w", explainJetStream(err))
	}
	ids := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		ids = append(ids, strings.Split(subject, ".")[2])
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
	if limit > 0 && len(ids) > limit {
		ids = ids[:limit]
	}
	return ids, nil
}

// Describe says what a conversation is about and how it stands.
func (b *Bus) Describe(ctx context.Context, id string) (Conversation, error) {
	c := Conversation{ID: id}
	s, err := b.stream(ctx, topology.StreamHistory)
	if err != nil {
		return c, err
	}
	subject := topology.At(b.Shards(), id, events.ChannelIn).Subject(topology.History)
	for next := uint64(1); c.First == ""; {
		m, err := s.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return c, fmt.Errorf("read conversation %s: %w", id, explainJetStream(err))
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
