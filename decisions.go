package parley

import "github.com/parleybus/parley/internal/events"

// Decision is what the orchestrator decided in one step, and the conversation's
// state after it. Its events come one by one before it: see [Event.Decided].
type Decision = events.Decision

// TurnStarted starts a turn on one or several messages.
type TurnStarted = events.TurnStarted

// GenerationRequested asks a model for the next step of a turn.
type GenerationRequested = events.GenerationRequested

// FailedModel is a model of a pool that failed in the current step.
type FailedModel = events.FailedModel

// AssistantMessage is a model's answer, whole. It replaces what was streamed of it.
type AssistantMessage = events.AssistantMessage

// ToolCallRequested lets a call run.
type ToolCallRequested = events.ToolCallRequested

// ToolCallsQueued lists the calls that wait for other calls of the conversation
// to end: at most eight run at once.
type ToolCallsQueued = events.ToolCallsQueued

// ToolCallRefused is the result of a call that does not run or that nobody waits
// for any more.
type ToolCallRefused = events.ToolCallRefused

// ToolCallAnswered is the result of a call that a person gave in place of the tool.
type ToolCallAnswered = events.ToolCallAnswered

// QuestionAnswered answers a question that a tool asked during its call.
type QuestionAnswered = events.QuestionAnswered

// Paused reports that the turn waits, and lists for what. It is
// repeated as a reminder.
type Paused = events.Paused

// Awaited is one thing that a turn waits for.
type Awaited = events.Awaited

// Wait is what a call or a turn waits for.
type Wait = events.Wait

// What a call or a turn waits for.
const (
	WaitApproval = events.WaitApproval // a person's verdict
	WaitTime     = events.WaitTime     // the time to which it was deferred
	WaitResult   = events.WaitResult   // an external result
	WaitAnswer   = events.WaitAnswer   // a person's answer to what the tool asks; the call runs meanwhile
	WaitLimit    = events.WaitLimit    // permission to continue past a limit
	WaitSlot     = events.WaitSlot     // queued behind the conversation's concurrency limit
)

// Resumed reports that nothing is awaited any more.
type Resumed = events.Resumed

// HooksRequested calls the hooks of a turn.
type HooksRequested = events.HooksRequested

// HookAnswered is the answer of a hook.
type HookAnswered = events.HookAnswered

// TurnEnded ends a turn, exactly once.
type TurnEnded = events.TurnEnded

// Outcome is how a turn ended.
type Outcome = events.Outcome

// The outcomes of a turn.
const (
	OutcomeCompleted = events.OutcomeCompleted
	OutcomeFailed    = events.OutcomeFailed
	OutcomeCancelled = events.OutcomeCancelled
	OutcomeLimit     = events.OutcomeLimit
)

// AnswerRejected records that an answer does not fit the conversation's schema and is
// asked for once more.
type AnswerRejected = events.AnswerRejected

// Compacted reports what the model is no longer sent.
type Compacted = events.Compacted

// DeletionStarted reports that the conversation is being deleted.
type DeletionStarted = events.DeletionStarted

// ConversationDeleted is the receipt of a deletion: how much was purged.
type ConversationDeleted = events.ConversationDeleted

// State is the small part of a conversation's state that every [Decision]
// carries. It does not grow with the conversation.
type State = events.State

// Phase is what a conversation is doing.
type Phase = events.Phase

// The phases of a conversation.
const (
	PhaseIdle       = events.PhaseIdle
	PhasePreparing  = events.PhasePreparing  // hooks before the turn are called
	PhaseGenerating = events.PhaseGenerating // a model answers
	PhaseCalling    = events.PhaseCalling    // tools run
	PhasePaused     = events.PhasePaused     // waits for a person, an app or a time
	PhaseDeleting   = events.PhaseDeleting
	PhaseDeleted    = events.PhaseDeleted
)

// CallState is the state of a call of the running step.
type CallState = events.CallState

// Question is what a person is asked at a limit.
type Question = events.Question

// PendingHook is a hook that has not answered yet.
type PendingHook = events.PendingHook

// Grant is a standing approval: calls of a tool that the same rule asks about run
// without asking in this conversation until the grant is revoked.
type Grant = events.Grant
