package bus

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

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

// fetchError says that an object could not be fetched now. That is no fault of
// the message that refers to it.
type fetchError struct{ err error }

func (e *fetchError) Error() string { return e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

// Unfetched reports whether an error of fetching an object is for now only: the
// object may be fetched later.
func Unfetched(err error) bool {
	_, later := errors.AsType[*fetchError](err)
	return later
}

// Get fetches an object and checks its digest. While the server cannot be
// reached it tries again until ctx ends. That there is no such object is final
// only because the leader says so.
//
// Whoever may store objects may store another description under the same name:
// the first that fits the reference and whose content has its digest counts.
func (o Objects) Get(ctx context.Context, ref *events.Object) ([]byte, error) {
	if ref.Bucket != topology.BucketObjects || ref.Size < 0 || ref.Size > maxObject {
		return nil, fmt.Errorf("object %q in %q of %d bytes is not one of Parley's", Preview(ref.Name, 100), Preview(ref.Bucket, 100), ref.Size)
	}
	var data []byte
	var wrong error
	err := o.bus.descriptions(ctx, ref.Name, func(info *jetstream.ObjectInfo) error {
		if info.Size != uint64(ref.Size) {
			wrong = cmp.Or(wrong, fmt.Errorf("object %q has %d bytes, not %d", Preview(ref.Name, 100), info.Size, ref.Size))
			return nil
		}
		data = make([]byte, 0, min(info.Size, 1<<20)) // what it says of itself is not allocated on trust
		sum := sha256.New()
		err := o.bus.chunks(ctx, info, func(chunk []byte) error {
			data = append(data, chunk...)
			sum.Write(chunk)
			return nil
		})
		if err != nil {
			return err
		}
		if uint64(len(data)) != info.Size || hex.EncodeToString(sum.Sum(nil)) != ref.SHA256 {
			wrong = cmp.Or(wrong, fmt.Errorf("object %q is not what was stored: %d of %d bytes are there, or its digest differs", Preview(ref.Name, 100), len(data), info.Size))
			return nil
		}
		return errEnd
	})
	if errors.Is(err, errEnd) {
		return data, nil
	}
	return nil, cmp.Or(err, wrong)
}

// ErrNoObject reports that the object store has no such object.
var ErrNoObject = errors.New("there is no object")

// descriptions passes on the descriptions that the leader has of an object, the
// oldest first, until fn returns an error. It is an error when there is none.
func (b *Bus) descriptions(ctx context.Context, name string, fn func(*jetstream.ObjectInfo) error) error {
	none := fmt.Errorf("%w %q", ErrNoObject, Preview(name, 200))
	found := false
	for next := uint64(1); ; {
		r, err := b.firstOf(ctx, topology.ObjectStream, topology.ObjectSubject(name), next)
		switch {
		case err != nil:
			return &fetchError{fmt.Errorf("fetch object %q: %w", Preview(name, 200), err)}
		case r == nil && !found:
			return none
		case r == nil:
			return nil
		}
		next = r.seq + 1
		var info jetstream.ObjectInfo
		switch {
		case json.Unmarshal(r.data, &info) != nil || info.NUID == "" || strings.ContainsAny(info.NUID, ".*> \t\r\n"):
			none = fmt.Errorf("object %q cannot be read: its description is not that of an object", Preview(name, 200))
		case info.Deleted:
			none = fmt.Errorf("object %q was deleted", Preview(name, 200))
		default:
			found = true
			if err := fn(&info); err != nil {
				return err
			}
		}
	}
}

// chunks passes on the bytes of an object in order, up to the size that it says:
// what others appended later is ignored.
func (b *Bus) chunks(ctx context.Context, info *jetstream.ObjectInfo, fn func([]byte) error) error {
	if info.Size == 0 {
		return nil
	}
	var got uint64
	err := b.stepThrough(ctx, topology.ObjectStream, topology.ChunksSubject(info.NUID), 1, 0, func(r raw) error {
		chunk := r.data[:min(uint64(len(r.data)), info.Size-got)]
		got += uint64(len(chunk))
		if err := fn(chunk); err != nil {
			return &stopError{err}
		}
		if got == info.Size {
			return errEnd
		}
		return nil
	})
	var stop *stopError
	switch {
	case errors.As(err, &stop):
		return stop.err
	case err == nil, errors.Is(err, errEnd):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return &fetchError{fmt.Errorf("fetch object %q: %w", Preview(info.Name, 200), err)}
}

// Piece reads a part of an object, and returns how many bytes it has. It is cut
// at whole characters where the object is text.
func (o Objects) Piece(ctx context.Context, name string, offset, limit int64) ([]byte, int64, error) {
	var info *jetstream.ObjectInfo
	err := o.bus.descriptions(ctx, name, func(one *jetstream.ObjectInfo) error {
		if one.Digest != "" && !named(name, one.Digest) {
			return nil
		}
		info = one
		return errEnd
	})
	if err = ended(err); err != nil {
		return nil, 0, err
	}
	if info == nil {
		return nil, 0, fmt.Errorf("object %q is not what was stored: its digest differs", Preview(name, 200))
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
	var chunks, metas uint64
	there := false
	err := o.bus.stepThrough(ctx, topology.ObjectStream, subject, 1, 0, func(r raw) error {
		var info struct {
			ID      string `json:"nuid"`
			Deleted bool   `json:"deleted"`
		}
		// A description that cannot be read is a stranger's: it names no chunks.
		if json.Unmarshal(r.data, &info) != nil {
			return nil
		}
		there = there || !info.Deleted
		if topology.CheckToken("object", info.ID) != nil {
			return nil
		}
		return o.bus.purgeSubject(ctx, topology.ObjectStream, topology.ChunksSubject(info.ID), 0, &chunks)
	})
	if err != nil {
		return false, err
	}
	return there, o.bus.purgeSubject(ctx, topology.ObjectStream, subject, 0, &metas)
}
