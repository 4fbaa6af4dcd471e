package events

// HookTime is when a hook is asked.
type HookTime string

// The times of hooks.
const (
	HookBefore HookTime = "before" // once per turn, before the model is asked
	HookAfter  HookTime = "after"  // once per turn, when it has ended
)

// Hook is an app that the orchestrator calls about turns, by a request on the
// subject hooks.<when>.<name> that it answers with a [HookAnswered].
type Hook struct {
	Name string   `json:"name" yaml:"name" jsonschema:"last token of the subject"`
	When HookTime `json:"when" yaml:"when" jsonschema:"before or after"`
	// DeadlineMS bounds all tries together.
	DeadlineMS int64 `json:"deadline_ms,omitempty" yaml:"deadline_ms" jsonschema:"how long it may take to answer, in milliseconds; 5000 when absent"`
	Optional   bool  `json:"optional,omitempty" yaml:"optional" jsonschema:"before: the turn goes on without its answer"`
}

// HooksRequested calls the hooks of a turn. A turn waits until each hook before it
// has answered or its deadline has passed.
type HooksRequested struct {
	Turn  string   `json:"turn" jsonschema:"id of the turn"`
	When  HookTime `json:"when" jsonschema:"before or after"`
	Hooks []Hook   `json:"hooks" jsonschema:"the hooks, in the order in which their contexts are added to the system prompt"`
}

// HookCall is the request to a hook.
type HookCall struct {
	Hook         string     `json:"hook" jsonschema:"name of the hook"`
	When         HookTime   `json:"when" jsonschema:"before or after"`
	Conversation string     `json:"conversation" jsonschema:"id of the conversation"`
	Turn         string     `json:"turn" jsonschema:"id of the turn: the key of effects that must not happen twice"`
	Message      *Message   `json:"message,omitempty" jsonschema:"before: the person's message"`
	Ended        *TurnEnded `json:"ended,omitempty" jsonschema:"after: the end of the turn"`
	Answer       string     `json:"answer,omitempty" jsonschema:"after: the text of the last assistant message"`
	TimeoutMS    int64      `json:"timeout_ms" jsonschema:"time left to answer, in milliseconds from the receipt of the request; no clocks are compared"`
	DeadlineMS   int64      `json:"deadline_ms,omitempty" jsonschema:"deadline by the orchestrator's clock, Unix milliseconds; for people, not for comparison with another clock"`
}

// HookAnswered is a hook's answer: the reply on the bus, and its record in a
// Decision.
type HookAnswered struct {
	Turn    string   `json:"turn" jsonschema:"id of the turn"`
	When    HookTime `json:"when" jsonschema:"before or after"`
	Hook    string   `json:"hook" jsonschema:"name of the hook"`
	Context string   `json:"context,omitempty" jsonschema:"before: text that is added to the system prompt, for this turn"`
	Refuse  string   `json:"refuse,omitempty" jsonschema:"before: why the turn is refused; the turn then fails"`
	Error   string   `json:"error,omitempty" jsonschema:"why there is no answer"`
}

// Type implements [Event].
func (*HooksRequested) Type() string { return "HooksRequested" }

// Type implements [Event].
func (*HookCall) Type() string { return "HookCall" }

// Type implements [Event].
func (*HookAnswered) Type() string { return "HookAnswered" }
