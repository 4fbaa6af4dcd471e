package events

import "encoding/json"

// Parameters steer a generation. A zero field is left to the provider.
type Parameters struct {
	MaxTokens       int64    `json:"max_tokens,omitempty" jsonschema:"bound of the answer in tokens"`
	Temperature     *float64 `json:"temperature,omitempty" jsonschema:"sampling temperature, in the provider's scale"`
	TopP            *float64 `json:"top_p,omitempty" jsonschema:"nucleus sampling"`
	Seed            *int64   `json:"seed,omitempty" jsonschema:"random seed, for providers that support one"`
	Stop            []string `json:"stop,omitempty" jsonschema:"sequences that end the answer"`
	ReasoningEffort string   `json:"reasoning_effort,omitempty" jsonschema:"minimal, low, medium or high; for Anthropic a budget is derived"`
	ToolChoice      string   `json:"tool_choice,omitempty" jsonschema:"auto, none, required or the name of a tool"`
	// Extra is passed on to the provider's request as it stands.
	Extra map[string]json.RawMessage `json:"extra,omitempty" jsonschema:"further fields of the provider's request"`
}

// Settings change the settings of a conversation. Those that are accepted are
// merged into those before them as a JSON Merge Patch (RFC 7396): a field that is
// absent changes nothing, null unsets it, objects are merged field by field, lists
// are replaced. So a client can change settings without reading them.
type Settings struct {
	ID         string     `json:"id" jsonschema:"id of the input (UUIDv7); inputs are idempotent by their id, permanently"`
	Route      string     `json:"route,omitempty" jsonschema:"provider/model; empty means the deployment's default"`
	System     string     `json:"system,omitempty" jsonschema:"system prompt"`
	Tools      []string   `json:"tools,omitempty" jsonschema:"names or patterns (path.Match) of the offered tools; all if unset, none if [\"-\"]"`
	Parameters Parameters `json:"parameters,omitzero" jsonschema:"parameters of the generation"`
	Limits     Limits     `json:"limits,omitzero" jsonschema:"bounds of a turn"`
	Policy     *Policy    `json:"policy,omitempty" jsonschema:"which calls run without approval; the deployment's policy if unset"`
	// AddRules adds rules without knowing or overwriting the existing ones. Merged
	// settings have none.
	AddRules []Rule `json:"add_rules,omitempty" jsonschema:"rules to put before the existing rules of the policy; a rule that exists already moves to the front"`
	// WhileRunning and WhileWaiting are for messages that do not say.
	WhileRunning Arrival  `json:"while_running,omitempty" jsonschema:"how a message that arrives while a turn runs is handled: queue (the default), interrupt or refuse"`
	WhileWaiting Arrival  `json:"while_waiting,omitempty" jsonschema:"how a message that arrives while a turn waits is handled: queue (the default), supersede, interrupt or refuse"`
	Priority     Priority `json:"priority,omitempty" jsonschema:"low: calls use at most a quarter of a worker's slots; normal if unset"`
	Hooks        []Hook   `json:"hooks,omitempty" jsonschema:"apps that are called before or after a turn"`
}

// Priority says which calls go first.
type Priority string

// The priorities.
const (
	PriorityNormal Priority = "normal"
	PriorityLow    Priority = "low"
)

// UserMessage is a person's message.
type UserMessage struct {
	ID      string  `json:"id" jsonschema:"id of the input (UUIDv7); inputs are idempotent by their id, permanently"`
	Text    string  `json:"text" jsonschema:"text of the message"`
	From    string  `json:"from,omitempty" jsonschema:"author, as the app identifies them"`
	Arrival Arrival `json:"arrival,omitempty" jsonschema:"how the message is handled while a turn runs or waits: queue, interrupt, supersede or refuse; as in Settings if absent"`
}

// Ruling is what a Verdict says.
type Ruling string

// The rulings.
const (
	RulingApprove Ruling = "approve" // run the call
	RulingReject  Ruling = "reject"  // do not run it
	RulingEdit    Ruling = "edit"    // run it with other arguments
	RulingAnswer  Ruling = "answer"  // do not run it: this is its result
	// RulingAlways approves the call and those like it from now on.
	RulingAlways Ruling = "approve_for_conversation"
	// RulingRevoke takes standing approvals back.
	RulingRevoke Ruling = "revoke"
)

// Verdict decides pending calls. Each call is decided separately; the first valid
// verdict on a call counts.
type Verdict struct {
	ID      string        `json:"id" jsonschema:"id of the input (UUIDv7); inputs are idempotent by their id, permanently"`
	Verdict Ruling        `json:"verdict" jsonschema:"approve, reject, edit, answer, approve_for_conversation or revoke"`
	Calls   []CallVerdict `json:"calls,omitempty" jsonschema:"the calls that the verdict decides"`
	Grants  []string      `json:"grants,omitempty" jsonschema:"revoke: ids of the standing approvals; absent means all"`
	Reason  string        `json:"reason,omitempty" jsonschema:"why; the model reads it after a reject"`
	From    string        `json:"from,omitempty" jsonschema:"author, as the app identifies them"`
}

// CallVerdict is the part of a Verdict about one call.
type CallVerdict struct {
	Call      string          `json:"call" jsonschema:"id of the call, or of the question at a limit"`
	Digest    string          `json:"digest" jsonschema:"digest of the arguments that the person saw, as in Paused"`
	Arguments json.RawMessage `json:"arguments,omitempty" jsonschema:"edit: the arguments to run with, a JSON object"`
	Content   string          `json:"content,omitempty" jsonschema:"answer: the result that the model reads"`
}

// Scope is what a Cancel stops.
type Scope string

// The scopes of a Cancel.
const (
	ScopeTurn  Scope = "turn"  // the turn that runs
	ScopeCall  Scope = "call"  // one call of it; the turn continues
	ScopeQueue Scope = "queue" // the messages that wait for the next turn
	ScopeAll   Scope = "all"   // the turn and the queue
)

// Cancel stops something.
type Cancel struct {
	ID     string `json:"id" jsonschema:"id of the input (UUIDv7); inputs are idempotent by their id, permanently"`
	Scope  Scope  `json:"scope,omitempty" jsonschema:"turn, call, queue or all; if absent: call if a call is named, else turn"`
	Turn   string `json:"turn,omitempty" jsonschema:"the turn to stop; the current one if absent"`
	Call   string `json:"call,omitempty" jsonschema:"scope call: the call to stop"`
	Reason string `json:"reason,omitempty" jsonschema:"why"`
	From   string `json:"from,omitempty" jsonschema:"author, as the app identifies them"`
}

// What is what the Cancel stops, also where it does not say.
func (c *Cancel) What() Scope {
	switch {
	case c.Scope != "":
		return c.Scope
	case c.Call != "":
		return ScopeCall
	}
	return ScopeTurn
}

// Stops reports whether the Cancel stops a turn, or a call of it; call may be
// empty.
func (c *Cancel) Stops(turn, call string) bool {
	if c.Turn != "" && c.Turn != turn {
		return false
	}
	switch c.What() {
	case ScopeTurn, ScopeAll:
		return true
	case ScopeCall:
		return call != "" && c.Call == call
	}
	return false
}

// Type implements [Event].
func (*Settings) Type() string { return "Settings" }

// Type implements [Event].
func (*UserMessage) Type() string { return "UserMessage" }

// Type implements [Event].
func (*Verdict) Type() string { return "Verdict" }

// Type implements [Event].
func (*Cancel) Type() string { return "Cancel" }
