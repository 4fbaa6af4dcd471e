package events

import "encoding/json"

// GenerationJob is all a worker needs to run one generation, without state of
// its own: take it, append GenerationStarted, stream, append GenerationEnded,
// acknowledge.
type GenerationJob struct {
	Conversation string          `json:"conversation" jsonschema:"id of the conversation"`
	Subject      string          `json:"subject" jsonschema:"the lane to write, literally"`
	LaneSequence uint64          `json:"lane_sequence" jsonschema:"last sequence of the lane when this was decided: the generation's events follow it"`
	Decision     uint64          `json:"decision" jsonschema:"sequence of the requesting Decision: a later one that names another generation makes the job stale"`
	Turn         string          `json:"turn" jsonschema:"id of the turn"`
	Generation   string          `json:"generation" jsonschema:"id of the generation"`
	Step         int             `json:"step" jsonschema:"step of the turn"`
	Route        string          `json:"route" jsonschema:"provider/model"`
	DelayMS      int64           `json:"delay_ms,omitempty" jsonschema:"delay in milliseconds before the start: the worker hands the job back with it on the first delivery"`
	Requests     int             `json:"requests,omitempty" jsonschema:"how often the provider may still be called for the step, this attempt included: a worker that finds as many attempts of workers that died ends the generation; 0 if unknown"`
	System       string          `json:"system,omitempty" jsonschema:"system prompt"`
	Messages     []Message       `json:"messages" jsonschema:"the transcript"`
	Tools        []ToolSpec      `json:"tools,omitempty" jsonschema:"tools offered"`
	Parameters   Parameters      `json:"parameters,omitzero" jsonschema:"parameters of the generation"`
	AnswerSchema json.RawMessage `json:"answer_schema,omitempty" jsonschema:"JSON Schema that an answer without calls must fit"`
	// Extensions are what apps wrote for this worker; Parley does not read them.
	Extensions *Extensions `json:"extensions,omitempty" jsonschema:"fields beginning with x_ of what apps wrote"`
	// Ceilings let a worker stop an answer before the orchestrator ends its turn.
	Ceilings AnswerCeilings `json:"ceilings,omitzero" jsonschema:"bounds of the answer: a worker ends one that exceeds them with an error of class ceiling"`
}

// AnswerCeilings bound one answer of a model. A field that is 0 has Parley's
// default.
type AnswerCeilings struct {
	AnswerBytes   int64 `json:"answer_bytes,omitempty" jsonschema:"bytes of text, reasoning and arguments"`
	AnswerCalls   int64 `json:"answer_calls,omitempty" jsonschema:"tool calls"`
	ArgumentBytes int64 `json:"argument_bytes,omitempty" jsonschema:"bytes of the arguments of one call"`
}

// ToolJob is all a worker needs to run one call.
type ToolJob struct {
	Conversation string          `json:"conversation" jsonschema:"id of the conversation"`
	Subject      string          `json:"subject" jsonschema:"the call's lane, literally"`
	Decision     uint64          `json:"decision" jsonschema:"sequence of the requesting Decision: a later one in which the call is not open makes the job stale"`
	Output       string          `json:"output" jsonschema:"subject for ToolOutput"`
	Turn         string          `json:"turn" jsonschema:"id of the turn"`
	Call         string          `json:"call" jsonschema:"id of the call, the key of idempotent effects"`
	Tool         string          `json:"tool" jsonschema:"name of the tool"`
	Effect       Effect          `json:"effect" jsonschema:"effect class"`
	Arguments    json.RawMessage `json:"arguments" jsonschema:"a complete JSON object, valid against the tool's schema"`
	TimeoutMS    int64           `json:"timeout_ms,omitempty" jsonschema:"timeout in milliseconds"`
	Extensions   *Extensions     `json:"extensions,omitempty" jsonschema:"fields beginning with x_ of what apps wrote"`
}

// Extensions are the fields beginning with x_ of the conversation's Settings, of the
// parameters in it, and of the messages of the turn. Apps write them for workers of
// their own.
type Extensions struct {
	Settings   map[string]json.RawMessage            `json:"settings,omitempty" jsonschema:"those of Settings, merged as all settings are"`
	Parameters map[string]json.RawMessage            `json:"parameters,omitempty" jsonschema:"those of the parameters in Settings"`
	Messages   map[string]map[string]json.RawMessage `json:"messages,omitempty" jsonschema:"those of the turn's UserMessages, by the id of the message"`
}

// ExtensionPrefix begins the names of fields and events that are never Parley's.
const ExtensionPrefix = "x_"

// Claim replaces a message that was too large for the bus: the whole payload
// is in the object store.
type Claim struct {
	Of      string `json:"of" jsonschema:"type of the event that is claimed"`
	Object  Object `json:"object" jsonschema:"reference to the payload"`
	Preview string `json:"preview,omitempty" jsonschema:"its beginning, for people"`
}

// Type implements [Event].
func (*GenerationJob) Type() string { return "GenerationJob" }

// Type implements [Event].
func (*ToolJob) Type() string { return "ToolJob" }

// Type implements [Event].
func (*Claim) Type() string { return "Claim" }
