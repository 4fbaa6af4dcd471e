package topology

import (
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of the streams and buckets.
const (
	StreamHistory = "HISTORY"
	StreamJobs    = "JOBS"
	StreamTimers  = "TIMERS"
	StreamDead    = "DEAD"

	BucketLeases      = "PARLEY_LEASES"
	BucketCheckpoints = "PARLEY_CHECKPOINTS"
	BucketPresence    = "PARLEY_PRESENCE"
	BucketTools       = "PARLEY_TOOLS"
	BucketObjects     = "PARLEY_OBJECTS"
)

// MetadataShards is the metadata key of HISTORY and of each CONV stream that
// fixes the number of shards of a deployment.
const MetadataShards = "parley.shards"

// MetadataEpoch is the metadata key of a CONV stream that lost its end: the epoch
// of later cursors.
const MetadataEpoch = "parley.epoch"

// Times and limits that several packages share.
const (
	// LeaseTTL is the lifetime of a shard's lease after its last renewal.
	LeaseTTL = 4 * time.Second
	// PresenceTTL is the lifetime of a worker's announcement after its last
	// renewal.
	PresenceTTL = 12 * time.Second
	// WorkerBeat is how often a worker repeats one of its announcements.
	WorkerBeat = time.Second
	// MissedBeats is after how many beats without an announcement a worker counts as dead
	// when another worker asks whether it still runs a job.
	MissedBeats = 4
	// ToolsTTL is how long a tool is known after a worker last announced it: its
	// calls wait in its queue instead of being refused.
	ToolsTTL = 30 * 24 * time.Hour
	// JobAckWait is the time after which a job without a heartbeat is redelivered;
	// workers send InProgress three times as often.
	JobAckWait = 4 * time.Second
	// JobAttempts is how often a job may start without ending: the next worker ends
	// it as failed. The server itself never drops a job, or its turn would wait
	// forever.
	JobAttempts = 100
	// jobDedup is the window in which the server refuses a duplicate job; after it
	// the worker finds the job's lane ended.
	jobDedup = 10 * time.Minute
	// inputDedup is the window in which CONV refuses a known message id: the
	// server's minimum. The fold makes inputs idempotent without a time limit. All
	// conversations of a shard share the server's table, so a longer window would
	// only lose inputs whose ids are not unique in the shard.
	inputDedup = 100 * time.Millisecond
)

// consumersPerStream raises the default limit of nats-server 2.15, which is 1,000.
const consumersPerStream = 1_000_000

// Plan holds the settings of a deployment's streams.
type Plan struct {
	Shards   int           // number of CONV streams; 0 means 1
	Replicas int           // of each stream; 0 means 1
	MaxAge   time.Duration // of CONV; 0 means 7 days
	// HistoryMaxAge and ObjectsMaxAge apply to HISTORY and to the object store; 0
	// keeps everything until it is deleted.
	HistoryMaxAge, ObjectsMaxAge time.Duration
	// MaxBytes bounds the token streams of all shards together, HistoryMaxBytes
	// HISTORY and ObjectsMaxBytes the object store; 0 sets no bound. Beyond it the
	// oldest messages of CONV and HISTORY are removed, and new objects are refused.
	MaxBytes, HistoryMaxBytes, ObjectsMaxBytes int64
}

// MinBytes is the smallest bound on the bytes of a stream: what a few open turns
// and their payloads need.
const MinBytes = 64 << 20

// Check returns an error if HISTORY or objects would expire before CONV, which
// refers to them.
func (p Plan) Check() error {
	p = p.WithDefaults()
	for _, kept := range []struct {
		flag, what string
		age        time.Duration
	}{{"--history-max-age", "facts", p.HistoryMaxAge}, {"--objects-max-age", "objects", p.ObjectsMaxAge}} {
		if kept.age != 0 && kept.age < p.MaxAge {
			return fmt.Errorf("%s %s is shorter than the %s that token streams are kept (--max-age): they refer to %s; give at least that, or leave it out to keep %s until they are deleted",
				kept.flag, kept.age, p.MaxAge, kept.what, kept.what)
		}
	}
	return nil
}

// CheckBytes returns an error if a stream would hold too little, in a deployment of
// that many shards.
func (p Plan) CheckBytes(shards int) error {
	for _, bound := range []struct {
		flag         string
		bytes, least int64
	}{{"--max-bytes", p.MaxBytes, MinBytes * int64(shards)}, {"--history-max-bytes", p.HistoryMaxBytes, MinBytes}, {"--objects-max-bytes", p.ObjectsMaxBytes, MinBytes}} {
		if bound.bytes != 0 && bound.bytes < bound.least {
			return fmt.Errorf("%s %d is less than %d bytes (64 MiB a stream): open turns need them; give at least that, or leave it out for no bound", bound.flag, bound.bytes, bound.least)
		}
	}
	return nil
}

// WithDefaults returns the plan with defaults for unset values.
func (p Plan) WithDefaults() Plan {
	p.Shards = max(p.Shards, 1)
	p.Replicas = max(p.Replicas, 1)
	if p.MaxAge == 0 {
		p.MaxAge = 7 * 24 * time.Hour
	}
	return p
}

// FactChannels returns the channels that HISTORY keeps (inputs, Decisions,
// results), as the last tokens of a subject pattern.
func FactChannels() []string { return []string{"in", "turn", "call.*"} }

// ConvStream returns the name of a shard's stream.
func ConvStream(shard int) string { return streamConv + strconv.Itoa(shard) }

const streamConv = "CONV_"

// Streams returns all streams of a deployment in the order of creation. HISTORY
// is last: it marks the others as complete.
func (p Plan) Streams() []jetstream.StreamConfig {
	p = p.WithDefaults()
	base := func(name string, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Subjects: subjects,
			Storage: jetstream.FileStorage, Compression: jetstream.S2Compression,
			Replicas: p.Replicas, AllowDirect: true,
			Metadata: map[string]string{MetadataProtocol: ProtocolText()},
		}
	}
	var all []jetstream.StreamConfig
	history := base(StreamHistory)
	history.Description = "what was said, decided and answered, for good"
	history.Metadata[MetadataShards] = strconv.Itoa(p.Shards)
	history.MaxConsumers = consumersPerStream
	history.MaxAge, history.MaxBytes = p.HistoryMaxAge, p.HistoryMaxBytes
	for shard := range p.Shards {
		conv := base(ConvStream(shard), fmt.Sprintf("conv.%d.>", shard))
		conv.Description = "conversations, everything, in order"
		conv.MaxAge, conv.MaxBytes = p.MaxAge, p.MaxBytes/int64(p.Shards)
		conv.Duplicates = inputDedup
		conv.Metadata[MetadataShards] = strconv.Itoa(p.Shards)
		conv.MaxConsumers = consumersPerStream
		conv.RePublish = &jetstream.RePublish{Source: fmt.Sprintf("conv.%d.>", shard), Destination: fmt.Sprintf("live.%d.>", shard)}
		all = append(all, conv)
		source := &jetstream.StreamSource{Name: conv.Name}
		for _, channel := range FactChannels() {
			to := fmt.Sprintf("history.%d.{{wildcard(1)}}.%s", shard, channel)
			if channel == "call.*" {
				to = fmt.Sprintf("history.%d.{{wildcard(1)}}.call.{{wildcard(2)}}", shard)
			}
			source.SubjectTransforms = append(source.SubjectTransforms, jetstream.SubjectTransformConfig{
				Source: fmt.Sprintf("conv.%d.*.%s", shard, channel), Destination: to})
		}
		history.Sources = append(history.Sources, source)
	}
	jobs := base(StreamJobs, AllJobs)
	jobs.Description = "what is to be done now"
	jobs.Retention = jetstream.WorkQueuePolicy
	jobs.Duplicates = jobDedup
	jobs.MaxConsumers = consumersPerStream
	timers := base(StreamTimers, "timer.>", AllDue)
	timers.Description = "deadlines and reminders"
	timers.AllowMsgSchedules = true
	timers.AllowMsgTTL = true
	dead := base(StreamDead, "dead.>")
	dead.Description = "messages nobody could read or run, with the reason"
	dead.MaxAge = 30 * 24 * time.Hour
	return append(all, jobs, timers, dead, history)
}

