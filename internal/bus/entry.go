package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

func (b *Bus) bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	return ask(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return b.js.KeyValue(ctx, name) })
}

// putEntry stores a value under a key of a bucket and returns its revision. It
// publishes to the key's subject itself: nats.go puts its API prefix before it,
// and would read the bucket's configuration first.
func (b *Bus) putEntry(ctx context.Context, bucket, key string, value []byte) (uint64, error) {
	return b.publishEntry(ctx, &nats.Msg{Subject: topology.EntrySubject(bucket, key), Data: value})
}

// deleteEntry deletes a key of a bucket, whether it exists or not.
func (b *Bus) deleteEntry(ctx context.Context, bucket, key string) error {
	m := nats.NewMsg(topology.EntrySubject(bucket, key))
	m.Header.Set(topology.HeaderOperation, "DEL")
	_, err := b.publishEntry(ctx, m)
	return err
}

func (b *Bus) publishEntry(ctx context.Context, m *nats.Msg) (uint64, error) {
	ctx, cancel := answer(ctx)
	defer cancel()
	ack, err := b.publish(ctx, m)
	if Denied(err) {
		return 0, err
	}
	if err != nil {
		return 0, explainJetStream(err)
	}
	return ack.Sequence, nil
}

// ttlOf returns how long a bucket keeps an entry that is not repeated. The bucket
// decides, not this program's constants: they may be of different versions.
func (b *Bus) ttlOf(ctx context.Context, bucket string) (time.Duration, error) {
	info, err := b.info(ctx, topology.BucketStream(bucket))
	switch {
	case err != nil:
		return 0, fmt.Errorf("bucket %s: %w", bucket, err)
	case info == nil:
		return 0, fmt.Errorf("bucket %s: %w", bucket, explainJetStream(jetstream.ErrStreamNotFound))
	case info.Config.MaxAge < 100*time.Millisecond:
		return 0, fmt.Errorf("bucket %s keeps entries for %s: set it up again, it needs a time to live", bucket, info.Config.MaxAge)
	}
	return info.Config.MaxAge, nil
}
