package events

import "encoding/json"

// Decision is what the orchestrator decided, in one message: a list of events
// and the small state that follows from them. It stands on the turn lane.
type Decision struct {
	Events []Line `json:"events" jsonschema:"what was decided, in order"`
	State  State  `json:"state" jsonschema:"the conversation's state with this decision"`
	Owner  string `json:"owner,omitempty" jsonschema:"the orchestrator that decided"`
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

// Answer is what became of an input.
type Answer string

// The answers to inputs.
const (
	AnswerAccepted     Answer = "accepted"
	AnswerQueued       Answer = "queued"
	AnswerSuperseded   Answer = "superseded"
	AnswerAlreadyEnded Answer = "already_ended"
	AnswerUnknownCall  Answer = "unknown_call"
	AnswerInvalid      Answer = "invalid"
	AnswerRefused      Answer = "refused" // a message that came while a turn ran or waited

	AnswerAlreadyDecided   Answer = "already_decided"   // the call runs, or has its result
	AnswerArgumentsChanged Answer = "arguments_changed" // the verdict speaks of others
	AnswerExpired          Answer = "expired"           // the call's deadline has passed
	AnswerDenied           Answer = "denied"            // the policy denies what was approved
	AnswerNotAllowed       Answer = "not_allowed"       // the call waits for something else
)

// TurnStarted opens a turn on one or several inputs.
type TurnStarted struct {
	Turn   string   `json:"turn" jsonschema:"id of the turn (UUIDv7)"`
	Inputs []string `json:"inputs" jsonschema:"ids of the UserMessages it answers, in order"`
	AtMS   int64    `json:"at_ms" jsonschema:"when it was decided, Unix milliseconds"`
}

// GenerationRequested asks a model; the job follows.
type GenerationRequested struct {
	Turn       string `json:"turn" jsonschema:"id of the turn"`
	Generation string `json:"generation" jsonschema:"id of the generation (UUIDv7)"`
	Step       int    `json:"step" jsonschema:"step of the turn, from 1"`
	Route      string `json:"route" jsonschema:"provider/model"`
	Try        int    `json:"try" jsonschema:"which try of the step this is, from 1"`
	NotBefore  int64  `json:"not_before_ms,omitempty" jsonschema:"earliest start, Unix milliseconds"`
}

// AssistantMessage is what the model said, accumulated.
type AssistantMessage struct {
	Turn       string  `json:"turn" jsonschema:"id of the turn"`
	Generation string  `json:"generation" jsonschema:"id of the generation"`
	Step       int     `json:"step" jsonschema:"step of the turn"`
	Message    Message `json:"message" jsonschema:"the answer"`
	Finish     Finish  `json:"finish" jsonschema:"how the generation ended"`
	Partial    bool    `json:"partial,omitempty" jsonschema:"the answer was stopped or cut"`
	Usage      *Usage  `json:"usage,omitempty" jsonschema:"what the provider counted"`
}

// ToolCallRequested asks for a call to be run; the job follows.
type ToolCallRequested struct {
	Turn   string `json:"turn" jsonschema:"id of the turn"`
	Step   int    `json:"step" jsonschema:"step of the turn"`
	Call   string `json:"call" jsonschema:"id of the call"`
	Tool   string `json:"tool" jsonschema:"name of the tool"`
	Effect Effect `json:"effect" jsonschema:"effect class"`
	// Arguments are there when a person edited them: they are what runs and what
	// the model will read; the model's own stand in its AssistantMessage.
	Arguments json.RawMessage `json:"arguments,omitempty" jsonschema:"the arguments as a person edited them; absent when they are the model's"`
	By        string          `json:"by,omitempty" jsonschema:"id of the Verdict that let it run"`
}

// ToolCallsQueued says which calls wait for others of their conversation to end:
// only so many run at once, so that one conversation does not starve others.
type ToolCallsQueued struct {
	Turn  string   `json:"turn" jsonschema:"id of the turn"`
	Calls []string `json:"calls" jsonschema:"ids of the calls, in the order in which they will be asked for"`
}

// ToolCallRefused is the result of a call that is not run, or no longer waited
// for.
type ToolCallRefused struct {
	Turn    string `json:"turn" jsonschema:"id of the turn"`
	Call    string `json:"call" jsonschema:"id of the call"`
	Tool    string `json:"tool" jsonschema:"name of the tool as the model gave it"`
	Status  Status `json:"status" jsonschema:"why not"`
	Content string `json:"content" jsonschema:"what the model reads"`
}

// ToolCallAnswered is the result of a call that somebody gave instead of
// running it.
type ToolCallAnswered struct {
	Turn    string `json:"turn" jsonschema:"id of the turn"`
	Call    string `json:"call" jsonschema:"id of the call"`
	Tool    string `json:"tool" jsonschema:"name of the tool"`
	Content string `json:"content" jsonschema:"what the model reads"`
	By      string `json:"by" jsonschema:"id of the Verdict"`
}

// QuestionAnswered answers what a tool asked in the middle of its call.
type QuestionAnswered struct {
	Turn     string          `json:"turn" jsonschema:"id of the turn"`
	Call     string          `json:"call" jsonschema:"id of the call"`
	Question string          `json:"question" jsonschema:"id of the question"`
	Declined bool            `json:"declined,omitempty" jsonschema:"the person said no, or nobody answered in time"`
	Content  json.RawMessage `json:"content,omitempty" jsonschema:"the answer, valid against the question's schema; absent for a yes"`
	By       string          `json:"by,omitempty" jsonschema:"id of the Verdict"`
}

// Wait is what a call or a turn waits for.
type Wait string

// What can be waited for.
const (
	WaitApproval Wait = "approval" // a person's Verdict
	WaitTime     Wait = "time"     // the time it was deferred to
	WaitResult   Wait = "result"   // a result from outside: on the call's lane, or an answer
	WaitAnswer   Wait = "answer"   // a person's answer to what the tool asked; it runs meanwhile
	WaitLimit    Wait = "limit"    // leave to go on past a limit
	// WaitSlot is nobody's to end: other calls of the conversation are to.
	WaitSlot Wait = "slot"
)

// Paused says that the turn waits for somebody, and for what. It lists all that
// is awaited; what is decided later is taken off by ToolCallRequested,
// ToolCallAnswered, ToolCallRefused and ToolResult. It stands again as a
// reminder.
type Paused struct {
	Turn       string    `json:"turn" jsonschema:"id of the turn"`
	AtMS       int64     `json:"at_ms" jsonschema:"when this was decided, Unix milliseconds"`
	Awaiting   []Awaited `json:"awaiting" jsonschema:"what is waited for"`
	DeadlineMS int64     `json:"deadline_ms,omitempty" jsonschema:"when the first of it expires, Unix milliseconds"`
	RemindMS   int64     `json:"remind_ms,omitempty" jsonschema:"when this is said again, Unix milliseconds; absent when it is not"`
	Reminder   int       `json:"reminder,omitempty" jsonschema:"number of the reminder, from 1; absent the first time"`
	Usage      *Usage    `json:"usage,omitempty" jsonschema:"sum over the turn's generations so far"`
}

// Awaited is one thing that a turn waits for.
type Awaited struct {
	For        Wait            `json:"for" jsonschema:"approval, time, result, answer or limit"`
	Call       string          `json:"call" jsonschema:"id of the call; for a limit the id of the question"`
	Question   string          `json:"question,omitempty" jsonschema:"answer: id of what the tool asked; arguments hold its message and schema"`
	Tool       string          `json:"tool,omitempty" jsonschema:"name of the tool"`
	Effect     Effect          `json:"effect,omitempty" jsonschema:"effect class"`
	Arguments  json.RawMessage `json:"arguments,omitempty" jsonschema:"what the call would run with"`
	Digest     string          `json:"digest" jsonschema:"what a Verdict must name: digest of the arguments"`
	Rule       string          `json:"rule,omitempty" jsonschema:"key of the rule that asks; absent for the default"`
	Reason     string          `json:"reason,omitempty" jsonschema:"why somebody is asked; for a limit its name, such as max_steps"`
	DueMS      int64           `json:"due_ms,omitempty" jsonschema:"when a deferred call runs, Unix milliseconds"`
	DeadlineMS int64           `json:"deadline_ms,omitempty" jsonschema:"when it expires, Unix milliseconds"`
}

// Resumed says that nothing is waited for any more.
type Resumed struct {
	Turn string `json:"turn" jsonschema:"id of the turn"`
	AtMS int64  `json:"at_ms" jsonschema:"when this was decided, Unix milliseconds"`
	// Extended is the limit past which a person let the turn go on.
	Extended string `json:"extended,omitempty" jsonschema:"the limit that a person extended by itself again"`
	Portions int    `json:"portions,omitempty" jsonschema:"how often at once, where it was passed by more; 1 when absent"`
}

// InputAnswered tells what became of an input.
type InputAnswered struct {
	Input  string       `json:"input" jsonschema:"id of the input, or its cursor when it had none"`
	Answer Answer       `json:"answer" jsonschema:"what became of it; of a Verdict on several calls what became of the first it decided, or of the first"`
	Reason string       `json:"reason,omitempty" jsonschema:"what is wrong and what to do"`
	Turn   string       `json:"turn,omitempty" jsonschema:"the turn it became part of, or ended"`
	Calls  []CallAnswer `json:"calls,omitempty" jsonschema:"Verdict: what became of it, call by call"`
	// Supersedes names the turn that gave up what it waited for.
	Supersedes string   `json:"supersedes,omitempty" jsonschema:"UserMessage: the turn it takes the place of"`
	Dropped    []string `json:"dropped,omitempty" jsonschema:"Cancel: ids of the queued messages it dropped"`
	Granted    []Grant  `json:"granted,omitempty" jsonschema:"Verdict: the standing approvals it gave"`
	Revoked    []string `json:"revoked,omitempty" jsonschema:"Verdict: ids of the standing approvals it took back"`
}

// CallAnswer is what became of a Verdict on one call.
type CallAnswer struct {
	Call   string `json:"call" jsonschema:"id of the call"`
	Answer Answer `json:"answer" jsonschema:"accepted, already_decided, arguments_changed, unknown_call, expired, denied, not_allowed or invalid"`
	Reason string `json:"reason,omitempty" jsonschema:"what is wrong and what to do"`
}

// TurnEnded ends a turn, exactly once.
type TurnEnded struct {
	Turn    string  `json:"turn" jsonschema:"id of the turn"`
	Outcome Outcome `json:"outcome" jsonschema:"how it ended"`
	Reason  string  `json:"reason,omitempty" jsonschema:"a word for programs: how the last generation finished, max_steps, max_tokens, max_cost, max_time, max_calls, repeated_call, what the Cancel said, or an error class"`
	Error   *Error  `json:"error,omitempty" jsonschema:"what failed"`
	Steps   int     `json:"steps" jsonschema:"generations it took"`
	Usage   *Usage  `json:"usage,omitempty" jsonschema:"sum over the generations"`
	CostUSD float64 `json:"cost_usd,omitempty" jsonschema:"what the generations cost, by the deployment's price table"`
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
