package bus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Stuck is a conversation in which nothing happens although something should.
type Stuck struct {
	Conversation string
	Why          string
}

// active is what is known of a conversation that is not idle.
type active struct {
	decided uint64 // its last Decision
	state   events.State
	turnMS  int64 // longest time of a turn, from its Settings
	tools   []string
	asked   uint64
	askedAt time.Time // its last input
}

// Stuck finds the conversations that wait for the orchestrator longer than grace:
// an input is not answered, a timer that fired is not handled, a turn is open
// past the longest time of a turn. It reads what follows the checkpoints: nothing
// that is under way began before.
func (d Deployment) Stuck(ctx context.Context, grace, turn time.Duration) ([]Stuck, error) {
	found := map[string]string{}
	now, err := d.bus.serverTime(ctx)
	if err != nil {
		return nil, err
	}
	for shard := range d.bus.Shards() {
		open, err := d.bus.active(ctx, shard)
		if err != nil {
			return nil, err
		}
		for id, c := range open {
			if why := c.stuck(now, grace, turn); why != "" {
				found[id] = why
			}
		}
	}
	if err := d.bus.overdue(ctx, now.Add(-grace), found); err != nil {
		return nil, err
	}
	var all []Stuck
	for _, id := range slices.Sorted(maps.Keys(found)) {
		all = append(all, Stuck{id, found[id]})
	}
	return all, nil
}

func (c *active) stuck(now time.Time, grace, turn time.Duration) string {
	if c.asked > c.decided && now.Sub(c.askedAt) > grace {
		return fmt.Sprintf("its input %d has had no answer for %s", c.asked, now.Sub(c.askedAt).Round(time.Second))
	}
	if next := c.state.NextMS(); next > 0 && now.Sub(time.UnixMilli(next)) > grace {
		return fmt.Sprintf("its deadline has been over for %s", now.Sub(time.UnixMilli(next)).Round(time.Second))
	}
	if c.turnMS > 0 {
		turn = time.Duration(c.turnMS) * time.Millisecond
	}
	if c.state.Turn != "" && c.state.Phase != events.PhasePaused && c.state.Busy() {
		began := time.UnixMilli(c.state.StartedMS + c.state.WaitedMS)
		if late := now.Sub(began) - 2*turn; late > grace {
			return fmt.Sprintf("its turn has been open for %s", now.Sub(began).Round(time.Second))
		}
	}
	return ""
}

// active reads the inputs and Decisions of a shard that follow its checkpoint.
func (b *Bus) active(ctx context.Context, shard int) (map[string]*active, error) {
	after, err := b.Shard(shard).Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]*active{}
	// One filter for each channel: with several the server looks at every message.
	for _, channel := range []events.Channel{events.ChannelIn, events.ChannelTurn} {
		if err := b.Shard(shard).Read(ctx, after, topology.OfShard(shard, string(channel)), func(m Message) error {
			if m.Conversation == "" {
				return nil
			}
			c := all[m.Conversation]
			if c == nil {
				c = &active{}
				all[m.Conversation] = c
			}
			if m.Channel == events.ChannelIn {
				c.asked, c.askedAt = m.Sequence, m.Time
			}
			for _, l := range m.Lines {
				switch e := l.Event.(type) {
				case *events.Decision:
					c.decided, c.state = m.Sequence, e.State
				case *events.Settings:
					c.turnMS = max(c.turnMS, e.Limits.TimeMS)
					if len(e.Tools) > 0 {
						c.tools = e.Tools
					}
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ToolsWanted are the names and patterns of tools in the Settings of conversations
// that are under way, each with one such conversation.
func (d Deployment) ToolsWanted(ctx context.Context) (map[string]string, error) {
	wanted := map[string]string{}
	for shard := range d.bus.Shards() {
		open, err := d.bus.active(ctx, shard)
		if err != nil {
			return nil, err
		}
		for id, c := range open {
			for _, tool := range c.tools {
				wanted[tool] = id
			}
		}
	}
	return wanted, nil
}

// overdue notes the conversations whose timer fired before a time.
func (b *Bus) overdue(ctx context.Context, before time.Time, found map[string]string) error {
	s, err := b.stream(ctx, topology.StreamTimers)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(topology.AllDue))
	if err != nil {
		return fmt.Errorf("list timers that fired: %w", explainJetStream(err))
	}
	for subject := range info.State.Subjects {
		id, err := topology.ConversationOf(subject)
		if err != nil {
			continue
		}
		m, err := b.lastFromLeader(ctx, topology.StreamTimers, subject)
		if err != nil {
			return fmt.Errorf("timer of %s: %w", id, explainJetStream(err))
		}
		if m != nil && m.at.Before(before) {
			found[id] = "its timer fired at " + m.at.UTC().Format(time.TimeOnly) + " UTC and was not handled"
		}
	}
	return nil
}

// serverTime is what time it is for the server, whose times messages carry.
func (b *Bus) serverTime(ctx context.Context) (time.Time, error) {
	skew, err := b.Deployment().ClockSkew(ctx)
	return time.Now().Add(-skew), err
}