// Buckets returns the streams of all key-value buckets of a deployment, laid out
// as NATS does (ADR-8). No message can remove others there: neither by a rollup
// nor by a purge.
func (p Plan) Buckets() []jetstream.StreamConfig {
	p = p.WithDefaults()
	bucket := func(name, description string, ttl time.Duration) jetstream.StreamConfig {
		cfg := jetstream.StreamConfig{
			Name: BucketStream(name), Description: description, Subjects: []string{EntrySubject(name, ">")},
			Storage: jetstream.FileStorage, Replicas: p.Replicas, MaxAge: ttl,
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowDirect: true,
			DenyDelete: true, DenyPurge: true, MaxConsumers: consumersPerStream,
			Metadata: map[string]string{MetadataProtocol: ProtocolText()},
		}
		if ttl > 0 {
			cfg.Duplicates = min(ttl, 2*time.Minute)
		}
		return cfg
	}
	return []jetstream.StreamConfig{
		bucket(BucketLeases, "who owns a shard", LeaseTTL),
		bucket(BucketCheckpoints, "where a shard's owner starts to read", 0),
		bucket(BucketPresence, "workers that are there and what they serve", PresenceTTL),
		bucket(BucketTools, "tools that workers offered, also those whose workers are not there", ToolsTTL),
	}
}

// Objects returns the stream of the object store, laid out as NATS does (ADR-20),
// for content that exceeds a message. Objects live as long as their conversation,
// unless the plan sets ObjectsMaxAge. No message can remove others: rollups are
// refused.
func (p Plan) Objects() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: ObjectStream, Description: "what exceeds a message", Subjects: []string{objectChunks + ">", AllObjects},
		Storage: jetstream.FileStorage, Compression: jetstream.S2Compression, Replicas: p.WithDefaults().Replicas,
		MaxAge: p.ObjectsMaxAge, MaxBytes: p.ObjectsMaxBytes, Discard: jetstream.DiscardNew, AllowDirect: true, MaxConsumers: consumersPerStream,
		Metadata: map[string]string{MetadataProtocol: ProtocolText()},
	}
}
