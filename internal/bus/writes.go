package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// writeErrorAge is how long a write that failed counts when no other followed.
const writeErrorAge = 15 * time.Second

// writeErrors keeps the last write to each stream that the server did not store.
type writeErrors struct {
	mu    sync.Mutex
	tried map[string]writeError
}

type writeError struct {
	err   error
	first time.Time
	last  time.Time
}

// wrote records how a write to a stream ended. A refusal is an answer too: the
// server that refuses could have stored.
func (w *writeErrors) wrote(stream string, err error) {
	api, answered := errors.AsType[*jetstream.APIError](err)
	if answered && !isFull(api) && api.Code == 400 {
		err = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		delete(w.tried, stream)
		return
	}
	if w.tried == nil {
		w.tried = map[string]writeError{}
	}
	e, known := w.tried[stream]
	if !known {
		e.first = time.Now()
	}
	e.err, e.last = err, time.Now()
	w.tried[stream] = e
}

// failed reports whether the last write to a stream was not stored.
func (w *writeErrors) failed(stream string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, failed := w.tried[stream]
	return failed
}

// writeProblem is the write that fails now; nil when none does.
func (b *Bus) writeProblem() error {
	b.writes.mu.Lock()
	defer b.writes.mu.Unlock()
	for stream, e := range b.writes.tried {
		if time.Since(e.last) < writeErrorAge {
			return fmt.Errorf("%s cannot be written for %s: %w", stream, time.Since(e.first).Round(time.Second), explainWrite(e.err))
		}
	}
	return nil
}

// ErrNotStored is wrapped by the error of a message that the server receives and does
// not store.
var ErrNotStored = errors.New("the server does not store messages")

// NotStored reports whether an error means that the server has no space, or cannot
// write for another reason.
func NotStored(err error) bool { return errors.Is(err, ErrNotStored) || isFull(err) }

// explainWrite adds the likely cause why a stream stores nothing. A server whose
// disk was full once stops answering for the streams it could not write, until
// it is restarted (nats-server 2.15).
func explainWrite(err error) error {
	if unanswered(err) {
		return fmt.Errorf("%w: its disk is full or was, see its log; free the disk, and restart a server that is not embedded: %w", ErrNotStored, err)
	}
	return explainJetStream(err)
}

func unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}

// silence counts the tries of one publish that had no answer.
type silence int

// silentTries of a publish to a stream that otherwise answers mean that it stores
// nothing: a server that is only busy answers one of them.
const silentTries = 2

// lasts reports whether an input or a chunk had no answer because its stream stores
// nothing.
// A replicated stream may be without a leader for some seconds: it is tried again.
func (s *silence) lasts(ctx context.Context, b *Bus, subject string, err error) bool {
	if !unanswered(err) || ctx.Err() != nil || !topology.InLog(subject) && topology.StreamOf(subject) != topology.ObjectStream {
		return false
	}
	if *s++; *s < silentTries {
		return false
	}
	info, err := b.info(ctx, topology.StreamOf(subject))
	return err == nil && info != nil && info.Config.Replicas <= 1
}

// probe tests a write, in the bucket of leases. After an object could not be stored,
// it tests the object store too: small messages may be stored while no object is.
func (b *Bus) probe(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	stream := topology.BucketStream(topology.BucketLeases)
	_, err := b.js.Publish(try, topology.EntrySubject(topology.BucketLeases, topology.ProbeKey), []byte(strconv.FormatInt(time.Now().Unix(), 10)), jetstream.WithRetryAttempts(0))
	b.writes.wrote(stream, err)
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", stream, explainWrite(err))
	}
	if b.writes.failed(topology.ObjectStream) {
		return b.probeObjects(ctx)
	}
	return nil
}

// probeFresh is the age up to which the chunk that another process has stored
// answers for this one: the tests of many processes together store one per
// interval.
const probeFresh = 2 * time.Second

// probeObjects stores a chunk in the object store, of the size of an object's chunks.
// A server without space stops storing in the stream whose write failed, and in a
// disk that is nearly full that is the store first: messages are small, chunks are
// not. A chunk as large in a log could make the server stop storing messages there.
func (b *Bus) probeObjects(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	subject := topology.ChunksSubject(topology.ProbeKey)
	last, err := b.lastFromLeader(ctx, topology.ObjectStream, subject)
	if err == nil && last != nil && b.Now().Sub(last.at) < probeFresh && !b.writes.failed(topology.ObjectStream) {
		return nil
	}
	chunk := make([]byte, chunkBytes)
	_, _ = rand.Read(chunk) // it never fails; zeros would be compressed
	_, err = b.js.Publish(ctx, subject, chunk, jetstream.WithRetryAttempts(0))
	if b.denial(subject) != nil {
		return nil // this user may not, which tells nothing about other users
	}
	b.writes.wrote(topology.ObjectStream, err)
	if err != nil {
		return fmt.Errorf("a write to the object store, where long answers and results go, is not stored: %w", explainWrite(err))
	}
	return nil
}
