package parley

import "github.com/parleybus/parley/internal/events"

// Origin is the attempt that wrote an event of the gen channel, and its index
// among the attempt's events, from 0 without gaps.
type Origin = events.Origin

// GenerationStarted starts an attempt of a worker at a generation. What an earlier
// attempt streamed does not count any more: see [Event.Supersedes].
type GenerationStarted = events.GenerationStarted

// TextChunk is a piece of the answer's text.
type TextChunk = events.TextChunk

// ReasoningChunk is a piece of the model's reasoning.
type ReasoningChunk = events.ReasoningChunk

// ToolCallStart starts a call in the model's answer.
type ToolCallStart = events.ToolCallStart

// ToolCallDelta is a piece of a call's arguments, as raw text.
type ToolCallDelta = events.ToolCallDelta

// ToolCallEnd ends a call in the model's answer: its arguments are complete.
type ToolCallEnd = events.ToolCallEnd

// OmittedParameter is a parameter that was left out of a request.
type OmittedParameter = events.OmittedParameter

// GenerationEnded ends an attempt and its generation.
type GenerationEnded = events.GenerationEnded

// HistoryReduced records that a provider refused the history of a conversation, and
// what the worker then left out of the request.
type HistoryReduced = events.HistoryReduced

// Omission is a part of the history that a request leaves out.
type Omission = events.Omission

// The omissions; each includes the ones before it.
const (
	OmitNothing = events.OmitNothing
	OmitCarries = events.OmitCarries
	OmitCalls   = events.OmitCalls
	OmitTurns   = events.OmitTurns
)

// GenerationReleased hands a generation back for another worker.
type GenerationReleased = events.GenerationReleased

// Finish is how a generation ended.
type Finish = events.Finish

// How a generation ended. A provider's word that maps to none of them is
// FinishOther.
const (
	FinishStop          = events.FinishStop
	FinishToolCalls     = events.FinishToolCalls
	FinishLength        = events.FinishLength
	FinishContentFilter = events.FinishContentFilter
	FinishPause         = events.FinishPause
	FinishError         = events.FinishError
	FinishCancelled     = events.FinishCancelled
	FinishOther         = events.FinishOther
)

// Failure is an error as it crosses the wire: what went wrong, and its class.
type Failure = events.Error

// FailureClass is the class of a [Failure]; it decides whether a retry can help.
type FailureClass = events.ErrorClass

// The classes of failures.
const (
	FailureRateLimited    = events.ErrRateLimited
	FailureOverloaded     = events.ErrOverloaded
	FailureAuth           = events.ErrAuth
	FailureInvalidRequest = events.ErrInvalidRequest
	FailureContextLength  = events.ErrContextLength
	FailureContentFilter  = events.ErrContentFilter
	FailureNetwork        = events.ErrNetwork
	FailureCut            = events.ErrCut  // the stream ended without its terminal event
	FailureIdle           = events.ErrIdle // the model sent nothing for too long
	FailureUnsupported    = events.ErrUnsupported
	FailureCancelled      = events.ErrCancelled
	FailureInternal       = events.ErrInternal
	FailureInvalidAnswer  = events.ErrInvalidAnswer // it does not fit the conversation's schema
	FailureEmpty          = events.ErrEmpty         // a complete answer without text and calls
	FailureCeiling        = events.ErrCeiling
)

// ToolStarted starts an attempt of a worker at a call.
type ToolStarted = events.ToolStarted

// ToolOutput is output of a running call, for display only: it is not kept for
// good, and the model does not read it.
type ToolOutput = events.ToolOutput

// ToolResult ends a call. The first result of the attempt that runs, or of
// the app that answers an external call, counts.
type ToolResult = events.ToolResult

// ToolReleased hands a call back for another worker.
type ToolReleased = events.ToolReleased

// QuestionAsked is what a tool asks a person during its call.
type QuestionAsked = events.QuestionAsked

// Status is how a call ended.
type Status = events.Status

// How a call ended.
const (
	StatusOK               = events.StatusOK
	StatusFailed           = events.StatusFailed
	StatusInvalidArguments = events.StatusInvalidArguments
	StatusUnknownTool      = events.StatusUnknownTool
	StatusTimeout          = events.StatusTimeout
	StatusTooLarge         = events.StatusTooLarge
	StatusCrashed          = events.StatusCrashed
	StatusCancelled        = events.StatusCancelled
	StatusRefused          = events.StatusRefused
	StatusExpired          = events.StatusExpired
	StatusSuperseded       = events.StatusSuperseded
	StatusWeakEffect       = events.StatusWeakEffect // not run: the tool is stricter than the call
	StatusUnknown          = events.StatusUnknown    // the worker died in the middle: the outcome is unknown
)

// ToolSpec describes a tool: name, description, schemas, effect class and limits.
type ToolSpec = events.ToolSpec

// Effect is a tool's effect class. It decides whether a call may be retried after
// its worker died.
type Effect = events.Effect

// The effect classes.
const (
	EffectPure       = events.EffectPure       // changes nothing: retried freely
	EffectIdempotent = events.EffectIdempotent // retried with the call's id as the key
	EffectOnce       = events.EffectOnce       // never retried; the default
)

// Message is an entry of a transcript. A tool message has exactly one result and
// follows the assistant message with the call.
type Message = events.Message

// Role is the author of a [Message].
type Role = events.Role

// The author of a [Message].
const (
	RoleUser      = events.RoleUser
	RoleAssistant = events.RoleAssistant
	RoleTool      = events.RoleTool
)

// Part is a piece of a [Message].
type Part = events.Part

// PartKind is the kind of a [Part].
type PartKind = events.PartKind

// What a [Part] holds.
const (
	PartText      = events.PartText
	PartRefusal   = events.PartRefusal
	PartReasoning = events.PartReasoning
	PartCall      = events.PartCall
	PartResult    = events.PartResult
	PartImage     = events.PartImage
	PartFile      = events.PartFile
)

// Attachment is a file or an image in a tool's result.
type Attachment = events.Attachment

// Object refers to bytes in the object store. [Client.Fetch] gets them.
type Object = events.Object

// Usage is what a provider counted for a generation, or the sum over several, in
// tokens. A nil field was not reported.
type Usage = events.Usage

// Price of a model in US dollars per million tokens.
type Price = events.Price
