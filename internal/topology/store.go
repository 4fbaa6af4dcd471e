package topology

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// Headers of messages, besides those that nats.go names.
const (
	// HeaderReason is why a message of DEAD could not be read or run; HeaderSize is
	// how long its payload was, in bytes, where it had to be cut.
	HeaderReason = "Parley-Reason"
	HeaderSize   = "Parley-Size"
	// HeaderNATS is before every header of the server's and of nats.go's.
	HeaderNATS = "Nats-"
	// HeaderSource is the server's, on a copy in HISTORY: the stream and the
	// sequence of the original come first.
	HeaderSource = "Nats-Stream-Source"
	// HeaderOperation is the client's, on the last message of a bucket's key that
	// was deleted.
	HeaderOperation = "KV-Operation"
)

// Prefixes of the server's own subjects.
const (
	// API is before every request to JetStream.
	API = "$JS.API."
	// Acks is before the reply subject of every message that a consumer delivers.
	Acks = "$JS.ACK."
)

// PurgeRequest is the subject of a request to purge a stream.
func PurgeRequest(stream string) string { return API + "STREAM.PURGE." + stream }

// BucketStream is the stream of a key-value bucket.
func BucketStream(bucket string) string { return "KV_" + bucket }

// EntrySubject is where a bucket keeps a key, or the pattern of several keys.
func EntrySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// EntryKey is the key of an entry that a bucket keeps on a subject.
func EntryKey(bucket, subject string) string {
	return strings.TrimPrefix(subject, EntrySubject(bucket, ""))
}

// ProbeKey is the key of a bucket under which a test writes.
const ProbeKey = "probe"

// ShardKey is a shard's key in the buckets of leases and of checkpoints.
func ShardKey(shard int) string { return "shard." + strconv.Itoa(shard) }

// GapKey is the key, in the bucket of checkpoints, of what a shard's log lost.
func GapKey(shard int) string { return "gap." + strconv.Itoa(shard) }

// TimersKey is the key, in the bucket of checkpoints, of the TIMERS stream for
// which a shard's timers were last restored.
func TimersKey(shard int) string { return "timers." + strconv.Itoa(shard) }

// ObjectStream is the stream of the object store.
const ObjectStream = "OBJ_" + BucketObjects

// Where the object store keeps an object: its description under its name, its
// chunks under an id that the description names (ADR-20 of NATS).
const (
	objectMeta   = "$O." + BucketObjects + ".M."
	objectChunks = "$O." + BucketObjects + ".C."
)

// AllObjects is the pattern of the descriptions of all objects.
const AllObjects = objectMeta + ">"

// ObjectSubject is where an object's description is.
func ObjectSubject(name string) string {
	return objectMeta + base64.URLEncoding.EncodeToString([]byte(name))
}

// ObjectName is the name of the object whose description is on a subject.
func ObjectName(subject string) (string, error) {
	name, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(subject, objectMeta))
	return string(name), err
}

// ChunksSubject is where the chunks of an object are, by the id that its
// description names.
func ChunksSubject(id string) string { return objectChunks + id }
