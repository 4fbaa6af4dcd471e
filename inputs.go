package parley

import "github.com/parleybus/parley/internal/events"

// Body is the content of an [Event]: one of the structs of this package, always as a
// pointer, such as *[TextChunk] or *[ToolResult].
type Body = events.Event

// Unknown is the [Body] of an event whose type this version does not know.
// [Event.Raw] has its bytes.
type Unknown = events.Unknown

// Channel is who wrote an event.
type Channel = events.Channel

// The channels of a conversation.
const (
	ChannelIn   = events.ChannelIn   // people and apps
	ChannelTurn = events.ChannelTurn // the orchestrator
	ChannelGen  = events.ChannelGen  // llm-workers
	ChannelCall = events.ChannelCall // tool-workers: start and result of a call
	ChannelOut  = events.ChannelOut  // tool-workers: output of a running call
)

// UserMessage is a message of a person. [Conversation.Send] publishes one.
type UserMessage = events.UserMessage

// Settings change the settings of a conversation from the next turn on. They are
// merged into the settings before them as a JSON Merge Patch (RFC 7396): a zero
// field changes nothing, so that no client has to read settings to change them.
type Settings = events.Settings

// Parameters steer a generation. A zero field is left to the provider.
type Parameters = events.Parameters

// Limits bound a turn. A zero field is the deployment's default.
type Limits = events.Limits

// LimitAction is what happens at a limit.
type LimitAction = events.LimitAction

// What happens at a limit.
const (
	LimitEnd = events.LimitEnd // the turn ends with OutcomeLimit
	LimitAsk = events.LimitAsk // a person is asked whether it may continue
)

// Policy decides which calls run without asking a person. A matching deny always
// wins; then a standing approval, then the first matching rule. A call that
// nothing matches runs when its tool is pure and waits for approval otherwise.
type Policy = events.Policy

// Rule decides about the calls that match all of its tool, effect and condition.
type Rule = events.Rule

// Action is what a policy does with a call.
type Action = events.Action

// The actions of a policy.
const (
	ActionAuto    = events.ActionAuto    // run it
	ActionApprove = events.ActionApprove // ask a person first
	ActionDefer   = events.ActionDefer   // run it later, or wait for an external result
	ActionDeny    = events.ActionDeny    // never run it
)

// Priority is which calls workers take first.
type Priority = events.Priority

// The priorities.
const (
	PriorityNormal = events.PriorityNormal
	PriorityLow    = events.PriorityLow // takes at most a quarter of a worker's slots
)

// Arrival is what happens to a message that arrives while a turn runs or waits.
type Arrival = events.Arrival

// What happens to a message that arrives while a turn runs or waits.
const (
	ArrivalQueue     = events.ArrivalQueue     // it is for the next turn
	ArrivalInterrupt = events.ArrivalInterrupt // the turn is stopped, this one starts
	ArrivalSupersede = events.ArrivalSupersede // pending approvals are dropped, running calls finish, this one starts
	ArrivalRefuse    = events.ArrivalRefuse    // it is refused
)

// Hook names an app that is called before or notified after each turn.
type Hook = events.Hook

// HookTime is when a hook is called.
type HookTime = events.HookTime

// When a hook is called.
const (
	HookBefore = events.HookBefore
	HookAfter  = events.HookAfter
)

// Verdict decides calls that wait for a person. Each call is judged by itself;
// the first valid verdict on a call wins.
type Verdict = events.Verdict

// CallVerdict is the part of a [Verdict] about one call.
type CallVerdict = events.CallVerdict

// Ruling is what a [Verdict] decides.
type Ruling = events.Ruling

// The rulings.
const (
	RulingApprove = events.RulingApprove // run the call
	RulingReject  = events.RulingReject  // do not run it
	RulingEdit    = events.RulingEdit    // run it with other arguments
	RulingAnswer  = events.RulingAnswer  // do not run it: this is its result
	RulingAlways  = events.RulingAlways  // run it, and such calls from now on
	RulingRevoke  = events.RulingRevoke  // revoke standing approvals
)

// Cancel stops a turn, a call or queued messages.
type Cancel = events.Cancel

// Scope is what a [Cancel] stops.
type Scope = events.Scope

// The scopes of a [Cancel].
const (
	ScopeTurn  = events.ScopeTurn  // the turn that runs
	ScopeCall  = events.ScopeCall  // one call of it; the turn continues
	ScopeQueue = events.ScopeQueue // the messages that wait for the next turn
	ScopeAll   = events.ScopeAll   // the turn and the queue
)

// Compact shortens what the model is sent. [Conversation.Compact] publishes one.
type Compact = events.Compact

// Compaction sets when a conversation is compacted.
type Compaction = events.Compaction

// The modes of a [Compaction].
const (
	CompactionAuto = events.CompactionAuto // near the model's window, and after a refusal for the length
	CompactionOff  = events.CompactionOff  // by a [Compact] only
)

// Delete deletes a conversation. [Conversation.Delete] publishes one.
type Delete = events.Delete

// InputAnswered reports what the orchestrator did with an input.
type InputAnswered = events.InputAnswered

// CallAnswer is the part of an [InputAnswered] about one call of a [Verdict].
type CallAnswer = events.CallAnswer

// Answer is what the orchestrator did with an input.
type Answer = events.Answer

// The answers to inputs.
const (
	AnswerAccepted          = events.AnswerAccepted
	AnswerQueued            = events.AnswerQueued            // a message: it is for the next turn
	AnswerSuperseded        = events.AnswerSuperseded        // a later input took its place
	AnswerAlreadyEnded      = events.AnswerAlreadyEnded      // a Cancel: nothing ran
	AnswerUnknownCall       = events.AnswerUnknownCall       // there is no such call
	AnswerInvalid           = events.AnswerInvalid           // it cannot be read or used
	AnswerRefused           = events.AnswerRefused           // a message that arrived while a turn ran or waited
	AnswerAlreadyDecided    = events.AnswerAlreadyDecided    // another verdict was first
	AnswerArgumentsChanged  = events.AnswerArgumentsChanged  // the verdict names the digest of other arguments
	AnswerExpired           = events.AnswerExpired           // the call's deadline has passed
	AnswerDenied            = events.AnswerDenied            // the policy denies what was approved
	AnswerNotAllowed        = events.AnswerNotAllowed        // the call waits for something else, or for somebody else
	AnswerSecretInClear     = events.AnswerSecretInClear     // an answer with a secret must be sealed: see [AnswerTo]
	AnswerBadSignature      = events.AnswerBadSignature      // the signature does not fit the input and the conversation
	AnswerUnknownKey        = events.AnswerUnknownKey        // signatures are required, and no identity has this key
	AnswerSignatureRequired = events.AnswerSignatureRequired // signatures are required, and there is none
	AnswerDeleted           = events.AnswerDeleted           // the conversation was deleted
)
