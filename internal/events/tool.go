package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Effect is the class of a tool's side effects. It determines what happens when a
// worker dies in the middle of a call.
type Effect string

// The effect classes. The default is EffectOnce.
const (
	EffectPure       Effect = "pure"       // no effect: retry freely
	EffectIdempotent Effect = "idempotent" // retry with the call id as key
	EffectOnce       Effect = "once"       // never retried after it has started
)

// Known reports whether the class exists; an empty one does not.
func (e Effect) Known() bool {
	switch e {
	case EffectPure, EffectIdempotent, EffectOnce:
		return true
	}
	return false
}

// rank orders the classes; an absent or unknown one is as strict as EffectOnce.
func (e Effect) rank() int {
	switch e {
	case EffectPure:
		return 0
	case EffectIdempotent:
		return 1
	}
	return 2
}

// Weaker reports whether calls of class e are treated more mildly than those of
// class than.
func (e Effect) Weaker(than Effect) bool { return e.rank() < than.rank() }

// Stricter returns the strictest of two classes.
func Stricter(a, b Effect) Effect {
	return []Effect{EffectPure, EffectIdempotent, EffectOnce}[max(a.rank(), b.rank())]
}

// ToolSpec describes a tool.
type ToolSpec struct {
	Name        string          `json:"name" jsonschema:"letters, digits, _ and -, at most 64"`
	Description string          `json:"description,omitempty" jsonschema:"text for the model"`
	Schema      json.RawMessage `json:"schema,omitempty" jsonschema:"JSON Schema of the arguments, an object"`
	Effect      Effect          `json:"effect,omitempty" jsonschema:"pure, idempotent or once (the default)"`
	TimeoutMS   int64           `json:"timeout_ms,omitempty" jsonschema:"longest run in milliseconds; 0 means the worker's default"`
	// Output describes structured results.
	Output      json.RawMessage `json:"output,omitempty" jsonschema:"JSON Schema of the structured result"`
	Concurrency int             `json:"concurrency,omitempty" jsonschema:"calls that one worker runs at once; 0 means the worker's default"`
	ResultBytes int64           `json:"result_bytes,omitempty" jsonschema:"longest result in bytes; 0 means the worker's default"`
	Server      string          `json:"server,omitempty" jsonschema:"name of the MCP server that it comes from; absent for other tools"`
}

// OmittedTool is a tool that was left out of what a model was offered.
type OmittedTool struct {
	Tool   string `json:"tool" jsonschema:"name of the tool"`
	Server string `json:"server,omitempty" jsonschema:"name of the MCP server that it comes from; absent for other tools"`
	Reason string `json:"reason" jsonschema:"why it was left out, and what to do"`
}

// Status is how a call ended. It is a field of its own, never a marker in the
// text: what a tool prints cannot change it.
type Status string

// The ways a call ends.
const (
	StatusOK               Status = "ok"
	StatusFailed           Status = "failed"            // the tool reported it
	StatusInvalidArguments Status = "invalid_arguments" // not run
	StatusUnknownTool      Status = "unknown_tool"      // not run
	StatusTimeout          Status = "timeout"
	StatusTooLarge         Status = "too_large" // the result exceeded the tool's limit
	StatusCrashed          Status = "crashed"   // the tool panicked or its process died
	StatusCancelled        Status = "cancelled"
	StatusRefused          Status = "refused"    // by a person or a policy
	StatusExpired          Status = "expired"    // no answer before the deadline
	StatusSuperseded       Status = "superseded" // by a new message
	StatusUnknown          Status = "unknown"    // whether it took effect is unknown
	// StatusWeakEffect is that of a call whose effect class is weaker than the one
	// that the worker's own tool has; not run.
	StatusWeakEffect Status = "weak_effect"
)

// Known reports whether the status exists; an empty one does not.
func (s Status) Known() bool {
	switch s {
	case StatusOK, StatusFailed, StatusInvalidArguments, StatusUnknownTool, StatusTimeout, StatusTooLarge, StatusCrashed,
		StatusCancelled, StatusRefused, StatusExpired, StatusSuperseded, StatusUnknown, StatusWeakEffect:
		return true
	}
	return false
}

// ToolStarted takes a call's lane: from here on the call has started.
type ToolStarted struct {
	Call     string `json:"call" jsonschema:"id of the call"`
	Attempt  string `json:"attempt" jsonschema:"id of the worker's try (UUIDv7)"`
	Tool     string `json:"tool" jsonschema:"name of the tool"`
	Worker   string `json:"worker,omitempty" jsonschema:"name of the worker"`
	Delivery int    `json:"delivery,omitempty" jsonschema:"number of this delivery of the job, from 1"`
}

// ToolReleased hands back a call that the worker has started: another may take it
// at once. Without it, others wait until the worker is known to be dead.
type ToolReleased struct {
	Call    string `json:"call" jsonschema:"id of the call"`
	Attempt string `json:"attempt" jsonschema:"id of the worker's try"`
	Tool    string `json:"tool,omitempty" jsonschema:"name of the tool"`
	Error   string `json:"error,omitempty" jsonschema:"why the attempt failed; absent if the worker was stopped"`
}

