package events

import "encoding/json"

// Decision is what the orchestrator decided, in one message: a list of events
// and the small state that follows from them. It is stored on the turn lane.
type Decision struct {
	Events []Line `json:"events" jsonschema:"the events, in order"`
	State  State  `json:"state" jsonschema:"the conversation's state with this decision"`
	Owner  string `json:"owner,omitempty" jsonschema:"name of the orchestrator"`
}

// Outcome is how a turn ended.
type Outcome string

// The outcomes of a turn.
const (
	OutcomeCompleted Outcome = "completed"
	OutcomeFailed    Outcome = "failed"
	OutcomeCancelled Outcome = "cancelled"
	OutcomeLimit     Outcome = "limit"
)

// Answer is the answer to an input.
type Answer string

// The answers to inputs.
const (
	AnswerAccepted     Answer = "accepted"
	AnswerQueued       Answer = "queued"
	AnswerSuperseded   Answer = "superseded"
	AnswerAlreadyEnded Answer = "already_ended"
	AnswerUnknownCall  Answer = "unknown_call"
	AnswerInvalid      Answer = "invalid"
	AnswerRefused      Answer = "refused" // a message that arrived while a turn ran or waited

	AnswerAlreadyDecided   Answer = "already_decided"   // the call runs, or has its result
	AnswerArgumentsChanged Answer = "arguments_changed" // the verdict names other arguments
	AnswerExpired          Answer = "expired"           // the call's deadline has passed
	AnswerDenied           Answer = "denied"            // the policy denies what was approved
	AnswerNotAllowed       Answer = "not_allowed"       // the call waits for something else, or for somebody else
	AnswerSecretInClear    Answer = "secret_in_clear"   // an answer with a secret must be sealed
)

// TurnStarted opens a turn on one or several inputs.
type TurnStarted struct {
	Turn   string   `json:"turn" jsonschema:"id of the turn (UUIDv7)"`
	Inputs []string `json:"inputs" jsonschema:"ids of the UserMessages it answers, in order"`
	AtMS   int64    `json:"at_ms" jsonschema:"time of the decision, Unix milliseconds"`
}

// GenerationRequested requests an answer of a model; the job follows.
type GenerationRequested struct {
	Turn       string `json:"turn" jsonschema:"id of the turn"`
	Generation string `json:"generation" jsonschema:"id of the generation (UUIDv7)"`
	Step       int    `json:"step" jsonschema:"step of the turn, from 1"`
	Route      string `json:"route" jsonschema:"provider/model"`
	// Pool, Reason and Failed are set where a pool of models is asked (ADR 82).
	Pool      string       `json:"pool,omitempty" jsonschema:"name of the pool of models that route was chosen from"`
	Reason    string       `json:"reason,omitempty" jsonschema:"why this model of the pool, for people"`
	Failed    *FailedModel `json:"failed,omitempty" jsonschema:"the model of the pool whose failed answer this request replaces"`
	Try       int          `json:"try" jsonschema:"number of the try of this step, from 1"`
	Refused   int          `json:"refused,omitempty" jsonschema:"requests of this step before it that the provider refused and the worker repeated; try counts them, the budget of a class of errors does not"`
	NotBefore int64        `json:"not_before_ms,omitempty" jsonschema:"earliest start, Unix milliseconds"`
	// Searchable counts tools that are too many for one request.
	Searchable int    `json:"searchable,omitempty" jsonschema:"number of tools that the request does not offer and that the model can find with find_tools"`
	Usage      *Usage `json:"usage,omitempty" jsonschema:"usage of the failed or interrupted answer that this one replaces, when no message holds it"`
}

// FailedModel is a model of a pool that failed in the current step.
type FailedModel struct {
	Route   string     `json:"route" jsonschema:"provider/model"`
	Class   ErrorClass `json:"class" jsonschema:"class of the failure"`
	UntilMS int64      `json:"until_ms,omitempty" jsonschema:"time at which the step may ask it again, Unix milliseconds; absent if the step never does"`
}

