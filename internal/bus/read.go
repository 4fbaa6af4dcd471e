package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// readBatch is how many messages a reader asks for ahead.
const readBatch = 512

// readerIdle is when the server forgets a reader that went away silently.
const readerIdle = 30 * time.Second

// raw is a stored message before it is decoded.
type raw struct {
	subject string
	source  string // Nats-Stream-Source of a copy
	seq     uint64
	at      time.Time
	data    []byte
}

// read gives what a stream holds under the filters from sequence from on, in
// order, up to the end as it stood when reading began or later. A reader whose
// consumer is lost begins a new one where it was.
func (b *Bus) read(ctx context.Context, stream string, filters []string, from uint64, fn func(raw) error) error {
	for wait := backoffFirst; ; wait = min(2*wait, backoffMost) {
		next, err := b.readOnce(ctx, stream, filters, from, fn)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		var stop *stopError
		if errors.As(err, &stop) {
			return stop.err
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, nats.ErrConnectionClosed) || next == from && wait >= backoffMost {
			return fmt.Errorf("read %s: %w", stream, explainJetStream(err))
		}
		from = next
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// stopError carries an error of the reader's own out of the retry loop.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

func (b *Bus) readOnce(ctx context.Context, stream string, filters []string, from uint64, fn func(raw) error) (next uint64, err error) {
	cfg := jetstream.ConsumerConfig{
		FilterSubjects: filters, AckPolicy: jetstream.AckNonePolicy,
		DeliverPolicy: jetstream.DeliverAllPolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: readerIdle,
	}
	if from > 1 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	cons, err := b.js.CreateConsumer(ctx, stream, cfg)
	if err != nil {
		return from, err
	}
	info := cons.CachedInfo()
	defer func() {
		// The server forgets it by itself after readerIdle if this fails.
		done, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
		defer cancel()
		_ = b.js.DeleteConsumer(done, stream, info.Name)
	}()
	expect := uint64(1)
	for left := info.NumPending; left > 0; {
		batch, err := cons.Fetch(int(min(left, readBatch)), jetstream.FetchMaxWait(appendTimeout))
		if err != nil {
			return from, err
		}
		got := 0
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return from, err
			}
			if meta.Sequence.Consumer != expect {
				return from, fmt.Errorf("message %d of the reader is missing", expect)
			}
			expect++
			got++
			if err := fn(raw{msg.Subject(), msg.Headers().Get("Nats-Stream-Source"), meta.Sequence.Stream, meta.Timestamp, msg.Data()}); err != nil {
				return from, &stopError{err}
			}
			from, left = meta.Sequence.Stream+1, meta.NumPending
		}
		if err := batch.Error(); err != nil {
			return from, err
		}
		if got == 0 {
			return from, errors.New("the server sent nothing")
		}
		if err := ctx.Err(); err != nil {
			return from, err
		}
	}
	return from, nil
}
