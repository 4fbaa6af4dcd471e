package events

import "encoding/json"

// GenerationJob is all a worker needs to run one generation, without state of
// its own: take it, append GenerationStarted, stream, append GenerationEnded,
// acknowledge.
type GenerationJob struct {
	Conversation string     `json:"conversation" jsonschema:"id of the conversation"`
	Subject      string     `json:"subject" jsonschema:"subject of the lane to write"`
	LaneSequence uint64     `json:"lane_sequence" jsonschema:"last sequence of the lane at the time of the decision; the generation's events follow it"`
	Decision     uint64     `json:"decision" jsonschema:"sequence of the Decision that requested the generation; the job is stale if a later Decision names another generation"`
	Turn         string     `json:"turn" jsonschema:"id of the turn"`
	Generation   string     `json:"generation" jsonschema:"id of the generation"`
	Step         int        `json:"step" jsonschema:"step of the turn"`
	Route        string     `json:"route" jsonschema:"provider/model"`
	DelayMS      int64      `json:"delay_ms,omitempty" jsonschema:"delay in milliseconds before the start: the worker hands the job back with it on the first delivery"`
	System       string     `json:"system,omitempty" jsonschema:"system prompt"`
	Messages     []Message  `json:"messages" jsonschema:"the transcript"`
	Tools        []ToolSpec `json:"tools,omitempty" jsonschema:"tools offered"`
	Parameters   Parameters `json:"parameters,omitzero" jsonschema:"parameters of the generation"`
}

// ToolJob is all a worker needs to run one call.
type ToolJob struct {
	Conversation string          `json:"conversation" jsonschema:"id of the conversation"`
	Subject      string          `json:"subject" jsonschema:"subject of the call's lane"`
	Decision     uint64          `json:"decision" jsonschema:"sequence of the Decision that requested the call; the job is stale if the call is not open in a later Decision"`
	Output       string          `json:"output" jsonschema:"subject for ToolOutput"`
	Turn         string          `json:"turn" jsonschema:"id of the turn"`
	Call         string          `json:"call" jsonschema:"id of the call, the key of idempotent effects"`
	Tool         string          `json:"tool" jsonschema:"name of the tool"`
	Effect       Effect          `json:"effect" jsonschema:"effect class"`
	Arguments    json.RawMessage `json:"arguments" jsonschema:"a complete JSON object, valid against the tool's schema"`
	TimeoutMS    int64           `json:"timeout_ms,omitempty" jsonschema:"timeout in milliseconds"`
}

// Claim replaces a message that is too large for the bus: the full payload is in
// the object store.
type Claim struct {
	Of      string `json:"of" jsonschema:"type of the event in the object store"`
	Object  Object `json:"object" jsonschema:"reference to the payload"`
	Preview string `json:"preview,omitempty" jsonschema:"start of the payload, for people"`
}

// Type implements [Event].
func (*GenerationJob) Type() string { return "GenerationJob" }

// Type implements [Event].
func (*ToolJob) Type() string { return "ToolJob" }

// Type implements [Event].
func (*Claim) Type() string { return "Claim" }
