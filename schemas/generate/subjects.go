package main

import (
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/topology"
)

// Channels of answers. Their address is the reply subject of the request.
const (
	hookAnswers  = "hook-answers"
	readAnswers  = "read-answers"
	queueAnswers = "queue-answers"
)

// queues returns the subjects of jobs, timers and dead letters.
func queues() []channel {
	job := slices.Concat(jobHeader(), optional(messageID()), protocol(), trace())
	return []channel{
		{key: "jobs-llm", address: topology.TemplateGenerationJob, text: "Generations to run, a work queue; published after the decision that requests them.",
			senders: []string{orchestrator}, readers: []string{llmWorker}, headers: job, events: []string{"GenerationJob", "Claim"}},
		{key: "jobs-tool", address: topology.TemplateToolJob, text: "Tool calls to run, a work queue; published after the decision that requests them, or by a caller for a call outside of a turn.",
			senders: []string{orchestrator, caller}, readers: []string{toolWorker}, headers: job, events: []string{"ToolJob", "Claim"}},
		{key: "jobs-tool-low", address: topology.TemplateLowToolJob, text: "Tool calls of conversations with the priority low, a separate work queue; workers reserve most slots for the other queue.",
			senders: []string{orchestrator, caller}, readers: []string{toolWorker}, headers: job, events: []string{"ToolJob", "Claim"}},
		{key: "timers", address: topology.TemplateTimer, text: "The one timer of a waiting conversation: a scheduled message of the server, without an event.",
			senders: []string{orchestrator}, readers: []string{orchestrator}, headers: schedule(), messages: []string{"Timer"}},
		{key: "due", address: topology.TemplateDue, text: "The server publishes the message of a timer here when it fires.",
			readers: []string{orchestrator}, headers: fired(), messages: []string{"Timer"}},
		{key: "dead", address: topology.TemplateDead, text: "Messages that could not be decoded or run, unchanged; the header Parley-Reason has the reason, Parley-Size the original length of a message that was cut.",
			senders: []string{orchestrator, llmWorker, toolWorker}, readers: []string{admin}, headers: slices.Concat(reason(), optional(messageID())), messages: []string{"DeadLetter"}},
	}
}

// services returns the subjects of plain NATS: requests, and messages that only wake.
func services() []channel {
	return []channel{
		{key: "hooks", address: topology.TemplateHook, text: "A request to an app before or after a turn, plain NATS; the orchestrator repeats it until the app answers or the deadline has passed.",
			senders: []string{orchestrator}, readers: []string{app}, headers: protocol(), events: []string{"HookCall", "Claim"}, reply: hookAnswers},
		{key: hookAnswers, text: "The answer to a request under hooks, published to the reply subject of the request.",
			senders: []string{app}, readers: []string{orchestrator}, events: []string{"HookAnswered", "Claim"}},
		{key: "probe", address: topology.TemplateProbe, text: "Empty messages that test whether a log can be written; readers of the log skip them.",
			senders: []string{app, orchestrator}, readers: []string{orchestrator}, messages: []string{"Empty"}},
		{key: "read", address: topology.TemplateRead, text: "A request for a short-lived pull consumer on a stream, for users who may not create one. Request: {\"filter\":subject,\"from\":sequence,\"heads\":bool} or {\"delete\":consumer}. Answer: {\"consumer\":name,\"pending\":count} or {\"error\":text}. The consumer takes requests on CONSUMER.MSG.NEXT.<stream>.<consumer>, without acknowledgements, and ends after 30 s without any.",
			senders: []string{app}, readers: []string{orchestrator}, messages: []string{"ReadRequest"}, reply: readAnswers},
		{key: readAnswers, text: "The answer to a request under read, published to the reply subject of the request.",
			senders: []string{orchestrator}, readers: []string{app}, messages: []string{"ReadAnswer"}},
		{key: "queue", address: topology.TemplateQueue, text: "A request to create the queue with a durable name such as tool_clock, if it is missing. Answer: {} or {\"error\":text}.",
			senders: []string{llmWorker, toolWorker, caller}, readers: []string{orchestrator}, messages: []string{"Empty"}, reply: queueAnswers},
		{key: queueAnswers, text: "The answer to a request under queue, published to the reply subject of the request.",
			senders: []string{orchestrator}, readers: []string{llmWorker, toolWorker, caller}, messages: []string{"QueueAnswer"}},
		{key: "wake", address: topology.TemplateWake, text: "An empty message, plain NATS: the gen channel of a conversation of the shard has something to decide on, the end of an answer or of the arguments of a call. Without it the orchestrator decides up to 50 ms later.",
			senders: []string{llmWorker}, readers: []string{orchestrator}, messages: []string{"Empty"}},
	}
}

