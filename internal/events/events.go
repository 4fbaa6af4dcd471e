// Package events is Parley's vocabulary: one struct per event and the codec of
// the frames that carry them.
//
// An event travels as one compact JSON object whose first field is "type", the
// name of the struct. Events of one message stand one per line (NDJSON) and
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

// Channel names the writer of an event: the last tokens of its subject.
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

// Type returns the name the event came with.
func (u *Unknown) Type() string { return u.Name }

// Prototypes returns a new zero value of every event and job, in the order of
// the documentation. It is the one list from which decoder, schemas and docs
// are made.
func Prototypes() []Event {
	return []Event{
		new(Settings), new(UserMessage), new(Verdict), new(Cancel),
		new(Decision),
		new(TurnStarted), new(GenerationRequested), new(AssistantMessage), new(ToolCallRequested),
		new(ToolCallsQueued), new(ToolCallRefused), new(ToolCallAnswered), new(QuestionAnswered), new(Paused), new(Resumed), new(InputAnswered), new(TurnEnded),
		new(HooksRequested), new(HookAnswered),
		new(GenerationStarted), new(TextChunk), new(ReasoningChunk), new(ToolCallStart),
		new(ToolCallDelta), new(ToolCallEnd), new(GenerationEnded), new(GenerationReleased),
		new(ToolStarted), new(ToolReleased), new(QuestionAsked), new(ToolResult), new(ToolOutput),
		new(GenerationJob), new(ToolJob), new(HookCall), new(Claim),
	}
}

// New returns a zero event of the named type, or nil when the name is unknown.
func New(name string) Event {
	switch name {
	case "TextChunk":
		return new(TextChunk)
	case "ReasoningChunk":
		return new(ReasoningChunk)
	case "ToolCallDelta":
		return new(ToolCallDelta)
	}
	for _, e := range Prototypes() {
		if e.Type() == name {
			return e
		}
	}
	return nil
}
