package main

import (
	"github.com/goccy/go-yaml"

	"github.com/parleybus/parley/internal/topology"
)

// message is a message that is no event.
type message struct {
	name, summary string
	contentType   string // empty for JSON
	payload       yaml.MapSlice
	example       any // of the payload; nil when there is nothing to show
}

// others returns the messages that are no events. Those with a struct in
// internal/offer have their schema in the bundle.
func others() []message {
	digitText := yaml.MapSlice{{Key: "type", Value: "string"}, {Key: "pattern", Value: digits}}
	return []message{
		{"PresenceRecord", "what a worker serves", "", bundleRef("PresenceRecord"), yaml.MapSlice{{Key: "kind", Value: "llm"}, {Key: "name", Value: "openai"}, {Key: "worker", Value: "llm-1f3a"}, {Key: "beat_ms", Value: 1000}}},
		{"KnownTool", "what is known of a tool", "", bundleRef("KnownTool"), nil},
		{"Lease", "name of the orchestrator that owns the shard", "text/plain", yaml.MapSlice{{Key: "type", Value: "string"}}, "orchestrator-7c2e"},
		{"Checkpoint", "a sequence of the shard's stream, in decimal", "text/plain", digitText, "4711"},
		{"Gap", "what a shard's log has lost", "", object([]string{"up_to", "since"},
			field("up_to", "integer", "sequence up to which the log does not count"),
			field("since", "string", "when the loss was found, RFC 3339: messages up to there that were stored later count")), nil},
		{"TimerEpoch", "epoch of the TIMERS stream", "text/plain", yaml.MapSlice{{Key: "type", Value: "string"}}, nil},
		{"Timer", "when the timer was to fire", "", object([]string{"at_ms"}, field("at_ms", "integer", "Unix milliseconds")), yaml.MapSlice{{Key: "at_ms", Value: 1763761027440}}},
		{"DeadLetter", "the message that could not be decoded or run, unchanged", "application/octet-stream", yaml.MapSlice{}, nil},
		{"Empty", "a message without a payload", "application/octet-stream", yaml.MapSlice{{Key: "type", Value: "string"}, {Key: "maxLength", Value: 0}}, nil},
		{"ReadRequest", "a request for a consumer, or to delete one", "", object(nil,
			field("filter", "string", "pattern of the subjects to read; absent means all"),
			field("from", "integer", "sequence of the first message"),
			field("heads", "boolean", "without payloads"),
			field("delete", "string", "name of a consumer to delete, in place of a new one")), yaml.MapSlice{{Key: "filter", Value: topology.Everything(topology.Conv, 1, "019a8f3e-2b7c-7d41-9c55-6f1e0a3b9d10")}, {Key: "from", Value: 812}}},
		{"ReadAnswer", "the consumer, or why there is none", "", object(nil,
			field("consumer", "string", "name of the consumer"),
			field("pending", "integer", "messages that it has to deliver; absent means none"),
			field("error", "string", "why there is no consumer")), yaml.MapSlice{{Key: "consumer", Value: topology.ReaderPrefix + "V1StGXR8Z5jdHi6BmyT0aq"}, {Key: "pending", Value: 34}}},
		{"QueueAnswer", "an empty object, or why there is no queue", "", object(nil, field("error", "string", "why there is no queue")), yaml.MapSlice{}},
		{"ObjectDescription", "description of an object, as NATS lays it out", "", object([]string{"name", "bucket", "nuid", "size", "chunks", "digest"},
			field("name", "string", "name of the object"),
			field("bucket", "string", "name of the object store"),
			field("nuid", "string", "id of its chunks"),
			field("size", "integer", "bytes"),
			field("chunks", "integer", "number of chunks"),
			field("digest", "string", "SHA-256= and the digest of the bytes, base64url with padding"),
			field("mtime", "string", "when it was stored, RFC 3339")), nil},
		{"ObjectChunk", "bytes of an object", "application/octet-stream", yaml.MapSlice{}, nil},
	}
}

func bundleRef(name string) yaml.MapSlice { return ref("./" + bundleName + "#/$defs/" + name) }

func object(required []string, fields ...yaml.MapItem) yaml.MapSlice {
	schema := yaml.MapSlice{{Key: "type", Value: "object"}, {Key: "properties", Value: yaml.MapSlice(fields)}}
	if len(required) > 0 {
		schema = append(schema, yaml.MapItem{Key: "required", Value: required})
	}
	return schema
}

func field(name, kind, text string) yaml.MapItem {
	return yaml.MapItem{Key: name, Value: yaml.MapSlice{{Key: "type", Value: kind}, {Key: "description", Value: text}}}
}