// buckets returns the subjects of the entries of buckets and of the object store.
func buckets() []channel {
	everybody := []string{orchestrator, app, llmWorker, toolWorker}
	entry := func(bucket, key string) string { return topology.EntrySubject(bucket, key) }
	shard := func(key string) string { return strings.Replace(key, "0", "{shard}", 1) }
	cas := optional(follows())
	return []channel{
		{key: "presence", address: entry(topology.BucketPresence, topology.PresenceKey("{kind}", "{name}", "{worker}")), text: "What a worker serves, as it announces it: the entry expires 12 s after the worker last put it. A worker that stops deletes its entries.",
			senders: []string{llmWorker, toolWorker, orchestrator}, readers: everybody, headers: operation(), messages: []string{"PresenceRecord"}},
		{key: "presence-probe", address: entry(topology.BucketPresence, topology.ProbeKey), text: "Messages that test whether the bucket can be written; they are no records.",
			senders: []string{app, llmWorker, toolWorker}, readers: []string{orchestrator}, messages: []string{"Empty"}},
		{key: "tools", address: entry(topology.BucketTools, "{tool}"), text: "What is known of a tool, for 30 days after a worker last offered it.",
			senders: []string{orchestrator}, readers: []string{orchestrator, app, toolWorker}, headers: slices.Concat(operation(), cas), messages: []string{"KnownTool"}},
		{key: "leases", address: entry(topology.BucketLeases, shard(topology.ShardKey(0))), text: "Who owns a shard: the entry expires 4 s after the owner last renewed it. A lease only saves work; the turn lane decides.",
			senders: []string{orchestrator}, readers: []string{orchestrator, app}, headers: slices.Concat(operation(), cas), messages: []string{"Lease"}},
		{key: "checkpoints", address: entry(topology.BucketCheckpoints, shard(topology.ShardKey(0))), text: "The sequence after which the owner of a shard begins to read its log.",
			senders: []string{orchestrator}, readers: []string{orchestrator, app}, headers: read(), messages: []string{"Checkpoint"}},
		{key: "gaps", address: entry(topology.BucketCheckpoints, shard(topology.GapKey(0))), text: "Up to where a shard's log does not count, after it lost its end.",
			senders: []string{orchestrator}, readers: []string{orchestrator, app}, messages: []string{"Gap"}},
		{key: "timer-epochs", address: entry(topology.BucketCheckpoints, shard(topology.TimersKey(0))), text: "The TIMERS stream in which a shard's timers were last set: in another one they are set again.",
			senders: []string{orchestrator}, readers: []string{orchestrator, app}, messages: []string{"TimerEpoch"}},
		{key: "objects", address: strings.Replace(topology.AllObjects, ">", "{object}", 1), text: "The description of an object, in the layout of NATS (ADR-20), published after its chunks. Objects are named <conversation>/<SHA-256 of the bytes, hex> and are never replaced.",
			senders: everybody, readers: everybody, messages: []string{"ObjectDescription"}},
		{key: "object-chunks", address: topology.ChunksSubject("{chunks}"), text: "The bytes of an object, in chunks of 128 KiB; each states which it follows.",
			senders: everybody, readers: everybody, headers: follows(), messages: []string{"ObjectChunk"}},
	}
}
