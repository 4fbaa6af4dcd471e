package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// stream is a handle without a round trip: if the stream does not exist, each call
// on it reports that.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if s, ok := b.streams.Load(name); ok {
		return s.(jetstream.Stream), nil
	}
	s, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return b.js.Stream(ctx, name) })
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, explainJetStream(err))
	}
	b.streams.Store(name, s)
	return s, nil
}

// infoOf requests the info of a stream from its leader.
func (b *Bus) infoOf(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	return retryRequest(ctx, b, "stream "+stream, func() (*jetstream.StreamInfo, error) { return b.requestInfo(ctx, stream) })
}

func (b *Bus) requestInfo(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	return ask(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		asked := b.clock.ask()
		info, err := s.Info(ctx)
		if err == nil {
			b.clock.measure(info.TimeStamp, asked)
		}
		return info, err
	})
}

// info is the state of a stream; nil when it does not exist.
func (b *Bus) info(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	s, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		asked := b.clock.ask()
		s, err := b.js.Stream(ctx, name)
		if err == nil {
			b.clock.measure(s.CachedInfo().TimeStamp, asked)
		}
		return s, err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		b.evict(name)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, explainJetStream(err))
	}
	info := s.CachedInfo()
	b.saw(info)
	return info, nil
}

// endOf is the last sequence of a stream; 0 when it never held anything.
func (b *Bus) endOf(ctx context.Context, stream string) (uint64, error) {
	info, err := b.infoOf(ctx, stream)
	if err != nil {
		return 0, err
	}
	return info.State.LastSeq, nil
}

// firstOf reads the first message of a subject at or after a sequence; nil when
// there is none.
func (b *Bus) firstOf(ctx context.Context, stream, subject string, from uint64) (*raw, error) {
	return b.fromLeader(ctx, stream, getRequest{Sequence: max(from, 1), Next: subject})
}

// logOf is the stream that holds a conversation's messages of a log.
func (b *Bus) logOf(log topology.Log, id string) string {
	if log == topology.History {
		return topology.StreamHistory
	}
	return topology.ConvStream(topology.ShardOf(id, b.Shards()))
}
