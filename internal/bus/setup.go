package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// part is one stream of a deployment, or the stream under a bucket or the object
// store.
type part struct {
	name  string // of the stream
	want  func(have jetstream.StreamConfig) (next jetstream.StreamConfig, wrong []string)
	make  func(context.Context) error
	shard bool  // a CONV stream
	split int64 // how many streams share the bound on bytes
}

// parts are those of a plan in the order in which they are made: HISTORY comes
// last, because its presence means that all exist.
func (b *Bus) parts(plan topology.Plan) []part {
	var all []part
	for _, cfg := range append(plan.Buckets(), plan.Objects()) {
		all = append(all, part{name: cfg.Name, split: 1,
			want: func(have jetstream.StreamConfig) (jetstream.StreamConfig, []string) {
				next, wrong := topology.Own(have, cfg)
				if cfg.MaxAge > 0 && have.MaxAge == 0 && cfg.Name != topology.ObjectStream {
					next.MaxAge, wrong = cfg.MaxAge, append(wrong, "time to live")
				}
				return next, wrong
			},
			make: func(ctx context.Context) error {
				_, err := b.js.CreateStream(ctx, cfg)
				return err
			}})
	}
	for i, cfg := range plan.Streams() {
		shard := i < plan.Shards // the CONV streams come first
		split := int64(1)
		if shard {
			split = int64(plan.Shards)
		}
		all = append(all, part{name: cfg.Name, shard: shard, split: split,
			want: func(have jetstream.StreamConfig) (jetstream.StreamConfig, []string) { return topology.Own(have, cfg) },
			make: func(ctx context.Context) error {
				if shard {
					// A checkpoint of the log before would skip what is written to this one.
					if err := b.Shard(i).setCheckpoint(ctx, 0, mark{}); err != nil {
						return err
					}
					// Sequences continue: HISTORY copies nothing at or before its last copy.
					last, err := b.lastCopy(ctx, topology.HistoryOf(i))
					switch {
					case err == nil && last != nil:
						cfg.FirstSeq = last.seq + 1
					case err != nil && !errors.Is(err, jetstream.ErrStreamNotFound):
						return err
					}
				}
				_, err := b.js.CreateStream(ctx, cfg)
				return err
			}})
	}
	return all
}

// age is the operator's setting for how long a part keeps its messages; 0 without
// one.
func (p part) age(said topology.Plan) time.Duration {
	switch {
	case p.shard:
		return said.MaxAge
	case p.name == topology.StreamHistory:
		return said.HistoryMaxAge
	case p.name == topology.ObjectStream:
		return said.ObjectsMaxAge
	}
	return 0
}

// bytes is the operator's bound on the size of a part; 0 without one.
func (p part) bytes(said topology.Plan) int64 {
	switch {
	case p.shard:
		return said.MaxBytes / p.split
	case p.name == topology.StreamHistory:
		return said.HistoryMaxBytes
	case p.name == topology.ObjectStream:
		return said.ObjectsMaxBytes
	}
	return 0
}

// setUp creates what is missing. Of what exists it changes the settings that Parley
// needs and those of the operator: the rest is the administrator's.
func (b *Bus) setUp(ctx context.Context, said topology.Plan) error {
	plan, there, err := b.found(ctx, said)
	if err != nil {
		return err
	}
	if err := errors.Join(plan.Check(), said.CheckBytes(plan.Shards)); err != nil {
		return lastingError{err}
	}
	for _, p := range b.parts(plan) {
		change, err := b.ensure(ctx, p, said, there)
		if err != nil {
			return err
		}
		if change != "" {
			b.changes = append(b.changes, p.name+" "+change)
		}
	}
	b.plan, b.said = plan, &said
	return nil
}

