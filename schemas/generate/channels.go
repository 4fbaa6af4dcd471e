package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// channel is a kind of subject and its messages.
type channel struct {
	key      string // name in the AsyncAPI document
	address  string // empty if the request has it
	text     string
	senders  []string // roles; none if the server writes
	readers  []string // roles
	events   []string
	messages []string // of those that are no events: see others
	headers  []header
	reply    string // key of the channel of the answers, for a request
}

// The roles of the programs on the bus. A caller may also do what an app may, but for
// answering hooks: it is named only where an app may not.
const (
	app          = string(topology.App)
	caller       = string(topology.Caller)
	orchestrator = string(topology.Orchestrator)
	llmWorker    = string(topology.LLMWorker)
	toolWorker   = string(topology.ToolWorker)
	viewer       = string(topology.Viewer)
	admin        = string(topology.Admin)
)

// channels returns all kinds of subjects. A claim may replace any message that
// can be too large for the bus.
func channels() []channel {
	return slices.Concat(logs(), queues(), services(), buckets())
}

// logs returns the channels of the three logs of a conversation.
func logs() []channel {
	const lane = " A lane: each append states the sequence it follows (Nats-Expected-Last-Subject-Sequence), so only one writer at a time succeeds."
	workers := []string{orchestrator, app, llmWorker, toolWorker}
	conv := map[events.Channel]channel{
		events.ChannelIn: {text: "Inputs of people and apps. Many writers; inputs are idempotent by their id, permanently; the header Nats-Msg-Id is <conversation>/<id>. What came in the wrong shard the orchestrator publishes again in the right one.",
			senders: []string{app}, readers: workers, headers: slices.Concat(messageID(), protocol(), trace()),
			events: []string{"Settings", "UserMessage", "Verdict", "Cancel", "Delete", "Compact", "Claim"}},
		events.ChannelTurn: {text: "Decisions of the orchestrator." + lane,
			senders: []string{orchestrator}, readers: workers, headers: follows(),
			events: []string{"Decision", "Claim"}},
		events.ChannelGen: {text: "A model's answer, as it streams." + lane,
			senders: []string{llmWorker}, readers: workers, headers: follows(),
			events: []string{"GenerationStarted", "HistoryReduced", "TextChunk", "ReasoningChunk", "ToolCallStart", "ToolCallDelta", "ToolCallEnd", "GenerationEnded", "GenerationReleased", "Claim"}},
		events.ChannelCall: {text: "The run of a tool call, or an app's result of a deferred call." + lane,
			senders: []string{toolWorker, app}, readers: workers, headers: follows(),
			events: []string{"ToolStarted", "ToolReleased", "QuestionAsked", "ToolResult", "Claim"}},
		events.ChannelOut: {text: "Interim output of a call, for display only; HISTORY does not keep it.",
			senders: []string{toolWorker}, readers: []string{app},
			events: []string{"ToolOutput"}},
	}
	live := map[events.Channel][]string{ // who is woken by it or looks for a Cancel, besides viewers
		events.ChannelIn:   {orchestrator, llmWorker, toolWorker},
		events.ChannelTurn: {llmWorker, toolWorker},
		events.ChannelCall: {orchestrator},
	}
	var all []channel
	add := func(in topology.Log, change func(events.Channel, *channel)) {
		for _, name := range topology.Channels(in) {
			c := conv[name]
			c.key, c.address = logKey(in, name), topology.LogTemplate(in, name)
			change(name, &c)
			all = append(all, c)
		}
	}
	add(topology.Conv, func(events.Channel, *channel) {})
	add(topology.Live, func(name events.Channel, c *channel) {
		c.text = "Messages stored under conv, republished by the server with the headers Nats-Sequence and Nats-Last-Sequence; plain NATS, for live viewers."
		c.senders, c.readers = nil, slices.Concat([]string{viewer, app}, live[name])
		c.headers = slices.Concat(optional(c.headers), republished())
	})
	add(topology.History, func(_ events.Channel, c *channel) {
		c.text = "Messages stored under conv, copied by the server and kept until deleted; the header Nats-Stream-Source names the original."
		c.senders, c.headers = nil, slices.Concat(optional(c.headers), copied())
	})
	return all
}

