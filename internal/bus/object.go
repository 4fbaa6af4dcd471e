package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// maxObject bounds what is stored by reference, in bytes.
const maxObject = 256 << 20

// previewBytes is how much of a claimed payload the message itself holds.
const previewBytes = 2 << 10

// ErrTooLarge reports that something is larger than an object may be.
var ErrTooLarge = errors.New("too large to be stored")

// ErrUnavailable reports that the server could not do something until the retries
// ended: it may succeed later.
var ErrUnavailable = errors.New("the server cannot do this now")

// Put stores bytes that belong to a conversation. While the server cannot be
// reached it retries until ctx ends.
func (o Objects) Put(ctx context.Context, conversation string, data []byte) (*events.Object, error) {
	return o.bus.putAs(ctx, conversation, "", data)
}

// putAs stores an object whose name begins with a prefix, after the
// conversation's id.
func (b *Bus) putAs(ctx context.Context, conversation, prefix string, data []byte) (*events.Object, error) {
	if len(data) > maxObject {
		return nil, fmt.Errorf("%w: %d bytes, an object may have %d", ErrTooLarge, len(data), maxObject)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	name := conversation + "/" + prefix + id.String()
	for again := b.newRetry(); ; {
		err := b.put(ctx, name, data)
		if err == nil {
			break
		}
		if permanent(err) {
			return nil, fmt.Errorf("store object %s: %w", name, explainJetStream(err))
		}
		if !again.wait(ctx) {
			return nil, fmt.Errorf("store object %s: %w: %w", name, ErrUnavailable, explainJetStream(err))
		}
	}
	sum := sha256.Sum256(data)
	return &events.Object{Bucket: topology.BucketObjects, Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}, nil
}

func (b *Bus) put(ctx context.Context, name string, data []byte) error {
	if !b.nc.IsConnected() {
		return nats.ErrDisconnected // nats.go leaks a goroutine for most that fail at once
	}
	ctx, cancel := context.WithTimeout(ctx, transferTime(int64(len(data))))
	defer cancel()
	store, err := b.js.ObjectStore(ctx, topology.BucketObjects)
	if err != nil {
		return err
	}
	_, err = store.PutBytes(ctx, name, data)
	return err
}

// fetchError reports that an object could not be fetched now. The message that
// refers to it is valid.
type fetchError struct{ err error }

func (e *fetchError) Error() string { return e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

// Get fetches an object and checks its digest. While the server cannot be
// reached it retries until ctx ends. That there is no such object is final,
// because the leader answered.
func (o Objects) Get(ctx context.Context, ref *events.Object) ([]byte, error) {
	if ref.Bucket != topology.BucketObjects || ref.Size < 0 || ref.Size > maxObject {
		return nil, fmt.Errorf("object %q in %q of %d bytes is not one of Parley's", Preview(ref.Name, 100), Preview(ref.Bucket, 100), ref.Size)
	}
	info, err := o.bus.describe(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	if info.Size != uint64(ref.Size) {
		return nil, fmt.Errorf("object %q has %d bytes, not %d", Preview(ref.Name, 100), info.Size, ref.Size)
	}
	data := make([]byte, 0, min(info.Size, 1<<20)) // no allocation by a size that the publisher claims
	sum := sha256.New()
	err = o.bus.chunks(ctx, info, func(chunk []byte) error {
		data = append(data, chunk...)
		sum.Write(chunk)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if uint64(len(data)) != info.Size || hex.EncodeToString(sum.Sum(nil)) != ref.SHA256 {
		return nil, fmt.Errorf("object %q is not what was stored: %d of %d bytes are there, or its digest differs", Preview(ref.Name, 100), len(data), info.Size)
	}
	return data, nil
}

// ErrNoObject reports that the object store has no such object.
var ErrNoObject = errors.New("there is no object")

// describe reads what the leader knows of an object.
func (b *Bus) describe(ctx context.Context, name string) (*jetstream.ObjectInfo, error) {
	r, err := b.lastFromLeader(ctx, topology.ObjectStream, topology.ObjectSubject(name))
	if err != nil {
		return nil, &fetchError{fmt.Errorf("fetch object %q: %w", Preview(name, 200), err)}
	}
	var info jetstream.ObjectInfo
	switch {
	case r == nil:
		return nil, fmt.Errorf("%w %q", ErrNoObject, Preview(name, 200))
	case json.Unmarshal(r.data, &info) != nil || info.NUID == "" || strings.ContainsAny(info.NUID, ".*> \t\r\n"):
		return nil, fmt.Errorf("object %q cannot be read: its description is not that of an object", Preview(name, 200))
	case info.Deleted:
		return nil, fmt.Errorf("object %q was deleted", Preview(name, 200))
	}
	return &info, nil
}

// chunks passes on the bytes of an object in order. It never passes on more than
// the object's info states.
func (b *Bus) chunks(ctx context.Context, info *jetstream.ObjectInfo, fn func([]byte) error) error {
	var got uint64
	err := b.read(ctx, topology.ObjectStream, topology.ChunksSubject(info.NUID), 1, false, func(r raw) error {
		if got += uint64(len(r.data)); got > info.Size {
			return fmt.Errorf("object %q has more bytes than the %d that it says", Preview(info.Name, 200), info.Size)
		}
		return fn(r.data)
	})
	var stop *stopError
	if err == nil || errors.Is(err, errEnd) || errors.As(err, &stop) || got > info.Size || ctx.Err() != nil {
		return err
	}
	return &fetchError{fmt.Errorf("fetch object %q: %w", Preview(info.Name, 200), err)}
}

// Piece reads a part of an object, and returns how many bytes it has. It is cut
// at whole characters where the object is text.
func (o Objects) Piece(ctx context.Context, name string, offset, limit int64) ([]byte, int64, error) {
	info, err := o.bus.describe(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	size := int64(info.Size)
	if offset > size {
		return nil, size, fmt.Errorf("offset %d is beyond the end, the object has %d bytes", offset, size)
	}
	limit = min(limit, size-offset)
	var piece []byte
	var at int64
	err = o.bus.chunks(ctx, info, func(chunk []byte) error {
		from := max(offset-at, 0)
		at += int64(len(chunk))
		if from < int64(len(chunk)) {
			piece = append(piece, chunk[from:min(int64(len(chunk)), from+limit-int64(len(piece)))]...)
		}
		if int64(len(piece)) >= limit {
			return errEnd
		}
		return nil
	})
	if err = ended(err); err != nil {
		return nil, size, err
	}
	if int64(len(piece)) < limit {
		return nil, size, fmt.Errorf("object %q is not whole: %d bytes are missing", Preview(name, 200), limit-int64(len(piece)))
	}
	for cut := len(piece); offset+int64(cut) < size && cut > len(piece)-utf8.UTFMax; cut-- {
		if r, _ := utf8.DecodeLastRune(piece[:cut]); r != utf8.RuneError {
			return piece[:cut], size, nil
		}
	}
	return piece, size, nil
}

// transferTime is the timeout of a transfer: nats.go's own is 5 s, whatever the
// size.
func transferTime(size int64) time.Duration {
	return 10*time.Second + time.Duration(size>>20)*time.Second
}

// fit returns a frame as it can be sent: itself, or a Claim for it.
func (b *Bus) fit(ctx context.Context, conversation string, frame []byte) ([]byte, error) {
	return b.fitAs(ctx, conversation, "", frame)
}

// fitAs is fit with a prefix for the object's name.
func (b *Bus) fitAs(ctx context.Context, conversation, prefix string, frame []byte) ([]byte, error) {
	if len(frame) <= b.payload {
		return frame, nil
	}
	var of string
	if l, err := events.DecodeFrame(frame); err == nil {
		of = l[0].Event.Type()
	}
	o, err := b.putAs(ctx, conversation, prefix, frame)
	if err != nil {
		return nil, err
	}
	return events.AppendFrame(nil, &events.Claim{Of: of, Object: *o, Preview: Preview(string(frame), previewBytes)})
}

// decode decodes a payload and fetches what it claims.
func (b *Bus) decode(ctx context.Context, data []byte) ([]events.Line, error) {
	m := Message{Data: data}
	if m.Lines, m.Bad = events.DecodeFrame(data); m.Bad == nil {
		if err := b.Objects().Fetch(ctx, &m); err != nil {
			return nil, err
		}
	}
	return m.Lines, m.Bad
}

// objectNames lists the objects by name, those that were deleted and left a
// marker as well.
func (b *Bus) objectNames(ctx context.Context) ([]string, error) {
	s, err := b.stream(ctx, topology.ObjectStream)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime) // pages of 100,000
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(topology.AllObjects))
	if err != nil {
		return nil, fmt.Errorf("list the objects: %w", explainJetStream(err))
	}
	names := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		if name, err := topology.ObjectName(subject); err == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// Drop purges an object and whatever marks it; it reports whether there was
// one. The store's own Delete would leave a marker for good.
func (o Objects) Drop(ctx context.Context, name string) (bool, error) {
	subject := topology.ObjectSubject(name)
	m, err := o.bus.lastFromLeader(ctx, topology.ObjectStream, subject)
	if err != nil || m == nil {
		return false, err
	}
	var info struct {
		ID      string `json:"nuid"`
		Deleted bool   `json:"deleted"`
	}
	var chunks, metas uint64
	// A description that cannot be read is from another program: it names no chunks.
	if err := json.Unmarshal(m.data, &info); err == nil && topology.CheckToken("object", info.ID) == nil {
		if err := o.bus.purgeSubject(ctx, topology.ObjectStream, topology.ChunksSubject(info.ID), 0, &chunks); err != nil {
			return false, err
		}
	}
	return !info.Deleted, o.bus.purgeSubject(ctx, topology.ObjectStream, subject, 0, &metas)
}
