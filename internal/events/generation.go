package events

import "encoding/json"

// Origin names the attempt that wrote an event of the gen channel, and the event's
// index in the attempt, from 0 (GenerationStarted) without gaps. A
// reader that has seen an index of an attempt has seen the event; an event of
// an attempt that is not the latest to start does not count.
//
// Both are empty in what a provider yields; the worker that writes the lane
// stamps them. A field with the tag wire:"required" must be there on the wire.
type Origin struct {
	Attempt string `json:"attempt,omitempty" wire:"required" jsonschema:"id of the worker's try (UUIDv7)"`
	Index   int    `json:"index" jsonschema:"position among the attempt's events, from 0, without gaps"`
}

// Stamp sets the attempt and the index.
func (o *Origin) Stamp(attempt string, index int) { o.Attempt, o.Index = attempt, index }

// Position returns what Stamp set.
func (o *Origin) Position() (attempt string, index int) { return o.Attempt, o.Index }

// Stamped is an event of the gen channel: all of them embed [Origin].
type Stamped interface {
	Event
	Stamp(attempt string, index int)
	Position() (attempt string, index int)
}

// GenerationStarted opens an attempt. Written first, it takes the lane: events of an
// older attempt of the generation no longer count.
type GenerationStarted struct {
	Origin
	Generation string `json:"generation" jsonschema:"id of the generation (UUIDv7)"`
	Turn       string `json:"turn" jsonschema:"id of the turn (UUIDv7)"`
	Step       int    `json:"step" jsonschema:"step of the turn, from 1"`
	Provider   string `json:"provider" jsonschema:"provider of the generation"`
	Model      string `json:"model" jsonschema:"model of the generation"`
	Worker     string `json:"worker,omitempty" jsonschema:"name of the worker"`
	// EstimatedInputTokens counts when the answer does not reach its end and the
	// provider reports no usage.
	EstimatedInputTokens int64 `json:"estimated_input_tokens,omitempty" jsonschema:"tokens of the request as the worker estimates them, at four bytes a token"`
}

// Omission is a part of the history that a request leaves out. Each includes the ones
// before it.
type Omission string

// The omissions, in the order in which a worker tries them.
const (
	OmitNothing Omission = ""
	OmitCarries Omission = "carries" // signatures, encrypted reasoning, providers' own ids
	OmitCalls   Omission = "calls"   // calls and results of earlier turns
	OmitTurns   Omission = "turns"   // earlier turns
	// OmitImages is apart from the others: it leaves out images and files, of the
	// current turn too, and includes none of the above.
	OmitImages Omission = "images"
)

// Includes reports whether o leaves out all that other does. An unknown omission
// includes carries only.
func (o Omission) Includes(other Omission) bool { return o.rank() >= other.rank() }

// Words names what is left out, for people.
func (o Omission) Words() string {
	switch o {
	case OmitNothing:
		return "nothing"
	case OmitImages:
		return "images and files"
	case OmitCalls:
		return "the calls of earlier turns, and the reasoning and ids of all answers"
	case OmitTurns:
		return "earlier turns, and the reasoning and ids of all answers"
	}
	return "the reasoning and ids of earlier answers"
}

func (o Omission) rank() int {
	switch o {
	case OmitNothing, OmitImages:
		return 0
	case OmitCalls:
		return 2
	case OmitTurns:
		return 3
	}
	return 1
}

// HistoryReduced records that a provider refused the history before it answered, and
// that the worker asks again, in the same attempt, with a part of it left out. The
// last one of an attempt counts. The transcript itself keeps everything.
type HistoryReduced struct {
	Origin
	Generation string   `json:"generation" jsonschema:"id of the generation"`
	Omitted    Omission `json:"omitted" jsonschema:"what the next request leaves out: carries (signatures, encrypted reasoning, providers' ids), calls (also calls and results of earlier turns) or turns (also earlier turns); images leaves out images and files and nothing else"`
	Error      *Error   `json:"error" jsonschema:"the provider's refusal"`
}

// TextChunk is a piece of the answer's text.
type TextChunk struct {
	Origin
	Block   int    `json:"block,omitempty" jsonschema:"content block of this piece; a new number starts a new part"`
	Text    string `json:"text" jsonschema:"the piece, never empty, cut where the provider cut it"`
	Refusal bool   `json:"refusal,omitempty" jsonschema:"the model declines: the text is its refusal"`
}

// ReasoningChunk is a piece of the model's reasoning, or data to send back
// with it (carry). A block with a carry and no text at all is opaque: it is
// kept in its position and returned unchanged (redacted thinking, blocks of tools
// that the provider runs itself).
type ReasoningChunk struct {
	Origin
	Block   int             `json:"block,omitempty" jsonschema:"content block of this piece; a new number starts a new part"`
	Text    string          `json:"text,omitempty" jsonschema:"the piece"`
	Summary bool            `json:"summary,omitempty" jsonschema:"the text is the provider's summary of reasoning it does not show"`
	Carry   json.RawMessage `json:"carry,omitempty" jsonschema:"opaque to all but the adapter that wrote it; returned with the block in the next request; the last one of a block counts"`
}

// ToolCallStart opens a call of a tool.
type ToolCallStart struct {
	Origin
	Block      int    `json:"block,omitempty" jsonschema:"content block of the call, unique in the answer"`
	Call       string `json:"call,omitempty" wire:"required" jsonschema:"our id of the call (UUIDv7), minted by the worker"`
	ProviderID string `json:"provider_id,omitempty" jsonschema:"the provider's id; it may not be unique"`
	Name       string `json:"name" jsonschema:"the tool's name as the model gave it"`
	Custom     bool   `json:"custom,omitempty" jsonschema:"the arguments are free text, not JSON"`
}

