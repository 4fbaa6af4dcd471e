package topology

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// Headers of messages without a constant in nats.go.
const (
	// HeaderReason is the reason why a message is in DEAD. HeaderSize is the
	// original size of its payload, in bytes, if the payload was cut.
	HeaderReason = "Parley-Reason"
	HeaderSize   = "Parley-Size"
	// HeaderJob says what a job is for, also where it cannot be decoded: conversation and
	// call or generation, as "<conversation>/<id>".
	HeaderJob = "Parley-Job"
	// HeaderNATS is the prefix of the headers of the server and of nats.go.
	HeaderNATS = "Nats-"
	// HeaderSource is set by the server on a copy in HISTORY. It starts with the
	// stream and the sequence of the original.
	HeaderSource = "Nats-Stream-Source"
	// HeaderRead is set on a checkpoint: the last message of the log that the shard's
	// owner had read then, as sequence, time and the time at which the stream was made.
	HeaderRead = "Parley-Read"
	// HeaderOperation is set by nats.go on the message that deletes a bucket's key.
	HeaderOperation = "KV-Operation"
)

// Prefixes of the server's subjects.
const (
	// API is the prefix of requests to JetStream.
	API = "$JS.API."
	// Acks is the prefix of the reply subjects of messages from consumers.
	Acks = "$JS.ACK."
)

// BucketStream returns the stream of a key-value bucket.
func BucketStream(bucket string) string { return "KV_" + bucket }

// EntrySubject returns the subject of a key of a bucket; for a pattern of keys,
// the pattern of their subjects.
func EntrySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// EntryKey returns the key of an entry's subject.
func EntryKey(bucket, subject string) string {
	return strings.TrimPrefix(subject, EntrySubject(bucket, ""))
}

// ProbeKey is the key for testing whether a bucket can be written, and the id of
// the chunks that test the object store.
const ProbeKey = "probe"

// ShardKey returns a shard's key in the buckets of leases and checkpoints.
func ShardKey(shard int) string { return "shard." + strconv.Itoa(shard) }

// GapKey returns the key in the bucket of checkpoints for the gap that a
// shard's log has after it lost its end.
func GapKey(shard int) string { return "gap." + strconv.Itoa(shard) }

// TimersKey returns the key in the bucket of checkpoints for the TIMERS stream
// to which a shard's timers were last restored.
func TimersKey(shard int) string { return "timers." + strconv.Itoa(shard) }

// ObjectStream is the stream of the object store.
const ObjectStream = "OBJ_" + BucketObjects

// Subjects of an object (ADR-20 of NATS): its description by name, its chunks by
// an id that the description contains.
const (
	objectMeta   = "$O." + BucketObjects + ".M."
	objectChunks = "$O." + BucketObjects + ".C."
)

// AllObjects is the pattern of the descriptions of all objects.
const AllObjects = objectMeta + ">"

// ObjectSubject returns the subject of an object's description.
func ObjectSubject(name string) string {
	return objectMeta + base64.URLEncoding.EncodeToString([]byte(name))
}

// ObjectName returns the name of the object with this description subject.
func ObjectName(subject string) (string, error) {
	name, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(subject, objectMeta))
	return string(name), err
}

// ChunksSubject returns the subject of an object's chunks, by the id in its
// description.
func ChunksSubject(id string) string { return objectChunks + id }
