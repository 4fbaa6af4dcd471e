package events

import "encoding/json"

// Decision is one message of the orchestrator on the turn lane: a list of events
// and the resulting small state.
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

// Answer is the orchestrator's answer to an input.
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
	AnswerArgumentsChanged Answer = "arguments_changed" // the verdict names the digest of other arguments
	AnswerExpired          Answer = "expired"           // the call's deadline has passed
	AnswerDenied           Answer = "denied"            // the policy denies what was approved
	AnswerNotAllowed       Answer = "not_allowed"       // the call waits for something else
)

// TurnStarted opens a turn on one or several inputs.
type TurnStarted struct {
	Turn   string   `json:"turn" jsonschema:"id of the turn (UUIDv7)"`
	Inputs []string `json:"inputs" jsonschema:"ids of the UserMessages it answers, in order"`
	AtMS   int64    `json:"at_ms" jsonschema:"time of the decision, Unix milliseconds"`
}

// GenerationRequested requests a generation; the orchestrator then publishes its
// job.
type GenerationRequested struct {
	Turn       string `json:"turn" jsonschema:"id of the turn"`
	Generation string `json:"generation" jsonschema:"id of the generation (UUIDv7)"`
	Step       int    `json:"step" jsonschema:"step of the turn, from 1"`
	Route      string `json:"route" jsonschema:"provider/model"`
	Try        int    `json:"try" jsonschema:"number of the try of this step, from 1"`
	NotBefore  int64  `json:"not_before_ms,omitempty" jsonschema:"earliest start, Unix milliseconds"`
}

// AssistantMessage is the model's complete answer, accumulated from the chunks.
type AssistantMessage struct {
	Turn       string  `json:"turn" jsonschema:"id of the turn"`
	Generation string  `json:"generation" jsonschema:"id of the generation"`
	Step       int     `json:"step" jsonschema:"step of the turn"`
	Message    Message `json:"message" jsonschema:"the answer"`
	Finish     Finish  `json:"finish" jsonschema:"finish reason of the generation"`
	Partial    bool    `json:"partial,omitempty" jsonschema:"the answer was stopped or is incomplete"`
	Usage      *Usage  `json:"usage,omitempty" jsonschema:"what the provider counted"`
}

// ToolCallRequested requests the run of a call; the orchestrator then publishes
// its job.
type ToolCallRequested struct {
	Turn   string `json:"turn" jsonschema:"id of the turn"`
	Step   int    `json:"step" jsonschema:"step of the turn"`
	Call   string `json:"call" jsonschema:"id of the call"`
	Tool   string `json:"tool" jsonschema:"name of the tool"`
	Effect Effect `json:"effect" jsonschema:"effect class"`
	// Arguments are there when a person edited them: they are what runs and what
	// the model will read; the model's own stand in its AssistantMessage.
	Arguments json.RawMessage `json:"arguments,omitempty" jsonschema:"the arguments if a person edited them; absent if they are the model's"`
	By        string          `json:"by,omitempty" jsonschema:"id of the Verdict that approved the call"`
}

// ToolCallsQueued lists calls queued behind the conversation's concurrency limit,
// which keeps one conversation from starving others.
type ToolCallsQueued struct {
	Turn  string   `json:"turn" jsonschema:"id of the turn"`
	Calls []string `json:"calls" jsonschema:"ids of the calls, in the order in which they will be requested"`
}

// ToolCallRefused is the result of a call that does not run, or that the turn no
// longer waits for.
type ToolCallRefused struct {
	Turn    string `json:"turn" jsonschema:"id of the turn"`
	Call    string `json:"call" jsonschema:"id of the call"`
	Tool    string `json:"tool" jsonschema:"name of the tool as the model gave it"`
	Status  Status `json:"status" jsonschema:"why the call does not run: unknown_tool, invalid_arguments, refused, expired, cancelled, …"`
	Content string `json:"content" jsonschema:"what the model reads"`
}

// ToolCallAnswered is the result of a call that a person or an app gave instead of
// running it.
type ToolCallAnswered struct {
	Turn    string `json:"turn" jsonschema:"id of the turn"`
	Call    string `json:"call" jsonschema:"id of the call"`
	Tool    string `json:"tool" jsonschema:"name of the tool"`
	Content string `json:"content" jsonschema:"what the model reads"`
	By      string `json:"by" jsonschema:"id of the Verdict"`
}

// QuestionAnswered answers a question that a tool asked during its call.
type QuestionAnswered struct {
	Turn     string          `json:"turn" jsonschema:"id of the turn"`
	Call     string          `json:"call" jsonschema:"id of the call"`
	Question string          `json:"question" jsonschema:"id of the question"`
	Declined bool            `json:"declined,omitempty" jsonschema:"the person declined, or the deadline passed"`
	Content  json.RawMessage `json:"content,omitempty" jsonschema:"the answer, valid against the question's schema; absent if the answer is yes"`
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
	WaitLimit    Wait = "limit"    // approval to exceed a limit
	// WaitSlot: queued behind the conversation's concurrency limit.
	WaitSlot Wait = "slot"
)