// AssistantMessage is the accumulated answer of the model.
type AssistantMessage struct {
	Turn       string  `json:"turn" jsonschema:"id of the turn"`
	Generation string  `json:"generation" jsonschema:"id of the generation"`
	Step       int     `json:"step" jsonschema:"step of the turn"`
	Message    Message `json:"message" jsonschema:"the answer"`
	Finish     Finish  `json:"finish" jsonschema:"how the generation ended"`
	Partial    bool    `json:"partial,omitempty" jsonschema:"the answer was stopped or cut"`
	Usage      *Usage  `json:"usage,omitempty" jsonschema:"the provider's count"`
	Window     int64   `json:"window,omitempty" jsonschema:"tokens that the model takes, where the worker knows it"`
}

// AnswerRejected records that the answer before it does not fit the conversation's
// schema. The model reads why and is asked once more.
type AnswerRejected struct {
	Turn       string `json:"turn" jsonschema:"id of the turn"`
	Generation string `json:"generation" jsonschema:"id of the generation whose answer it is"`
	Step       int    `json:"step" jsonschema:"step of the turn"`
	Error      string `json:"error" jsonschema:"why the answer does not fit, as the model reads it"`
}

// Type implements [Event].
func (*AnswerRejected) Type() string { return "AnswerRejected" }

// ToolCallRequested requests a call; the job follows.
type ToolCallRequested struct {
	Turn   string `json:"turn" jsonschema:"id of the turn"`
	Step   int    `json:"step" jsonschema:"step of the turn"`
	Call   string `json:"call" jsonschema:"id of the call"`
	Tool   string `json:"tool" jsonschema:"name of the tool"`
	Effect Effect `json:"effect" jsonschema:"effect class"`
	// Arguments are set when a person edited them: the tool runs with them
	// and the model reads them. The model's own are in its AssistantMessage.
	Arguments json.RawMessage `json:"arguments,omitempty" jsonschema:"the arguments as a person edited them; absent when they are the model's"`
	By        string          `json:"by,omitempty" jsonschema:"id of the Verdict that approved it"`
	Signers   []string        `json:"signers,omitempty" jsonschema:"names of the identities that approved it, by their signatures"`
	// GenerationAttempt is set when the call was requested before the answer with it
	// was complete (ADR 90).
	GenerationAttempt string `json:"generation_attempt,omitempty" jsonschema:"attempt of the generation that still writes the answer with this call; absent when the answer is complete"`
}

// ToolCallsQueued lists calls that wait until others of their conversation
// have ended: the number of calls that run at once is limited, so that one
// conversation does not starve others.
type ToolCallsQueued struct {
	Turn  string   `json:"turn" jsonschema:"id of the turn"`
	Calls []string `json:"calls" jsonschema:"ids of the calls, in the order in which they will be requested"`
}

// ToolCallRefused is the result of a call that does not run, or whose result
// is no longer waited for.
type ToolCallRefused struct {
	Turn    string `json:"turn" jsonschema:"id of the turn"`
	Call    string `json:"call" jsonschema:"id of the call"`
	Tool    string `json:"tool" jsonschema:"name of the tool as the model gave it"`
	Status  Status `json:"status" jsonschema:"the reason"`
	Content string `json:"content" jsonschema:"text for the model"`
}

// ByParley is [ToolCallAnswered.By] of a result that the orchestrator gave.
const ByParley = "parley"

// ToolCallAnswered is a result that a person or an app gave in place of
// running the call, or that of find_tools, which the orchestrator gives.
type ToolCallAnswered struct {
	Turn    string `json:"turn" jsonschema:"id of the turn"`
	Call    string `json:"call" jsonschema:"id of the call"`
	Tool    string `json:"tool" jsonschema:"name of the tool"`
	Content string `json:"content" jsonschema:"text for the model"`
	By      string `json:"by" jsonschema:"id of the Verdict; parley for a result of the orchestrator"`
}

// QuestionAnswered answers a tool's question.
type QuestionAnswered struct {
	Turn     string          `json:"turn" jsonschema:"id of the turn"`
	Call     string          `json:"call" jsonschema:"id of the call"`
	Question string          `json:"question" jsonschema:"id of the question"`
	Declined bool            `json:"declined,omitempty" jsonschema:"a person declined, or there was no answer before the deadline"`
	Content  json.RawMessage `json:"content,omitempty" jsonschema:"the answer, valid against the question's schema; absent for a yes"`
	Sealed   string          `json:"sealed,omitempty" jsonschema:"the answer to a question with secret fields, sealed for the question's key"`
	By       string          `json:"by,omitempty" jsonschema:"id of the Verdict"`
}

