// Package events is Parley's vocabulary: one struct per event and the codec of
// the frames that carry them.
//
// An event travels as one compact JSON object whose first field is "type", the
// name of the struct. The events of one message are one per line (NDJSON) and
// form a frame. The types here are the contract between programs in any
// language: schemas/ and docs/events.md are generated from them.
//
// Decoding keeps the original bytes of each line beside the struct, so that
// fields this version does not know are passed on unchanged. A type that this
// version does not know decodes to [Unknown]; folds skip it, viewers show it.
// Nothing in this package panics on input.
package events

import "encoding/json"

// Event is one of the structs of this package, always as a pointer.
type Event interface {
	// Type is the name on the wire and equals the name of the struct.
	Type() string
}

// Channel names the writer of an event. It is in the last tokens of the subject.
type Channel string

// The channels of a conversation. ChannelCall and ChannelOut are followed by
// the id of a call.
const (
	ChannelIn   Channel = "in"
	ChannelTurn Channel = "turn"
	ChannelGen  Channel = "gen"
	ChannelCall Channel = "call"
	ChannelOut  Channel = "out"
)

// Unknown is an event of a type this version does not know. Its bytes are kept
// by the [Line] that carries it.
type Unknown struct {
	Name string          `json:"-"`
	Raw  json.RawMessage `json:"-"`
}

// Type returns the name that the event has on the wire.
func (u *Unknown) Type() string { return u.Name }

// Prototypes returns a new zero value of every event and job, in the order of
// the documentation. It is the list from which schemas and docs are made; a test
// holds [New] to it.
func Prototypes() []Event {
	return []Event{
		new(Settings), new(UserMessage), new(Verdict), new(Cancel), new(Delete), new(Compact),
		new(Decision),
		new(TurnStarted), new(GenerationRequested), new(AssistantMessage), new(ToolCallRequested),
		new(ToolCallsQueued), new(ToolCallRefused), new(ToolCallAnswered), new(QuestionAnswered), new(Paused), new(Resumed), new(InputAnswered), new(TurnEnded),
		new(HooksRequested), new(HookAnswered), new(Compacted), new(AnswerRejected), new(DeletionStarted), new(ConversationDeleted),
		new(GenerationStarted), new(HistoryReduced), new(TextChunk), new(ReasoningChunk), new(ToolCallStart),
		new(ToolCallDelta), new(ToolCallEnd), new(GenerationEnded), new(GenerationReleased),
		new(ToolStarted), new(ToolReleased), new(QuestionAsked), new(ToolResult), new(ToolOutput),
		new(GenerationJob), new(ToolJob), new(HookCall), new(Claim),
	}
}

// New returns a zero event of the named type, or nil when the name is unknown.
// It allocates that one: the decoder calls it for each event.
func New(name string) Event {
	switch name {
	case "Settings":
		return new(Settings)
	case "UserMessage":
		return new(UserMessage)
	case "Verdict":
		return new(Verdict)
	case "Cancel":
		return new(Cancel)
	case "Delete":
		return new(Delete)
	case "Compact":
		return new(Compact)
	case "AnswerRejected":
		return new(AnswerRejected)
	case "Compacted":
		return new(Compacted)
	case "Decision":
		return new(Decision)
	case "GenerationStarted":
		return new(GenerationStarted)
	case "HistoryReduced":
		return new(HistoryReduced)
	case "TextChunk":
		return new(TextChunk)
	case "ReasoningChunk":
		return new(ReasoningChunk)
	case "ToolCallStart":
		return new(ToolCallStart)
	case "ToolCallDelta":
		return new(ToolCallDelta)
	case "ToolCallEnd":
		return new(ToolCallEnd)
	case "GenerationEnded":
		return new(GenerationEnded)
	case "GenerationReleased":
		return new(GenerationReleased)
	case "ToolStarted":
		return new(ToolStarted)
	case "ToolReleased":
		return new(ToolReleased)
	case "QuestionAsked":
		return new(QuestionAsked)
	case "ToolResult":
		return new(ToolResult)
	case "ToolOutput":
		return new(ToolOutput)
	case "GenerationJob":
		return new(GenerationJob)
	case "ToolJob":
		return new(ToolJob)
	case "HookCall":
		return new(HookCall)
	case "Claim":
		return new(Claim)
	}
	return newDecided(name)
}

// newDecided is [New] for the events of Decisions.
func newDecided(name string) Event {
	switch name {
	case "TurnStarted":
		return new(TurnStarted)
	case "GenerationRequested":
		return new(GenerationRequested)
	case "AssistantMessage":
		return new(AssistantMessage)
	case "ToolCallRequested":
		return new(ToolCallRequested)
	case "ToolCallsQueued":
		return new(ToolCallsQueued)
	case "ToolCallRefused":
		return new(ToolCallRefused)
	case "ToolCallAnswered":
		return new(ToolCallAnswered)
	case "QuestionAnswered":
		return new(QuestionAnswered)
	case "Paused":
		return new(Paused)
	case "Resumed":
		return new(Resumed)
	case "InputAnswered":
		return new(InputAnswered)
	case "TurnEnded":
		return new(TurnEnded)
	case "HooksRequested":
		return new(HooksRequested)
	case "HookAnswered":
		return new(HookAnswered)
	case "DeletionStarted":
		return new(DeletionStarted)
	case "ConversationDeleted":
		return new(ConversationDeleted)
	}
	return nil
}