// Paused says that the turn waits, and lists everything it waits for.
// ToolCallRequested, ToolCallAnswered, ToolCallRefused and ToolResult remove an
// item from the list. Paused is repeated as a reminder.
type Paused struct {
	Turn       string    `json:"turn" jsonschema:"id of the turn"`
	AtMS       int64     `json:"at_ms" jsonschema:"time of the decision, Unix milliseconds"`
	Awaiting   []Awaited `json:"awaiting" jsonschema:"everything that the turn waits for"`
	DeadlineMS int64     `json:"deadline_ms,omitempty" jsonschema:"earliest deadline of all items, Unix milliseconds"`
	RemindMS   int64     `json:"remind_ms,omitempty" jsonschema:"time of the next reminder, Unix milliseconds; absent without reminders"`
	Reminder   int       `json:"reminder,omitempty" jsonschema:"number of the reminder, from 1; absent the first time"`
	Usage      *Usage    `json:"usage,omitempty" jsonschema:"sum over the turn's generations so far"`
}

// Awaited is one thing that a turn waits for.
type Awaited struct {
	For        Wait            `json:"for" jsonschema:"approval, time, result, answer or limit"`
	Call       string          `json:"call" jsonschema:"id of the call; for a limit the id of the question"`
	Question   string          `json:"question,omitempty" jsonschema:"answer: id of the tool's question; arguments hold its message and schema"`
	Tool       string          `json:"tool,omitempty" jsonschema:"name of the tool"`
	Effect     Effect          `json:"effect,omitempty" jsonschema:"effect class"`
	Arguments  json.RawMessage `json:"arguments,omitempty" jsonschema:"arguments of the call"`
	Digest     string          `json:"digest" jsonschema:"digest of the arguments; a Verdict must name it"`
	Rule       string          `json:"rule,omitempty" jsonschema:"key of the rule that asks; absent for the default"`
	Reason     string          `json:"reason,omitempty" jsonschema:"why a person is asked; for a limit its name, such as max_steps"`
	DueMS      int64           `json:"due_ms,omitempty" jsonschema:"time at which a deferred call runs, Unix milliseconds"`
	DeadlineMS int64           `json:"deadline_ms,omitempty" jsonschema:"time at which the item expires, Unix milliseconds"`
}

// Resumed says that the turn waits for nothing any more.
type Resumed struct {
	Turn string `json:"turn" jsonschema:"id of the turn"`
	AtMS int64  `json:"at_ms" jsonschema:"time of the decision, Unix milliseconds"`
	// Extended is the limit past which a person let the turn go on.
	Extended string `json:"extended,omitempty" jsonschema:"the limit that a person extended by its own amount"`
	Portions int    `json:"portions,omitempty" jsonschema:"by how many times its amount the limit was extended; 1 when absent"`
}

// InputAnswered is the answer to an input.
type InputAnswered struct {
	Input  string       `json:"input" jsonschema:"id of the input, or its cursor if it has no id"`
	Answer Answer       `json:"answer" jsonschema:"the answer; for a Verdict on several calls the answer for the first call that it decided, else for the first call"`
	Reason string       `json:"reason,omitempty" jsonschema:"what is wrong and what to do"`
	Turn   string       `json:"turn,omitempty" jsonschema:"the turn that the input joined or ended"`
	Calls  []CallAnswer `json:"calls,omitempty" jsonschema:"Verdict: the answer for each call"`
	// Supersedes names the turn that gave up what it waited for.
	Supersedes string   `json:"supersedes,omitempty" jsonschema:"UserMessage: the turn that it replaces"`
	Dropped    []string `json:"dropped,omitempty" jsonschema:"Cancel: ids of the queued messages it dropped"`
	Granted    []Grant  `json:"granted,omitempty" jsonschema:"Verdict: the standing approvals that it created"`
	Revoked    []string `json:"revoked,omitempty" jsonschema:"Verdict: ids of the standing approvals that it revoked"`
}

// CallAnswer is the answer to a Verdict for one call.
type CallAnswer struct {
	Call   string `json:"call" jsonschema:"id of the call"`
	Answer Answer `json:"answer" jsonschema:"accepted, already_decided, arguments_changed, unknown_call, expired, denied, not_allowed or invalid"`
	Reason string `json:"reason,omitempty" jsonschema:"what is wrong and what to do"`
}

// TurnEnded ends a turn, exactly once.
type TurnEnded struct {
	Turn    string  `json:"turn" jsonschema:"id of the turn"`
	Outcome Outcome `json:"outcome" jsonschema:"outcome of the turn"`
	Reason  string  `json:"reason,omitempty" jsonschema:"reason code for programs: finish reason of the last generation, max_steps, max_tokens, max_cost, max_time, max_calls, repeated_call, the reason of the Cancel, or an error class"`
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