// ToolCallDelta is a piece of a call's arguments, as raw text.
type ToolCallDelta struct {
	Origin
	Block     int    `json:"block,omitempty" jsonschema:"content block of the call"`
	Call      string `json:"call,omitempty" jsonschema:"Parley's id of the call"`
	Arguments string `json:"arguments" jsonschema:"the piece, never empty"`
}

// ToolCallEnd closes a call: its arguments are complete or cut. Every
// ToolCallStart of an ended generation has exactly one.
type ToolCallEnd struct {
	Origin
	Block   int             `json:"block,omitempty" jsonschema:"content block of the call"`
	Call    string          `json:"call,omitempty" jsonschema:"Parley's id of the call"`
	Invalid string          `json:"invalid,omitempty" jsonschema:"why the call cannot run: its arguments are incomplete or not a JSON object"`
	Carry   json.RawMessage `json:"carry,omitempty" jsonschema:"sent back with the call in the next request (thought signatures)"`
}

// Finish is how a generation ended, in our words.
type Finish string

// The ways a generation ends. A provider's word that maps to none of them is
// FinishOther.
const (
	FinishStop          Finish = "stop"
	FinishToolCalls     Finish = "tool_calls"
	FinishLength        Finish = "length"
	FinishContentFilter Finish = "content_filter"
	FinishPause         Finish = "pause"
	FinishError         Finish = "error"
	FinishCancelled     Finish = "cancelled"
	FinishOther         Finish = "other"
)

// Known reports whether the word is one of ours; an empty one is not.
func (f Finish) Known() bool {
	switch f {
	case FinishStop, FinishToolCalls, FinishLength, FinishContentFilter, FinishPause, FinishError, FinishCancelled, FinishOther:
		return true
	}
	return false
}

// GenerationEnded closes an attempt and its generation.
type GenerationEnded struct {
	Origin
	Generation string `json:"generation,omitempty" wire:"required" jsonschema:"id of the generation"`
	Finish     Finish `json:"finish" jsonschema:"how it ended, in our terms"`
	FinishWord string `json:"finish_word,omitempty" jsonschema:"the provider's own term"`
	Terminated bool   `json:"terminated" jsonschema:"the provider's terminal sign was seen on the wire; an answer without it is complete only if it has a finish_word and no error"`
	Usage      *Usage `json:"usage,omitempty" jsonschema:"the provider's count; absent when it gave none"`
	Error      *Error `json:"error,omitempty" jsonschema:"why it failed"`
	Model      string `json:"model,omitempty" jsonschema:"the model that answered, as the provider names it"`
	ResponseID string `json:"response_id,omitempty" jsonschema:"the provider's id of the answer"`
	Window     int64  `json:"window,omitempty" jsonschema:"tokens that the model takes, where the worker knows it or the provider's refusal says it"`
	EventCount int    `json:"event_count,omitempty" jsonschema:"number of the attempt's events, this one included; older logs name it events"`
	// Requests count in the budget of the step.
	Requests int `json:"requests,omitempty" jsonschema:"requests that the attempt made to the provider, with those that it refused; absent means one"`
	// Omitted are the tools that the provider does not take.
	Omitted []OmittedTool `json:"omitted,omitempty" jsonschema:"tools that were left out of the request because the provider does not take them"`
	// OmittedParameters are the parameters that the model refuses.
	OmittedParameters []OmittedParameter `json:"omitted_parameters,omitempty" jsonschema:"parameters that were left out of the request because the model refuses them"`
}

// UnmarshalJSON also reads event_count under its former name, events, where the
// new one is absent.
func (e *GenerationEnded) UnmarshalJSON(raw []byte) error {
	type plain GenerationEnded // without this method
	if err := json.Unmarshal(raw, (*plain)(e)); err != nil {
		return err
	}
	if e.EventCount != 0 {
		return nil
	}
	var counts struct {
		EventCount *int `json:"event_count"`
		Events     int  `json:"events"`
	}
	if err := json.Unmarshal(raw, &counts); err != nil {
		return err
	}
	if counts.EventCount == nil {
		e.EventCount = counts.Events
	}
	return nil
}

// OmittedParameter is a parameter that was left out of a request.
type OmittedParameter struct {
	Parameter string `json:"parameter" jsonschema:"name of the parameter, as in Settings"`
	Reason    string `json:"reason" jsonschema:"why it was left out: the provider's refusal"`
}

// GenerationReleased hands back a generation that the worker has started: another
// may take it at once. Without it, others wait until the worker is known to be
// dead. The next GenerationStarted starts another attempt.
type GenerationReleased struct {
	Origin
	Generation string `json:"generation" jsonschema:"id of the generation"`
	Error      string `json:"error,omitempty" jsonschema:"why the attempt failed; absent if the worker was stopped"`
}

// Type implements [Event].
func (*GenerationStarted) Type() string { return "GenerationStarted" }

// Type implements [Event].
func (*HistoryReduced) Type() string { return "HistoryReduced" }

// Type implements [Event].
func (*TextChunk) Type() string { return "TextChunk" }

// Type implements [Event].
func (*ReasoningChunk) Type() string { return "ReasoningChunk" }

// Type implements [Event].
func (*ToolCallStart) Type() string { return "ToolCallStart" }

// Type implements [Event].
func (*ToolCallDelta) Type() string { return "ToolCallDelta" }

// Type implements [Event].
func (*ToolCallEnd) Type() string { return "ToolCallEnd" }

// Type implements [Event].
func (*GenerationReleased) Type() string { return "GenerationReleased" }

// Type implements [Event].
func (*GenerationEnded) Type() string { return "GenerationEnded" }