// Wait is what a call or a turn waits for.
type Wait string

// The reasons to wait.
const (
	WaitApproval Wait = "approval" // a person's Verdict
	WaitTime     Wait = "time"     // the time it was deferred to
	WaitResult   Wait = "result"   // an external result: on the call's lane, or by a Verdict
	WaitAnswer   Wait = "answer"   // a person's answer to the tool's question; the call runs
	WaitLimit    Wait = "limit"    // approval to exceed a limit
	// WaitSlot: queued behind the conversation's concurrency limit.
	WaitSlot Wait = "slot"
)

// Paused records that the turn waits, and lists everything that it waits for.
// ToolCallRequested, ToolCallAnswered, ToolCallRefused and ToolResult end the wait
// of single calls. It is repeated as a
// reminder.
type Paused struct {
	Turn       string    `json:"turn" jsonschema:"id of the turn"`
	AtMS       int64     `json:"at_ms" jsonschema:"when this was decided, Unix milliseconds"`
	Awaiting   []Awaited `json:"awaiting" jsonschema:"what the turn waits for"`
	DeadlineMS int64     `json:"deadline_ms,omitempty" jsonschema:"when the first of it expires, Unix milliseconds"`
	RemindMS   int64     `json:"remind_ms,omitempty" jsonschema:"when Paused is repeated, Unix milliseconds; absent when it is not"`
	Reminder   int       `json:"reminder,omitempty" jsonschema:"number of the reminder, from 1; absent the first time"`
	Usage      *Usage    `json:"usage,omitempty" jsonschema:"sum over the turn's generations so far"`
}

// Awaited is one thing that a turn waits for.
type Awaited struct {
	For       Wait            `json:"for" jsonschema:"approval, time, result, answer or limit"`
	Call      string          `json:"call" jsonschema:"id of the call; for a limit the id of the question"`
	Question  string          `json:"question,omitempty" jsonschema:"answer: id of the tool's question; arguments hold its message and schema"`
	Tool      string          `json:"tool,omitempty" jsonschema:"name of the tool"`
	Effect    Effect          `json:"effect,omitempty" jsonschema:"effect class"`
	Arguments json.RawMessage `json:"arguments,omitempty" jsonschema:"arguments with which the call would run"`
	// ArgumentsText is for programs whose JSON library does not keep what it reads as
	// it was written, such as 1.50.
	ArgumentsText string `json:"arguments_text,omitempty" jsonschema:"the arguments as text, without white space between tokens: digest is the SHA-256 of this text"`
	Digest        string `json:"digest" jsonschema:"what a Verdict must name: digest of the arguments"`
	Rule          string `json:"rule,omitempty" jsonschema:"key of the rule that requires it; absent for the default"`
	Reason        string `json:"reason,omitempty" jsonschema:"why it waits; for a limit its name, such as max_steps"`
	DueMS         int64  `json:"due_ms,omitempty" jsonschema:"when a deferred call runs, Unix milliseconds"`
	DeadlineMS    int64  `json:"deadline_ms,omitempty" jsonschema:"when it expires, Unix milliseconds"`
	// Needs is who must decide it; nil when anybody may.
	Needs    *Need      `json:"needs,omitempty" jsonschema:"who must approve; absent when anybody may"`
	Approved []Approval `json:"approved,omitempty" jsonschema:"approvals so far, where several people must approve"`
}

// Resumed ends the pause of a turn.
type Resumed struct {
	Turn string `json:"turn" jsonschema:"id of the turn"`
	AtMS int64  `json:"at_ms" jsonschema:"when this was decided, Unix milliseconds"`
	// Extended is the limit that a person allowed the turn to exceed.
	Extended string `json:"extended,omitempty" jsonschema:"the limit that a person extended once more by its own value"`
	Portions int    `json:"portions,omitempty" jsonschema:"number of extensions at once; 1 when absent"`
}

