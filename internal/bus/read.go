package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// readBatch is how many messages a reader asks for ahead.
const readBatch = 512

// readerIdle is when the server forgets a reader that went away silently.
const readerIdle = 30 * time.Second

// readerHeartbeat is how often the server says that a reader is still there,
// where somebody waits for what it will read. One that went with its node, while
// the connection is to another, is missed after two: nats.go's own 15 s would
// leave a shard undecided for half a minute.
const readerHeartbeat = 2 * time.Second

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
// consumer is lost begins a new one where it was. With bounded, fn is expected to
// end it before what came last.
func (b *Bus) read(ctx context.Context, stream string, filters []string, from uint64, bounded bool, fn func(raw) error) error {
	for again := b.patience(); ; {
		next, err := b.readOnce(ctx, stream, filters, from, bounded, fn)
		var stop *stopError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &stop):
			return stop.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case next > from:
			from, again = next, b.patience()
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) || permanent(err) || !again.wait(ctx) {
			return fmt.Errorf("read %s: %w", stream, explainJetStream(err))
		}
	}
}

// patience is for what is tried again: as long as the server cannot be reached,
// and a number of times when it can.
type patience struct {
	bus   *Bus
	pause time.Duration
	tries int
}

// patientTries with growing pauses are some ten seconds: a cluster has elected
// another leader by then.
const patientTries = 14

func (b *Bus) patience() patience { return patience{b, backoffFirst, patientTries} }

// wait waits before another try. It reports false when there is none: ctx has
// ended, or it was tried often enough.
func (p *patience) wait(ctx context.Context) bool {
	if p.bus.nc.IsConnected() {
		p.tries--
	}
	if p.tries == 0 || p.bus.nc.IsClosed() {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(p.pause):
	}
	p.pause = min(2*p.pause, backoffMost)
	return true
}

// stopError carries an error of the reader's own out of the retry loop.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// fewMessages is up to how many messages a log is read from its beginning, and
// what is not asked for passed over. A consumer that starts in the middle of a
// stream costs the server a look at each message of a block, whoever's it is,
// some milliseconds; one that starts at the beginning costs a look at the index.
const fewMessages = 256

func (b *Bus) readOnce(ctx context.Context, stream string, filters []string, from uint64, bounded bool, fn func(raw) error) (next uint64, err error) {
	making, cancel := answer(ctx)
	defer cancel()
	cons, err := b.makeReader(making, stream, filters, 1)
	if err == nil && from > 1 && cons.CachedInfo().NumPending > fewMessages {
		b.dropReader(ctx, stream, cons)
		cons, err = b.makeReader(making, stream, filters, from)
	}
	if err != nil {
		return from, err
	}
	defer b.dropReader(ctx, stream, cons)
	r := reader{cons: cons, bounded: bounded, from: from, left: cons.CachedInfo().NumPending, fn: func(m raw) error {
		if m.seq < from {
			return nil
		}
		return fn(m)
	}}
	for err == nil && r.left > 0 {
		err = r.batch(ctx)
	}
	return max(r.from, from), err
}

func (b *Bus) makeReader(ctx context.Context, stream string, filters []string, from uint64) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		FilterSubjects: filters, AckPolicy: jetstream.AckNonePolicy,
		DeliverPolicy: jetstream.DeliverAllPolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: readerIdle,
	}
	if from > 1 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	return b.js.CreateConsumer(ctx, stream, cfg)
}

// dropReader deletes a reader's consumer. The server forgets it by itself after
// readerIdle if this fails.
func (b *Bus) dropReader(ctx context.Context, stream string, cons jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	_ = b.js.DeleteConsumer(ctx, stream, cons.CachedInfo().Name)
}

// reader is one consumer's way through a log.
type reader struct {
	cons jetstream.Consumer
	// bounded: the last message is likely not wanted. It is not asked for before
	// the others are there, because the server would look at all that stands
	// between them, and delete the consumer only then.
	bounded bool
	fn      func(raw) error
	from    uint64 // stream sequence that comes next
	read    uint64 // messages so far, as the consumer counts them
	left    uint64 // messages that follow
}

// batch asks for the next messages and gives them to fn.
func (r *reader) batch(ctx context.Context) error {
	fetch, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	most := r.left
	if r.bounded {
		most = max(most-1, 1)
	}
	batch, err := r.cons.Fetch(int(min(most, readBatch)), jetstream.FetchContext(fetch))
	if err != nil {
		return err
	}
	before := r.read
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != r.read+1 {
			return fmt.Errorf("message %d of the reader is missing", r.read+1)
		}
		if err := r.fn(raw{msg.Subject(), msg.Headers().Get("Nats-Stream-Source"), meta.Sequence.Stream, meta.Timestamp, msg.Data()}); err != nil {
			return &stopError{err}
		}
		r.read, r.from, r.left = r.read+1, meta.Sequence.Stream+1, meta.NumPending
	}
	switch {
	case batch.Error() != nil:
		return batch.Error()
	case r.read == before:
		return errors.New("the server sent nothing")
	}
	return ctx.Err()
}
