package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// maxObject bounds what is taken by reference, in bytes.
const maxObject = 256 << 20

// previewBytes is how much of a claimed payload stands in the message.
const previewBytes = 2 << 10

// answerTime is how long the server may take to answer.
const answerTime = 5 * time.Second

// answer bounds the wait for an answer. A connection that is cut takes requests
// with it unseen, and nats.go waits as long as the context lasts if that has a
// deadline, be it a day.
func answer(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, answerTime)
}

// stream is a handle without a round trip: the streams exist, or every call on
// them says that they do not.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if s, ok := b.streams.Load(name); ok {
		return s.(jetstream.Stream), nil
	}
	ctx, cancel := answer(ctx)
	defer cancel()
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, explainJetStream(err))
	}
	b.streams.Store(name, s)
	return s, nil
}

// Put stores bytes that belong to a conversation.
func (b *Bus) Put(ctx context.Context, conversation string, data []byte) (*events.Object, error) {
	if len(data) > maxObject {
		return nil, fmt.Errorf("%d bytes are more than the %d that an object may have", len(data), maxObject)
	}
	store, err := b.js.ObjectStore(ctx, topology.BucketObjects)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", explainJetStream(err))
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	name := conversation + "/" + id.String()
	for again := b.patience(); ; {
		try, cancel := context.WithTimeout(ctx, transferTime(int64(len(data))))
		_, err := store.PutBytes(try, name, data)
		cancel()
		if err == nil {
			break
		}
		if permanent(err) || !again.wait(ctx) {
			return nil, fmt.Errorf("store object %s: %w", name, explainJetStream(err))
		}
	}
	sum := sha256.Sum256(data)
	return &events.Object{Bucket: topology.BucketObjects, Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}, nil
}

// fetchError says that an object could not be fetched now. That is no fault of
// the message that refers to it.
type fetchError struct{ err error }

func (e *fetchError) Error() string { return e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

// Get fetches an object and checks its digest. While the server cannot be
// reached it tries again until ctx ends.
func (b *Bus) Get(ctx context.Context, o *events.Object) ([]byte, error) {
	if o.Bucket != topology.BucketObjects || o.Size < 0 || o.Size > maxObject {
		return nil, fmt.Errorf("object %q in %q of %d bytes is not one of Parley's", Preview(o.Name, 100), Preview(o.Bucket, 100), o.Size)
	}
	var data []byte
	for again := b.patience(); ; {
		var err error
		if data, err = b.fetch(ctx, o); err == nil {
			break
		}
		err = fmt.Errorf("fetch object %q: %w", Preview(o.Name, 100), explainJetStream(err))
		for _, final := range []error{jetstream.ErrObjectNotFound, jetstream.ErrDigestMismatch, jetstream.ErrBadObjectMeta, jetstream.ErrNameRequired, jetstream.ErrInvalidStoreName} {
			if errors.Is(err, final) {
				return nil, err
			}
		}
		if !again.wait(ctx) {
			return nil, &fetchError{err}
		}
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != o.SHA256 {
		return nil, fmt.Errorf("object %s is not what was stored: its digest differs", o.Name)
	}
	return data, nil
}

func (b *Bus) fetch(ctx context.Context, o *events.Object) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTime(o.Size))
	defer cancel()
	store, err := b.js.ObjectStore(ctx, o.Bucket)
	if err != nil {
		return nil, err
	}
	return store.GetBytes(ctx, o.Name)
}

// Piece reads a part of an object, and says how many bytes it has. It is cut at
// whole characters where the object is text.
func (b *Bus) Piece(ctx context.Context, name string, offset, limit int64) ([]byte, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTime(offset+limit))
	defer cancel()
	store, err := b.js.ObjectStore(ctx, topology.BucketObjects)
	if err != nil {
		return nil, 0, fmt.Errorf("object store: %w", explainJetStream(err))
	}
	o, err := store.Get(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, 0, fmt.Errorf("there is no object %q", Preview(name, 200))
	}
	if err != nil {
		return nil, 0, fmt.Errorf("fetch object %q: %w", Preview(name, 200), explainJetStream(err))
	}
	defer func() { _ = o.Close() }() // what was read was read
	info, err := o.Info()
	if err != nil {
		return nil, 0, fmt.Errorf("fetch object %q: %w", Preview(name, 200), err)
	}
	size := int64(info.Size)
	if offset > size {
		return nil, size, fmt.Errorf("offset %d is beyond the end, the object has %d bytes", offset, size)
	}
	if _, err := io.CopyN(io.Discard, o, offset); err != nil {
		return nil, size, fmt.Errorf("read object %q: %w", Preview(name, 200), err)
	}
	piece := make([]byte, min(limit, size-offset))
	if _, err := io.ReadFull(o, piece); err != nil {
		return nil, size, fmt.Errorf("read object %q: %w", Preview(name, 200), err)
	}
	for cut := len(piece); offset+int64(cut) < size && cut > len(piece)-utf8.UTFMax; cut-- {
		if r, _ := utf8.DecodeLastRune(piece[:cut]); r != utf8.RuneError {
			return piece[:cut], size, nil
		}
	}
	return piece, size, nil
}

// transferTime is how long a transfer may take: nats.go would give up after 5 s
// whatever the size.
func transferTime(size int64) time.Duration {
	return 10*time.Second + time.Duration(size>>20)*time.Second
}

// fit returns a frame as it can be sent: itself, or a Claim for it.
func (b *Bus) fit(ctx context.Context, conversation string, frame []byte) ([]byte, error) {
	if len(frame) <= b.payload {
		return frame, nil
	}
	var of string
	if l, err := events.DecodeFrame(frame); err == nil {
		of = l[0].Event.Type()
	}
	o, err := b.Put(ctx, conversation, frame)
	if err != nil {
		return nil, err
	}
	return events.AppendFrame(nil, &events.Claim{Of: of, Object: *o, Preview: Preview(string(frame), previewBytes)})
}

// decode decodes a message's payload and fetches what it claims.
func (b *Bus) decode(ctx context.Context, data []byte) ([]events.Line, error) {
	lines, err := events.DecodeFrame(data)
	if err != nil || len(lines) != 1 {
		return lines, err
	}
	claim, ok := lines[0].Event.(*events.Claim)
	if !ok {
		return lines, nil
	}
	if data, err = b.Get(ctx, &claim.Object); err != nil {
		return nil, err
	}
	return events.DecodeFrame(data)
}

// Preview is the beginning of a text, cut at a character and at most n bytes.
func Preview(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.ToValidUTF8(s[:n], "\uFFFD")
}
