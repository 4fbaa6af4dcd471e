package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
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

// stream is a handle without a round trip: the streams exist, or every call on
// them says that they do not.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if s, ok := b.streams.Load(name); ok {
		return s.(jetstream.Stream), nil
	}
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
	if _, err := store.PutBytes(ctx, name, data); err != nil {
		return nil, fmt.Errorf("store object %s: %w", name, explainJetStream(err))
	}
	sum := sha256.Sum256(data)
	return &events.Object{Bucket: topology.BucketObjects, Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}, nil
}

// Get fetches an object and checks its digest.
func (b *Bus) Get(ctx context.Context, o *events.Object) ([]byte, error) {
	if o.Bucket != topology.BucketObjects || o.Size > maxObject {
		return nil, fmt.Errorf("object %s/%s of %d bytes is not one of Parley's", o.Bucket, o.Name, o.Size)
	}
	store, err := b.js.ObjectStore(ctx, o.Bucket)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", explainJetStream(err))
	}
	data, err := store.GetBytes(ctx, o.Name)
	if err != nil {
		return nil, fmt.Errorf("fetch object %s: %w", o.Name, err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != o.SHA256 {
		return nil, fmt.Errorf("object %s is not what was stored: its digest differs", o.Name)
	}
	return data, nil
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
