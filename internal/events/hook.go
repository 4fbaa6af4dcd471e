package events

import "encoding/json"

// HookTime is the time of a turn at which a hook is called.
type HookTime string

// The times of hooks.
const (
	HookBefore HookTime = "before" // once per turn, before the first generation
	HookAfter  HookTime = "after"  // once per turn, after its end
)

// Hook is an app that is called about turns: it answers a request on the
// subject hooks.<when>.<name> with a [HookAnswered].
type Hook struct {
	Name string   `json:"name" yaml:"name" jsonschema:"last token of the subject"`
	When HookTime `json:"when" yaml:"when" jsonschema:"before or after"`
	// DeadlineMS bounds all tries together.
	DeadlineMS int64 `json:"deadline_ms,omitempty" yaml:"deadline_ms" jsonschema:"how long it may take to answer, in milliseconds; 5000 when absent"`
	Optional   bool  `json:"optional,omitempty" yaml:"optional" jsonschema:"before: the turn continues without its answer"`
}

// HooksRequested requests the hooks of a turn. With before, the turn waits
// until each has answered or its deadline has passed.
type HooksRequested struct {
	Turn  string   `json:"turn" jsonschema:"id of the turn"`
	When  HookTime `json:"when" jsonschema:"before or after"`
	Hooks []Hook   `json:"hooks" jsonschema:"the hooks, in the order in which the model reads their contexts"`
}

// HookCall is the request to a hook.
type HookCall struct {
	Hook         string   `json:"hook" jsonschema:"name of the hook"`
	When         HookTime `json:"when" jsonschema:"before or after"`
	Conversation string   `json:"conversation" jsonschema:"id of the conversation"`
	Turn         string   `json:"turn" jsonschema:"id of the turn: the key of effects that must not happen twice"`
	Message      *Message `json:"message,omitempty" jsonschema:"before: the person's message"`
	Answer       string   `json:"answer,omitempty" jsonschema:"after: the text of the last assistant message"`
	TimeoutMS    int64    `json:"timeout_ms" jsonschema:"time to answer, in milliseconds from receipt"`
	DeadlineMS   int64    `json:"deadline_ms,omitempty" jsonschema:"when the answer is too late by the orchestrator's clock, Unix milliseconds, for people"`
	// Ended is written with its type, as every event.
	Ended *TurnEnded `json:"ended,omitempty" jsonschema:"after: how the turn ended"`
}

// MarshalJSON writes the type of Ended too.
func (c HookCall) MarshalJSON() ([]byte, error) {
	type plain HookCall // without this method
	whole := struct {
		plain
		Ended json.RawMessage `json:"ended,omitempty"` // in place of the one in plain
	}{plain: plain(c)}
	if c.Ended != nil {
		raw, err := Append(nil, c.Ended)
		if err != nil {
			return nil, err
		}
		whole.Ended = raw
	}
	return appendJSON(nil, whole)
}

// HookAnswered is a hook's answer: the reply on the bus, and its record in a
// Decision.
type HookAnswered struct {
	Turn    string   `json:"turn" jsonschema:"id of the turn"`
	When    HookTime `json:"when" jsonschema:"before or after"`
	Hook    string   `json:"hook" jsonschema:"name of the hook"`
	Context string   `json:"context,omitempty" jsonschema:"before: text that is added to the system prompt, for this turn"`
	Refuse  string   `json:"refuse,omitempty" jsonschema:"before: why the turn must not continue"`
	Error   string   `json:"error,omitempty" jsonschema:"why there is no answer"`
}

// Type implements [Event].
func (*HooksRequested) Type() string { return "HooksRequested" }

// Type implements [Event].
func (*HookCall) Type() string { return "HookCall" }

// Type implements [Event].
func (*HookAnswered) Type() string { return "HookAnswered" }
