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

// Limits bound a turn. A zero field is the deployment's default.
type Limits struct {
	Steps  int   `json:"steps,omitempty" jsonschema:"generations per turn"`
	Tokens int64 `json:"tokens,omitempty" jsonschema:"tokens read and written per turn"`
	TimeMS int64 `json:"time_ms,omitempty" jsonschema:"wall time of a turn in milliseconds"`
}

// Settings of a conversation; the latest stands, whole.
type Settings struct {
	ID         string     `json:"id" jsonschema:"id of the input (UUIDv7), also its Nats-Msg-Id"`
	Route      string     `json:"route,omitempty" jsonschema:"provider/model; empty means the deployment's default"`
	System     string     `json:"system,omitempty" jsonschema:"system prompt"`
	Tools      []string   `json:"tools,omitempty" jsonschema:"names or patterns (path.Match) of the tools offered; absent means all, none is [\"-\"]"`
	Parameters Parameters `json:"parameters,omitzero" jsonschema:"how the model is asked"`
	Limits     Limits     `json:"limits,omitzero" jsonschema:"bounds of a turn"`
}

// UserMessage is something a person says.
type UserMessage struct {
	ID   string `json:"id" jsonschema:"id of the input (UUIDv7), also its Nats-Msg-Id"`
	Text string `json:"text" jsonschema:"what is said"`
	From string `json:"from,omitempty" jsonschema:"who says it, as the app knows them"`
}

// Verdict decides calls that wait for a person.
type Verdict struct {
	ID      string   `json:"id" jsonschema:"id of the input (UUIDv7), also its Nats-Msg-Id"`
	Calls   []string `json:"calls" jsonschema:"ids of the calls it speaks of"`
	Verdict string   `json:"verdict" jsonschema:"approve or reject"`
	Reason  string   `json:"reason,omitempty" jsonschema:"why; the model reads it"`
	From    string   `json:"from,omitempty" jsonschema:"who gives it"`
}

// Cancel stops the turn that runs.
type Cancel struct {
	ID     string `json:"id" jsonschema:"id of the input (UUIDv7), also its Nats-Msg-Id"`
	Turn   string `json:"turn,omitempty" jsonschema:"the turn meant; absent means the one that runs"`
	Reason string `json:"reason,omitempty" jsonschema:"why"`
	From   string `json:"from,omitempty" jsonschema:"who stops it"`
}

// Type implements [Event].
func (*Settings) Type() string { return "Settings" }

// Type implements [Event].
func (*UserMessage) Type() string { return "UserMessage" }

// Type implements [Event].
func (*Verdict) Type() string { return "Verdict" }

// Type implements [Event].
func (*Cancel) Type() string { return "Cancel" }