// QuestionAsked is a tool's question to a person in the middle of a call.
// The call continues with the answer: see QuestionAnswered.
type QuestionAsked struct {
	Call     string          `json:"call" jsonschema:"id of the call"`
	Attempt  string          `json:"attempt" jsonschema:"id of the worker's try"`
	Question string          `json:"question" jsonschema:"id of the question (UUIDv7)"`
	Message  string          `json:"message" jsonschema:"text of the question"`
	Schema   json.RawMessage `json:"schema,omitempty" jsonschema:"JSON Schema of the answer, an object; absent for a yes-or-no question"`
	Server   string          `json:"server,omitempty" jsonschema:"name of the MCP server that asks; absent for other tools"`
	URL      string          `json:"url,omitempty" jsonschema:"address that the person is asked to open themselves; approve says that they agree"`
	Secret   []string        `json:"secret,omitempty" jsonschema:"names of the fields of the answer that are secret: do not show them while they are typed, and seal the answer"`
	Key      string          `json:"key,omitempty" jsonschema:"set if there are secret fields: the worker's public key (X25519, base64), for which the answer must be sealed"`
}

// Arguments returns the question in the form of a call's arguments, so that
// a Verdict decides it like a call. The digest covers the key: an answer that is
// sealed for another worker names another digest.
func (q *QuestionAsked) Arguments() json.RawMessage {
	raw, err := json.Marshal(struct {
		Message string          `json:"message"`
		Schema  json.RawMessage `json:"schema,omitempty"`
		Server  string          `json:"server,omitempty"`
		URL     string          `json:"url,omitempty"`
		Secret  []string        `json:"secret,omitempty"`
		Key     string          `json:"key,omitempty"`
	}{q.Message, q.Schema, q.Server, q.URL, q.Secret, q.Key})
	if err != nil {
		return json.RawMessage("{}") // a schema that is no JSON
	}
	return raw
}

// ToolResult ends a call. It counts if its attempt is that of the latest
// ToolStarted on the call's lane, or if the call waits for an external result;
// any other is ignored. The first that counts ends the call. Where a Decision has
// a ToolCallRefused or a ToolCallAnswered of the call, as after a cancel, that is
// the call's result, whichever of the two comes first in the log.
type ToolResult struct {
	Call    string  `json:"call" jsonschema:"id of the call"`
	Attempt string  `json:"attempt,omitempty" jsonschema:"id of the worker's try; absent when no worker ran it"`
	Tool    string  `json:"tool,omitempty" jsonschema:"name of the tool"`
	Status  Status  `json:"status" jsonschema:"how the call ended"`
	Content string  `json:"content" jsonschema:"what the model reads; a preview when object is set"`
	Object  *Object `json:"object,omitempty" jsonschema:"reference to the whole content"`
	TookMS  int64   `json:"took_ms,omitempty" jsonschema:"how long it ran, in milliseconds"`
	// Structured is the result as data, for programs; the model reads Content.
	Structured  json.RawMessage `json:"structured,omitempty" jsonschema:"the result as JSON, valid against the tool's output schema"`
	Attachments []Attachment    `json:"attachments,omitempty" jsonschema:"images, files and other bytes that the tool gave"`
}

// Attachment is a tool's output besides text, by claim check.
type Attachment struct {
	Name   string  `json:"name,omitempty" jsonschema:"name or URI from the tool"`
	MIME   string  `json:"mime,omitempty" jsonschema:"media type"`
	Object *Object `json:"object" jsonschema:"reference to the bytes"`
}

// ToolOutput is output of a running tool, for display only: it is not kept
// in HISTORY and the model never sees it.
type ToolOutput struct {
	Call    string `json:"call" jsonschema:"id of the call"`
	Attempt string `json:"attempt,omitempty" jsonschema:"id of the worker's try"`
	Index   int    `json:"index" jsonschema:"position among the attempt's outputs, from 0"`
	Text    string `json:"text" jsonschema:"the piece"`
}

// Type implements [Event].
func (*ToolStarted) Type() string { return "ToolStarted" }

// Type implements [Event].
func (*ToolReleased) Type() string { return "ToolReleased" }

// Type implements [Event].
func (*QuestionAsked) Type() string { return "QuestionAsked" }

// Type implements [Event].
func (*ToolResult) Type() string { return "ToolResult" }

// Type implements [Event].
func (*ToolOutput) Type() string { return "ToolOutput" }

// Arguments returns what a call's raw arguments mean: nothing and null mean the
// empty object, as models write both for tools without parameters.
func Arguments(raw string) json.RawMessage {
	if s := strings.TrimSpace(raw); s == "" || s == "null" {
		return json.RawMessage("{}")
	}
	return json.RawMessage(raw)
}

// CheckArguments reports why raw arguments are not one whole JSON object.
func CheckArguments(raw string) error {
	args := Arguments(raw)
	var v map[string]json.RawMessage
	err := json.Unmarshal(args, &v)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		return fmt.Errorf("arguments are a JSON %s, not an object", kind.Value)
	}
	return fmt.Errorf("arguments are not valid JSON: %w", err)
}
