package events

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

// Paused says that the turn waits for a person; nothing runs meanwhile.
type Paused struct {
	Turn     string   `json:"turn" jsonschema:"id of the turn"`
	Awaiting []string `json:"awaiting" jsonschema:"ids of the calls that wait"`
}

// InputAnswered tells what became of an input.
type InputAnswered struct {
	Input  string `json:"input" jsonschema:"id of the input, or its cursor when it had none"`
	Answer Answer `json:"answer" jsonschema:"what became of it"`
	Reason string `json:"reason,omitempty" jsonschema:"what is wrong and what to do"`
	Turn   string `json:"turn,omitempty" jsonschema:"the turn it became part of, or ended"`
}

// TurnEnded ends a turn, exactly once.
type TurnEnded struct {
	Turn    string  `json:"turn" jsonschema:"id of the turn"`
	Outcome Outcome `json:"outcome" jsonschema:"how it ended"`
	Reason  string  `json:"reason,omitempty" jsonschema:"a word for programs: how the last generation finished, max_steps, max_tokens, max_time, what the Cancel said, or an error class"`
	Error   *Error  `json:"error,omitempty" jsonschema:"what failed"`
	Steps   int     `json:"steps" jsonschema:"generations it took"`
	Usage   *Usage  `json:"usage,omitempty" jsonschema:"sum over the generations"`
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
func (*ToolCallRefused) Type() string { return "ToolCallRefused" }

// Type implements [Event].
func (*Paused) Type() string { return "Paused" }

// Type implements [Event].
func (*InputAnswered) Type() string { return "InputAnswered" }

// Type implements [Event].
func (*TurnEnded) Type() string { return "TurnEnded" }
