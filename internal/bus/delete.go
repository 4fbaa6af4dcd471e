package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// copyTimeout is how long a purge waits for HISTORY to catch up before it fails,
// to be tried again.
const copyTimeout = 30 * time.Second

// Purge purges everything that is stored of a conversation but its last
// Decision, which is at sequence keep of CONV or later, and the inputs after
// it. It returns how much there was. It can be repeated after a failure: what
// the next steps need to know, such as the ids of jobs, is purged last.
func (c Conversation) Purge(ctx context.Context, keep uint64) (*events.ConversationDeleted, error) {
	if err := topology.CheckID("conversation", c.id); err != nil {
		return nil, fmt.Errorf("purge a conversation: %w", err)
	}
	if keep == 0 {
		return nil, fmt.Errorf("purge conversation %s: it has no decision that says so", c.id)
	}
	p := purge{bus: c.bus, id: c.id, shard: topology.ShardOf(c.id, c.bus.Shards())}
	for _, step := range []func(context.Context) error{
		p.awaitCopies, p.jobs, p.timers, p.objects, p.otherShards,
		func(ctx context.Context) error { fault.Point(fault.PurgeHalf); return p.log(ctx, keep) }, p.history,
	} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("purge conversation %s: %w", c.id, err)
		}
	}
	return &p.found, nil
}

// purge is one purge of a conversation.
type purge struct {
	bus   *Bus
	id    string
	shard int
	found events.ConversationDeleted
}

func (p *purge) subject(log topology.Log, channel string) string { return p.in(p.shard, log, channel) }

func (p *purge) in(shard int, log topology.Log, channel string) string {
	return fmt.Sprintf("%s.%d.%s.%s", log, shard, p.id, channel)
}

// awaitCopies waits until HISTORY holds all facts: a copy that came after the
// purge would stay.
func (p *purge) awaitCopies(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, copyTimeout, errors.New("HISTORY has not copied it yet"))
	defer cancel()
	for shard := range p.bus.Shards() {
		if err := p.awaitCopiesOf(ctx, shard); err != nil {
			return err
		}
	}
	return nil
}

func (p *purge) awaitCopiesOf(ctx context.Context, shard int) error {
	var last *raw
	for _, channel := range topology.FactChannels() {
		m, err := p.bus.lastFromLeader(ctx, topology.ConvStream(shard), p.in(shard, topology.Conv, channel))
		if err != nil {
			return err
		}
		if m != nil && (last == nil || m.seq > last.seq) {
			last = m
		}
	}
	for again := (backoff{next: time.Millisecond, most: backoffMost}); last != nil; {
		copied, err := p.bus.copied(ctx, raw{subject: last.subject, seq: last.seq})
		if err != nil || copied {
			return err
		}
		if !again.wait(ctx) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// jobs purges the jobs of all generations and calls that the facts name.
func (p *purge) jobs(ctx context.Context) error {
	var subjects []string
	err := p.bus.Conversation(p.id).Facts(ctx, 0, func(m Message) error {
		for _, l := range m.Lines {
			d, ok := l.Event.(*events.Decision)
			if !ok {
				continue
			}
			for _, l := range d.Events {
				subjects = append(subjects, topology.JobsOf(l.Event)...)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, subject := range subjects {
		if err := p.bus.purgeSubject(ctx, topology.StreamJobs, subject, 0, &p.found.Jobs); err != nil {
			return err
		}
	}
	return nil
}

func (p *purge) timers(ctx context.Context) error {
	for _, subject := range []string{topology.Timer(p.bus.Shards(), p.id), topology.Due(p.bus.Shards(), p.id)} {
		if err := p.bus.purgeSubject(ctx, topology.StreamTimers, subject, 0, &p.found.Timers); err != nil {
			return err
		}
	}
	return nil
}

// objects purges the objects whose names begin with the conversation's id.
func (p *purge) objects(ctx context.Context) error {
	names, err := p.bus.objectNames(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, p.id+"/") {
			continue
		}
		there, err := p.bus.Objects().Drop(ctx, name)
		if err != nil {
			return err
		}
		if there {
			p.found.Objects++
		}
	}
	return nil
}

// otherShards purges what was published to the wrong shard: its inputs were
// delivered to the conversation's, and the originals remain.
func (p *purge) otherShards(ctx context.Context) error {
	for shard := range p.bus.Shards() {
		if shard == p.shard {
			continue
		}
		if err := p.bus.purgeSubject(ctx, topology.ConvStream(shard), p.in(shard, topology.Conv, ">"), 0, &p.found.Messages); err != nil {
			return err
		}
		if err := p.bus.purgeSubject(ctx, topology.StreamHistory, p.in(shard, topology.History, ">"), 0, &p.found.History); err != nil {
			return err
		}
	}
	return nil
}

// log purges CONV. Inputs after the Decision that stays may not be answered yet;
// of the other channels nothing is needed.
func (p *purge) log(ctx context.Context, keep uint64) error {
	stream := topology.ConvStream(p.shard)
	if err := p.bus.purgeSubject(ctx, stream, p.subject(topology.Conv, ">"), keep, &p.found.Messages); err != nil {
		return err
	}
	for _, channel := range []string{"gen", "call.*", "out.*"} {
		if err := p.bus.purgeSubject(ctx, stream, p.subject(topology.Conv, channel), 0, &p.found.Messages); err != nil {
			return err
		}
	}
	return nil
}

// history purges HISTORY but the last Decision and what follows it.
func (p *purge) history(ctx context.Context) error {
	last, err := p.bus.lastFromLeader(ctx, topology.StreamHistory, p.subject(topology.History, "turn"))
	if err != nil {
		return err
	}
	if last == nil {
		return errors.New("HISTORY does not hold its last decision")
	}
	if err := p.bus.purgeSubject(ctx, topology.StreamHistory, p.subject(topology.History, ">"), last.seq, &p.found.History); err != nil {
		return err
	}
	return p.bus.purgeSubject(ctx, topology.StreamHistory, p.subject(topology.History, "call.*"), 0, &p.found.History)
}

// purgeSubject purges the messages of a subject before a sequence (0: all of
// them) and adds their number to n.
func (b *Bus) purgeSubject(ctx context.Context, stream, subject string, before uint64, n *uint64) error {
	for again := b.newRetry(); ; {
		purged, err := b.purgeOnce(ctx, stream, subject, before)
		if err == nil {
			*n += purged
			return nil
		}
		if Denied(err) {
			return fmt.Errorf("purge %s: %w", subject, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if permanent(err) || !again.wait(ctx) {
			return fmt.Errorf("purge %s: %w", subject, explainJetStream(err))
		}
	}
}

// purgeOnce purges the messages of a subject before a sequence (0: all of them) in
// one request, and returns their number. That there are none is no error.
func (b *Bus) purgeOnce(ctx context.Context, stream, subject string, before uint64) (uint64, error) {
	req, err := json.Marshal(struct {
		Filter string `json:"filter"`
		Before uint64 `json:"seq,omitempty"`
	}{subject, before})
	if err != nil {
		return 0, err
	}
	var got struct {
		Purged uint64 `json:"purged"`
	}
	err = b.callAPI(ctx, "STREAM.PURGE."+stream, req, &got)
	return got.Purged, err
}
