package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// chunkBytes is the size of an object's chunks, that of nats.go's.
const chunkBytes = 128 << 10

// Put stores bytes that belong to a conversation, under their digest. While the
// server cannot be reached it tries again until ctx ends.
func (o Objects) Put(ctx context.Context, conversation string, data []byte) (*events.Object, error) {
	return o.bus.putAs(ctx, conversation, "", data)
}

// putAs stores an object. Its name is the conversation's id and the digest of the
// data or, with a prefix, that prefix and an id of its own.
func (b *Bus) putAs(ctx context.Context, conversation, prefix string, data []byte) (*events.Object, error) {
	if len(data) > maxObject {
		return nil, fmt.Errorf("%w: %d bytes, an object may have %d", ErrTooLarge, len(data), maxObject)
	}
	sum := sha256.Sum256(data)
	name := conversation + "/" + hex.EncodeToString(sum[:])
	if prefix != "" {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		name = conversation + "/" + prefix + id.String()
	}
	ref := &events.Object{Bucket: topology.BucketObjects, Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
	if prefix == "" {
		switch _, err := b.Objects().Get(ctx, ref); {
		case err == nil:
			return ref, nil // it was stored before
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
	}
	u := upload{bus: b, name: name, data: data, digest: "SHA-256=" + base64.URLEncoding.EncodeToString(sum[:])}
	var silence silence
	for again := b.newRetry(); ; {
		err := u.run(ctx)
		if err == nil {
			return ref, nil
		}
		if permanent(err) {
			return nil, fmt.Errorf("store object %s: %w", name, explainJetStream(err))
		}
		if isFull(err) || silence.lasts(ctx, b, topology.ChunksSubject(u.id), err) {
			return nil, fmt.Errorf("store object %s: %w: %w", name, ErrUnavailable, explainWrite(err))
		}
		if !again.wait(ctx) {
			return nil, fmt.Errorf("store object %s: %w: %w", name, ErrUnavailable, explainJetStream(err))
		}
	}
}

// named reports whether the name of an object that is stored under its digest has
// this digest. Other names have none.
func named(name, digest string) bool {
	_, id, _ := strings.Cut(name, "/")
	want, err := hex.DecodeString(id)
	if err != nil || len(want) != sha256.Size {
		return true
	}
	have, err := jetstream.DecodeObjectDigest(digest)
	return err == nil && bytes.Equal(have, want)
}

// upload stores one object as nats.go does (ADR-20), but without the rollup that
// replaces an object of the same name: streams of Parley refuse rollups, because
// one message could remove everything. Each chunk states which it follows, so
// nobody else's chunk comes in between. A failed run is continued by the next.
type upload struct {
	bus          *Bus
	name, digest string
	data         []byte

	id     string // of the chunks
	chunks int    // stored so far
	last   uint64 // sequence of the last one
}

func (u *upload) run(ctx context.Context) error {
	if u.id == "" {
		u.id, u.chunks, u.last = nuid.Next(), 0, 0
	}
	subject := topology.ChunksSubject(u.id)
	for u.chunks*chunkBytes < len(u.data) {
		chunk := u.data[u.chunks*chunkBytes : min(len(u.data), (u.chunks+1)*chunkBytes)]
		seq, err := u.bus.tryAppend(ctx, subject, u.last, chunk)
		if errors.Is(err, errMoved) {
			seq, err = u.resolve(ctx, subject, chunk)
		}
		if err != nil {
			return err
		}
		u.chunks, u.last = u.chunks+1, seq
	}
	info := jetstream.ObjectInfo{ObjectMeta: jetstream.ObjectMeta{Name: u.name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkBytes}},
		Bucket: topology.BucketObjects, NUID: u.id, Size: uint64(len(u.data)), ModTime: time.Now().UTC(), Chunks: uint32(u.chunks), Digest: u.digest}
	meta, err := json.Marshal(info)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	_, err = u.bus.publish(ctx, &nats.Msg{Subject: topology.ObjectSubject(u.name), Data: meta}) // once more is harmless
	return err
}

// resolve finds out whether a chunk was stored by a publish without an answer. A
// chunk of somebody else's makes this upload start again.
func (u *upload) resolve(ctx context.Context, subject string, chunk []byte) (uint64, error) {
	last, err := u.bus.lastFromLeader(ctx, topology.ObjectStream, subject)
	if err != nil {
		return 0, err
	}
	if last == nil || last.seq <= u.last || !bytes.Equal(last.data, chunk) {
		u.id = ""
		return 0, fmt.Errorf("%w: chunk %d of object %s", errMoved, u.chunks, u.name)
	}
	return last.seq, nil
}