// logKey is the key of a channel of a log.
func logKey(log topology.Log, name events.Channel) string { return string(log) + "-" + string(name) }

// decided returns the events that occur only inside a Decision.
func decided() []string {
	return []string{"TurnStarted", "GenerationRequested", "AssistantMessage", "ToolCallRequested", "ToolCallsQueued",
		"ToolCallRefused", "ToolCallAnswered", "QuestionAnswered", "Paused", "Resumed", "InputAnswered", "TurnEnded", "HooksRequested", "Compacted", "AnswerRejected", "DeletionStarted", "ConversationDeleted"}
}

// recorded returns the events of a channel that is not stored, and whose record
// is inside a Decision.
func recorded() []string { return []string{"HookAnswered"} }

// parameters of the addresses.
func parameters() []value {
	return []value{
		{"shard", "number of the shard, a fixed hash of the conversation's id"},
		{"conversation", "id of the conversation (UUIDv7)"},
		{"call", "id of the tool call (UUIDv7)"},
		{"generation", "id of the generation (UUIDv7)"},
		{"route", "the provider: the part before the first slash of provider/model"},
		{"tool", "name of the tool"},
		{"when", "before or after"},
		{"hook", "name of the hook, as Settings or the deployment name it"},
		{"stream", "name of the stream to read"},
		{"scope", "id of the conversation to read, or all"},
		{"queue", "durable name of the queue: llm_<route>, tool_<tool> or toollow_<tool>"},
		{"kind", "llm, tool or pool"},
		{"name", "name of the route, tool or pool"},
		{"worker", "name of the process, unique among those that run"},
		{"object", "name of the object, base64url with padding"},
		{"chunks", "id of the object's chunks: nuid in its description"},
		{"subject", "the subject that the message had, several tokens"},
	}
}

// home returns the channel on which an event is first written.
func home(event string) *channel {
	for _, c := range channels() {
		if slices.Contains(c.events, event) {
			return &c
		}
	}
	return nil
}

// checkChannels reports events without a channel and channels without an event.
func checkChannels() error {
	known := map[string]bool{}
	for _, e := range events.Prototypes() {
		known[e.Type()] = true
		inside := slices.Contains(decided(), e.Type())
		if outside := home(e.Type()) != nil; inside == outside {
			return fmt.Errorf("event %s must be on a channel or inside a Decision, and not both, unless it is recorded: see channels.go", e.Type())
		}
	}
	for _, name := range recorded() {
		if c := home(name); c == nil || topology.InLog(c.address) {
			return fmt.Errorf("event %s is recorded in a Decision and must come on a channel outside the log: see channels.go", name)
		}
	}
	placed := slices.Concat(decided(), recorded())
	var extra []string
	for _, m := range others() {
		extra = append(extra, m.name)
	}
	for _, c := range channels() {
		placed = append(placed, c.events...)
		for _, name := range c.messages {
			if !slices.Contains(extra, name) {
				return fmt.Errorf("message %s of %s is not described: see messages.go", name, c.key)
			}
		}
		for _, p := range addressParameters(c.address) {
			if !slices.ContainsFunc(parameters(), func(v value) bool { return v.text == p }) {
				return fmt.Errorf("parameter {%s} of %s is not described: see channels.go", p, c.address)
			}
		}
	}
	for _, name := range placed {
		if !known[name] {
			return fmt.Errorf("channels.go names %s, which is no event", name)
		}
	}
	return nil
}

// addressParameters returns the names in braces.
func addressParameters(address string) []string {
	var names []string
	for token := range strings.SplitSeq(address, ".") {
		if name, ok := strings.CutPrefix(token, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}