// InputAnswered is the answer to an input.
type InputAnswered struct {
	Input  string       `json:"input" jsonschema:"id of the input, or its cursor when it had none"`
	Answer Answer       `json:"answer" jsonschema:"the answer; of a Verdict on several calls that of the first accepted one, or of the first"`
	Reason string       `json:"reason,omitempty" jsonschema:"what is wrong and what to do"`
	Turn   string       `json:"turn,omitempty" jsonschema:"the turn it became part of, or ended"`
	Calls  []CallAnswer `json:"calls,omitempty" jsonschema:"Verdict: the answer for each call"`
	// Supersedes names the turn whose waiting calls the message ended.
	Supersedes string   `json:"supersedes,omitempty" jsonschema:"UserMessage: the turn it supersedes"`
	Code       string   `json:"code,omitempty" jsonschema:"the ceiling that the input exceeds, for a program"`
	Dropped    []string `json:"dropped,omitempty" jsonschema:"Cancel: ids of the queued messages it dropped"`
	Granted    []Grant  `json:"granted,omitempty" jsonschema:"Verdict: new standing approvals"`
	Revoked    []string `json:"revoked,omitempty" jsonschema:"Verdict: ids of revoked standing approvals"`
	// Signer is verified, other than the input's From.
	Signer string `json:"signer,omitempty" jsonschema:"name of the identity that signed the input; absent when it was not signed or not checked"`
}

// CallAnswer is the answer to a Verdict on one call.
type CallAnswer struct {
	Call   string `json:"call" jsonschema:"id of the call"`
	Answer Answer `json:"answer" jsonschema:"accepted (see missing), already_decided, arguments_changed, unknown_call, expired, denied, not_allowed, secret_in_clear or invalid"`
	Reason string `json:"reason,omitempty" jsonschema:"what is wrong and what to do"`
	// Missing is above 0 for an approval that counts and is not the last one needed.
	Missing int `json:"missing,omitempty" jsonschema:"approvals by other people that the call still needs: it waits"`
}

// TurnEnded ends a turn, exactly once.
type TurnEnded struct {
	Turn    string  `json:"turn" jsonschema:"id of the turn"`
	Outcome Outcome `json:"outcome" jsonschema:"how it ended"`
	Reason  string  `json:"reason,omitempty" jsonschema:"a term for programs: how the last generation finished, max_steps, max_tokens, max_cost, max_time, max_calls, repeated_call, the Cancel's reason, or an error class"`
	Error   *Error  `json:"error,omitempty" jsonschema:"what failed"`
	Steps   int     `json:"steps" jsonschema:"number of generations"`
	Usage   *Usage  `json:"usage,omitempty" jsonschema:"sum over the generations"`
	CostUSD float64 `json:"cost_usd,omitempty" jsonschema:"cost of the generations in US dollars, by the deployment's price table"`
}

// Type implements [Event].
func (*Decision) Type() string { return "Decision" }

// Type implements [Event].
func (*TurnStarted) Type() string { return "TurnStarted" }

// Type implements [Event].
func (*GenerationRequested) Type() string { return "GenerationRequested" }

// Type implements [Event].
func (*AssistantMessage) Type() string { return "AssistantMessage" }

// Type implements [Event].
func (*ToolCallRequested) Type() string { return "ToolCallRequested" }

// Type implements [Event].
func (*ToolCallsQueued) Type() string { return "ToolCallsQueued" }

// Type implements [Event].
func (*ToolCallRefused) Type() string { return "ToolCallRefused" }

// Type implements [Event].
func (*ToolCallAnswered) Type() string { return "ToolCallAnswered" }

// Type implements [Event].
func (*QuestionAnswered) Type() string { return "QuestionAnswered" }

// Type implements [Event].
func (*Resumed) Type() string { return "Resumed" }

// Type implements [Event].
func (*Paused) Type() string { return "Paused" }

// Type implements [Event].
func (*InputAnswered) Type() string { return "InputAnswered" }

// Type implements [Event].
func (*TurnEnded) Type() string { return "TurnEnded" }