// ensure makes a part that is missing and corrects one that is wrong; change
// describes what was done. Where the deployment did not exist before, a stream that
// differs belongs to another program.
func (b *Bus) ensure(ctx context.Context, p part, said topology.Plan, there bool) (change string, err error) {
	ctx, cancel := answer(ctx)
	defer cancel()
	s, err := b.js.Stream(ctx, p.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err = p.make(ctx); err != nil {
			return "", fmt.Errorf("make stream %s: %w", p.name, explainJetStream(err))
		}
		b.evict(p.name)
		return "created", nil
	}
	if err != nil {
		return "", fmt.Errorf("stream %s: %w", p.name, explainJetStream(err))
	}
	b.saw(s.CachedInfo())
	if err := checkProtocol(s.CachedInfo()); err != nil {
		return "", err
	}
	have := s.CachedInfo().Config
	next, wrong := p.want(have)
	if len(wrong) > 0 && !there {
		return "", lastingError{fmt.Errorf("stream %s is there and is not Parley's (%s): give Parley an account of its own, or delete the stream", p.name, strings.Join(wrong, ", "))}
	}
	if said.Replicas > 0 && next.Replicas != said.Replicas {
		next.Replicas, wrong = said.Replicas, append(wrong, "replicas")
	}
	if age := p.age(said); age > 0 && next.MaxAge != age {
		next.MaxAge, wrong = age, append(wrong, "age")
		next.Duplicates = min(next.Duplicates, next.MaxAge)
	}
	if most := p.bytes(said); most > 0 && next.MaxBytes != most {
		next.MaxBytes, wrong = most, append(wrong, "bytes")
	}
	if len(wrong) == 0 {
		return "", nil
	}
	defer b.streams.Delete(p.name) // the handle has the previous configuration
	if _, err := b.js.UpdateStream(ctx, next); err != nil {
		return "", fmt.Errorf("stream %s differs from what Parley needs (%s) and cannot be changed; correct it, or delete it to have it made again: %w", p.name, strings.Join(wrong, ", "), explainJetStream(err))
	}
	return "corrected: " + strings.Join(wrong, ", "), nil
}

// found completes a plan with what the deployment fixed when it was made and,
// where the plan says nothing, with what is there.
func (b *Bus) found(ctx context.Context, plan topology.Plan) (_ topology.Plan, there bool, err error) {
	shards, there, err := b.layout(ctx, plan.Shards)
	if err != nil || shards == 0 {
		return plan.WithDefaults(), false, err
	}
	// A conversation never moves: the shards stay.
	plan.Shards = shards
	type kept struct {
		age     *time.Duration
		bytes   *int64
		streams int64
	}
	for name, kept := range map[string]kept{
		topology.StreamHistory: {&plan.HistoryMaxAge, &plan.HistoryMaxBytes, 1},
		topology.ConvStream(0): {&plan.MaxAge, &plan.MaxBytes, int64(shards)},
		topology.ObjectStream:  {&plan.ObjectsMaxAge, &plan.ObjectsMaxBytes, 1},
	} {
		s, err := b.info(ctx, name)
		if err != nil {
			return plan, there, err
		}
		if s == nil {
			continue
		}
		if plan.Replicas == 0 && name == topology.StreamHistory {
			plan.Replicas = s.Config.Replicas
		}
		*kept.age = cmp.Or(*kept.age, s.Config.MaxAge)
		*kept.bytes = cmp.Or(*kept.bytes, max(s.Config.MaxBytes, 0)*kept.streams)
	}
	return plan.WithDefaults(), there, nil
}

// layout is the number of shards of the deployment; 0 when there is none.
// HISTORY records it or, where that is lost or was made anew, the CONV streams do.
// there reports whether the deployment was complete once: a set-up that did not
// finish may have met streams of another program.
func (b *Bus) layout(ctx context.Context, said int) (shards int, there bool, err error) {
	history, err := b.info(ctx, topology.StreamHistory)
	if err != nil {
		return 0, false, err
	}
	if history != nil {
		if err := checkProtocol(history); err != nil {
			return 0, false, err
		}
		if shards, err := shardsOf(history); err == nil {
			return shards, true, nil
		}
	}
	for shard := 0; ; shard++ {
		s, err := b.info(ctx, topology.ConvStream(shard))
		if err != nil {
			return 0, false, err
		}
		if s == nil && shard >= max(said, shards) {
			break
		}
		if s == nil {
			continue
		}
		used := s.State.LastSeq > 0
		there = there || used
		if noted, err := shardsOf(s); err == nil {
			shards = max(shards, noted)
		} else if used { // made by a version that did not note the shards here
			shards = max(shards, shard+1)
		}
	}
	if history != nil && !there {
		_, err := shardsOf(history)
		return 0, false, err
	}
	return shards, there, nil
}

// checkProtocol returns an error if a stream is of a later protocol than this program
// knows: it would do there what it must not.
func checkProtocol(s *jetstream.StreamInfo) error {
	if there := topology.ProtocolOf(s.Config.Metadata[topology.MetadataProtocol]); there > topology.Protocol {
		return lastingError{fmt.Errorf("this deployment speaks protocol %d (stream %s), and this program protocol %d: update this program", there, s.Config.Name, topology.Protocol)}
	}
	return nil
}

func shardsOf(s *jetstream.StreamInfo) (int, error) {
	shards, err := strconv.Atoi(s.Config.Metadata[topology.MetadataShards])
	if err != nil || shards < 1 {
		return 0, lastingError{fmt.Errorf("stream %s is not Parley's: it has no %s metadata; give Parley an account of its own", s.Config.Name, topology.MetadataShards)}
	}
	return shards, nil
}
