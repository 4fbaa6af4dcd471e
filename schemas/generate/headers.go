package main

import (
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/parleybus/parley/internal/topology"
)

// header is a header of the messages of a channel.
type header struct {
	name, text string
	must       bool   // every message has it
	pattern    string // of its values
}

const digits = "^[0-9]+$"

// nats returns the name of a header of NATS.
func nats(name string) string { return topology.HeaderNATS + name }

// optional returns the headers without the demand that every message has them.
func optional(all []header) []header {
	all = slices.Clone(all)
	for i := range all {
		all[i].must = false
	}
	return all
}

func follows() []header {
	return []header{{nats("Expected-Last-Subject-Sequence"), "sequence of the last message on this subject that the writer follows, 0 for none: the server refuses the message if it is another", true, digits}}
}

func messageID() []header {
	return []header{{nats("Msg-Id"), "<conversation>/<id of the input, generation or call>: the server refuses a duplicate within the stream's window; a job that is published again after a loss has none", true, ""}}
}

func protocol() []header {
	return []header{{topology.HeaderProtocol, "version of the protocol that the message follows; absent means 1", false, digits}}
}

func trace() []header {
	return []header{{"traceparent", "W3C trace context of the publisher; Parley stores it with the message and does not read it", false, ""}}
}

func jobHeader() []header {
	return []header{{topology.HeaderJob, "<conversation>/<id of the generation or call>: says what the job is for, also where it cannot be decoded", true, ""}}
}

func republished() []header {
	return []header{
		{nats("Stream"), "stream of the message", true, ""},
		{nats("Subject"), "subject under which the message is stored", true, ""},
		{nats("Sequence"), "sequence of the message in its stream; the server appends it, so that of several values the last counts", true, digits},
		{nats("Last-Sequence"), "sequence of the message before it on its subject, 0 for none; of several values the last counts", true, digits},
		{nats("Time-Stamp"), "when it was stored, RFC 3339", true, ""},
	}
}

func copied() []header {
	return []header{{topology.HeaderSource, "stream and sequence of the original, its filter, its destination and its subject, with spaces between", true, `^CONV_[0-9]+ [0-9]+( |$)`}}
}

func schedule() []header {
	return []header{
		{nats("Schedule"), "when it fires: @at and the time, RFC 3339 with milliseconds", true, "^@at "},
		{nats("Schedule-Target"), "the subject on which it fires", true, ""},
		{nats("Schedule-Rollup"), "sub: a timer that fired twice is delivered once", true, "^sub$"},
	}
}

func fired() []header {
	return []header{
		{nats("Scheduler"), "subject of the timer", false, ""},
		{nats("Schedule-Next"), "purge: the timer is removed", false, ""},
	}
}

func reason() []header {
	return []header{
		{topology.HeaderReason, "why the message could not be decoded or run", true, ""},
		{topology.HeaderSize, "bytes of the message, if it was cut", false, digits},
	}
}

func operation() []header {
	return []header{
		{topology.HeaderOperation, "DEL on the empty message that deletes an entry", false, "^(DEL|PURGE)$"},
		{nats("Marker-Reason"), "set by the server on the empty message in place of an entry that is gone", false, ""},
	}
}

func read() []header {
	return []header{{topology.HeaderRead, "the last message of the log that the shard's owner had read then: sequence, time, and the time at which the stream was made, both in nanoseconds", false, "^[0-9]+ [0-9]+ [0-9]+$"}}
}

// headerSchema returns the schema of the headers of a channel; nil when it has none.
func headerSchema(all []header) yaml.MapSlice {
	if len(all) == 0 {
		return nil
	}
	var properties yaml.MapSlice
	var required []string
	for _, h := range all {
		property := yaml.MapSlice{{Key: "type", Value: "string"}, {Key: "description", Value: h.text}}
		if h.pattern != "" {
			property = append(property, yaml.MapItem{Key: "pattern", Value: h.pattern})
		}
		properties = append(properties, yaml.MapItem{Key: h.name, Value: property})
		if h.must {
			required = append(required, h.name)
		}
	}
	schema := yaml.MapSlice{{Key: "type", Value: "object"}, {Key: "properties", Value: properties}}
	if len(required) > 0 {
		schema = append(schema, yaml.MapItem{Key: "required", Value: required})
	}
	return schema
}
