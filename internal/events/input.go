package events

import "encoding/json"

// Parameters steer a generation. A zero field is left to the provider.
type Parameters struct {
	MaxTokens       int64    `json:"max_tokens,omitempty" jsonschema:"bound of the answer in tokens"`
	Temperature     *float64 `json:"temperature,omitempty" jsonschema:"randomness, as the provider scales it"`
	TopP            *float64 `json:"top_p,omitempty" jsonschema:"nucleus sampling"`
	Seed            *int64   `json:"seed,omitempty" jsonschema:"for providers that can repeat themselves"`
	Stop            []string `json:"stop,omitempty" jsonschema:"sequences that end the answer"`
	ReasoningEffort string   `json:"reasoning_effort,omitempty" jsonschema:"minimal, low, medium or high; for Anthropic a budget is derived"`
	ToolChoice      string   `json:"tool_choice,omitempty" jsonschema:"auto, none, required or the name of a tool"`
	// Extra is passed on to the provider's request as it stands.
	Extra map[string]json.RawMessage `json:"extra,omitempty" jsonschema:"further fields of the provider's request"`
}

// Settings change the settings of a conversation. Those that are accepted are
// merged into those before them as a JSON Merge Patch (RFC 7396): a field that is
// absent changes nothing, null unsets it, objects are merged field by field,
// lists are replaced. So nobody has to read settings in order to change them.
type Settings struct {
	ID         string     `json:"id" jsonschema:"id of the input (UUIDv7); the same id is the same input for good"`
	Route      string     `json:"route,omitempty" jsonschema:"provider/model; empty means the deployment's default"`
	System     string     `json:"system,omitempty" jsonschema:"system prompt"`
	Tools      []string   `json:"tools,omitempty" jsonschema:"names or patterns (path.Match) of the tools offered; unset means all, none is [\"-\"]"`
	Parameters Parameters `json:"parameters,omitzero" jsonschema:"how the model is asked"`
	Limits     Limits     `json:"limits,omitzero" jsonschema:"bounds of a turn"`
	Policy     *Policy    `json:"policy,omitempty" jsonschema:"which calls run by themselves; unset means the deployment's policy"`
	// AddRules is for those who do not know the rules that stand, or who must not
	// overwrite what others add meanwhile. Merged settings have none.
	AddRules []Rule `json:"add_rules,omitempty" jsonschema:"rules that are put before those of the policy, which keeps its own; one that it has already moves to the front"`
	// WhileRunning and WhileWaiting are for messages that do not say.
	WhileRunning Arrival  `json:"while_running,omitempty" jsonschema:"what becomes of a message while a turn runs: queue (the default), interrupt or refuse"`
	WhileWaiting Arrival  `json:"while_waiting,omitempty" jsonschema:"what becomes of a message while a turn waits for somebody: queue (the default), supersede, interrupt or refuse"`
	Priority     Priority `json:"priority,omitempty" jsonschema:"low for what can wait: its calls take a quarter of a worker's slots at most; normal when unset"`
	Hooks        []Hook   `json:"hooks,omitempty" jsonschema:"apps that are asked before and told after a turn"`
}

// Priority says which calls go first.
type Priority string

// The priorities.
const (
	PriorityNormal Priority = "normal"
	PriorityLow    Priority = "low"
)

// UserMessage is something a person says.
type UserMessage struct {
	ID      string  `json:"id" jsonschema:"id of the input (UUIDv7); the same id is the same input for good"`
	Text    string  `json:"text" jsonschema:"what is said"`
	From    string  `json:"from,omitempty" jsonschema:"who says it, as the app knows them"`
	Arrival Arrival `json:"arrival,omitempty" jsonschema:"what becomes of it while a turn runs or waits: queue, interrupt, supersede or refuse; absent means as Settings say"`
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

// Verdict decides what waits for a person. Each call is judged by itself; the
// first valid verdict on a call stands.
type Verdict struct {
	ID      string        `json:"id" jsonschema:"id of the input (UUIDv7); the same id is the same input for good"`
	Verdict Ruling        `json:"verdict" jsonschema:"approve, reject, edit, answer, approve_for_conversation or revoke"`
	Calls   []CallVerdict `json:"calls,omitempty" jsonschema:"the calls it speaks of"`
	Grants  []string      `json:"grants,omitempty" jsonschema:"revoke: ids of the standing approvals; absent means all"`
	Reason  string        `json:"reason,omitempty" jsonschema:"why; the model reads it after a reject"`
	From    string        `json:"from,omitempty" jsonschema:"who gives it"`
}

// CallVerdict is what a Verdict says of one call.
type CallVerdict struct {
	Call      string          `json:"call" jsonschema:"id of the call, or of the question at a limit"`
	Digest    string          `json:"digest" jsonschema:"digest of the arguments that were judged, as Paused names it"`
	Arguments json.RawMessage `json:"arguments,omitempty" jsonschema:"edit: the arguments to run with, a JSON object"`
	Content   string          `json:"content,omitempty" jsonschema:"answer: the result, as the model will read it"`
}

// Scope is what a Cancel stops.
type Scope string

// The scopes of a Cancel.
const (
	ScopeTurn  Scope = "turn"  // the turn that runs
	ScopeCall  Scope = "call"  // one call of it; the turn goes on
	ScopeQueue Scope = "queue" // the messages that wait for the next turn
	ScopeAll   Scope = "all"   // the turn and the queue
)

// Cancel stops something.
type Cancel struct {
	ID     string `json:"id" jsonschema:"id of the input (UUIDv7); the same id is the same input for good"`
	Scope  Scope  `json:"scope,omitempty" jsonschema:"turn, call, queue or all; absent means call when a call is named and turn otherwise"`
	Turn   string `json:"turn,omitempty" jsonschema:"the turn meant; absent means the one that runs"`
	Call   string `json:"call,omitempty" jsonschema:"scope call: the call meant"`
	Reason string `json:"reason,omitempty" jsonschema:"why"`
	From   string `json:"from,omitempty" jsonschema:"who stops it"`
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
