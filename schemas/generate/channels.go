package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// channel is a kind of subject and its events.
type channel struct {
	key     string // name in the AsyncAPI document
	address string
	text    string
	senders []string // roles; none if the server copies
	readers []string // roles
	events  []string
	reply   string // key of the channel of the answers, for a request
}

// The roles of the programs on the bus.
const (
	app          = "app"
	orchestrator = "orchestrator"
	llmWorker    = "llm-worker"
	toolWorker   = "tool-worker"
	viewer       = "viewer"
	admin        = "admin"
)

// channels returns all kinds of subjects. A claim may replace any message that
// can be too large for the bus.
func channels() []channel {
	lane := " A lane: each append states the sequence it follows (Nats-Expected-Last-Subject-Sequence), so only one writer at a time succeeds."
	log := map[events.Channel]channel{
		events.ChannelIn: {"in", "", "Inputs of people and apps. Many writers; inputs are idempotent by their id, permanently; the header Nats-Msg-Id is <conversation>/<id>.",
			[]string{app}, []string{orchestrator, llmWorker, toolWorker, viewer},
			[]string{"Settings", "UserMessage", "Verdict", "Cancel", "Delete", "AnswerRejected", "Compact", "Claim"}, ""},
		events.ChannelTurn: {"turn", "", "Decisions of the orchestrator." + lane,
			[]string{orchestrator}, []string{orchestrator, viewer},
			[]string{"Decision", "Claim"}, ""},
		events.ChannelGen: {"gen", "", "A model's answer, as it streams." + lane,
			[]string{llmWorker}, []string{orchestrator, viewer},
			[]string{"GenerationStarted", "HistoryReduced", "TextChunk", "ReasoningChunk", "ToolCallStart", "ToolCallDelta", "ToolCallEnd", "GenerationEnded", "GenerationReleased", "Claim"}, ""},
		events.ChannelCall: {"call", "", "The run of a tool call, or an app's result of a deferred call." + lane,
			[]string{toolWorker, app}, []string{orchestrator, viewer},
			[]string{"ToolStarted", "ToolReleased", "QuestionAsked", "ToolResult", "Claim"}, ""},
		events.ChannelOut: {"out", "", "Interim output of a call, for display only; HISTORY does not keep it.",
			[]string{toolWorker}, []string{viewer},
			[]string{"ToolOutput"}, ""},
	}
	var all []channel
	add := func(in topology.Log, change func(*channel)) {
		for _, name := range topology.Channels(in) {
			c := log[name]
			c.key, c.address = string(in)+"-"+c.key, topology.LogTemplate(in, name)
			change(&c)
			all = append(all, c)
		}
	}
	add(topology.Conv, func(*channel) {})
	add(topology.Live, func(c *channel) {
		c.text = "Messages stored under conv, republished by the server with the headers Nats-Sequence and Nats-Last-Sequence; plain NATS, for live viewers."
		c.senders, c.readers = nil, []string{viewer}
	})
	add(topology.History, func(c *channel) {
		c.text = "Messages stored under conv, copied by the server and kept until deleted; the header Nats-Stream-Source names the original."
		c.senders, c.readers = nil, []string{orchestrator, viewer}
	})
	return append(all,
		channel{"jobs-llm", topology.TemplateGenerationJob, "Generations to run, a work queue; published after the decision that requests them.",
			[]string{orchestrator}, []string{llmWorker}, []string{"GenerationJob", "Claim"}, ""},
		channel{"jobs-tool", topology.TemplateToolJob, "Tool calls to run, a work queue; published after the decision that requests them.",
			[]string{orchestrator}, []string{toolWorker}, []string{"ToolJob", "Claim"}, ""},
		channel{"jobs-tool-low", topology.TemplateLowToolJob, "Tool calls of conversations with the priority low, a separate work queue; workers reserve most slots for the other queue.",
			[]string{orchestrator}, []string{toolWorker}, []string{"ToolJob", "Claim"}, ""},
		channel{"hooks", topology.TemplateHook, "A request to an app before or after a turn, plain NATS; the orchestrator repeats it until the app answers or the deadline has passed.",
			[]string{orchestrator}, []string{app}, []string{"HookCall", "Claim"}, hookAnswers},
		channel{hookAnswers, "", "The answer to a request under hooks, published to the reply subject of the request.",
			[]string{app}, []string{orchestrator}, []string{"HookAnswered", "Claim"}, ""},
		channel{"timers", topology.TemplateTimer, "The one timer of a waiting conversation: a scheduled message of the server, without an event.",
			[]string{orchestrator}, []string{orchestrator}, nil, ""},
		channel{"due", topology.TemplateDue, "The server publishes the message of a timer here when it fires.",
			nil, []string{orchestrator}, nil, ""},
		channel{"dead", topology.TemplateDead, "Messages that could not be decoded or run, unchanged; the header Parley-Reason has the reason, Parley-Size the original length of a message that was cut.",
			[]string{orchestrator, llmWorker, toolWorker}, []string{admin}, nil, ""},
		channel{"probe", topology.TemplateProbe, "Empty messages that test whether a log can be written; readers of the log skip them.",
			[]string{app}, []string{orchestrator}, nil, ""},
		channel{"read", topology.TemplateRead, "A request for a short-lived pull consumer on a stream, for users who may not create one. Request: {\"filter\":subject,\"from\":sequence,\"heads\":bool} or {\"delete\":consumer}. Answer: {\"consumer\":name,\"pending\":count} or {\"error\":text}. The consumer takes requests on CONSUMER.MSG.NEXT.<stream>.<consumer>, without acknowledgements, and ends after 30 s without any.",
			[]string{app}, []string{orchestrator}, nil, ""},
		channel{"queue", topology.TemplateQueue, "A request to create the queue with a durable name such as tool_clock, if it is missing. Answer: {} or {\"error\":text}.",
			[]string{llmWorker, toolWorker, app}, []string{orchestrator}, nil, ""},
		channel{"wake", topology.TemplateWake, "An empty message, plain NATS: the gen channel of a conversation of the shard has something to decide on, the end of an answer or of the arguments of a call. Without it the orchestrator decides up to 50 ms later.",
			[]string{llmWorker}, []string{orchestrator}, nil, ""},
	)
}

// hookAnswers is the channel of the answers to hooks. Its address is the reply
// subject of the request.
const hookAnswers = "hook-answers"

// decided returns the events that occur only inside a Decision.
func decided() []string {
	return []string{"TurnStarted", "GenerationRequested", "AssistantMessage", "ToolCallRequested", "ToolCallsQueued",
		"ToolCallRefused", "ToolCallAnswered", "QuestionAnswered", "Paused", "Resumed", "InputAnswered", "TurnEnded", "HooksRequested", "Compacted", "DeletionStarted", "ConversationDeleted"}
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
	for _, c := range channels() {
		placed = append(placed, c.events...)
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
