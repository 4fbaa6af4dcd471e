package events

import "encoding/json"

// Parameters steer a generation. A zero field is left to the provider.
type Parameters struct {
	MaxTokens       int64    `json:"max_tokens,omitempty" jsonschema:"maximum tokens of the answer"`
	Temperature     *float64 `json:"temperature,omitempty" jsonschema:"randomness, as the provider scales it"`
	TopP            *float64 `json:"top_p,omitempty" jsonschema:"nucleus sampling"`
	Seed            *int64   `json:"seed,omitempty" jsonschema:"seed for reproducible answers, where the provider has it"`
	Stop            []string `json:"stop,omitempty" jsonschema:"sequences that end the answer"`
	ReasoningEffort string   `json:"reasoning_effort,omitempty" jsonschema:"none, minimal, low, medium, high, xhigh or max: the nearest that the model has; default leaves it to the provider"`
	ToolChoice      string   `json:"tool_choice,omitempty" jsonschema:"auto, none, required or the name of a tool"`
	// Extra is added to the provider's request. The deployment lists the keys that it
	// may have.
	Extra map[string]json.RawMessage `json:"extra,omitempty" jsonschema:"further fields of the provider's request, of those that the deployment allows"`
}

// Given reports whether a parameter is set.
func (p Parameters) Given() bool {
	return p.MaxTokens != 0 || p.Temperature != nil || p.TopP != nil || p.Seed != nil || len(p.Stop) > 0 || p.ReasoningEffort != "" || p.ToolChoice != "" || len(p.Extra) > 0
}

// Settings change the settings of a conversation. Those that are accepted are
// merged into those before them as a JSON Merge Patch (RFC 7396): a field that is
// absent changes nothing, null unsets it, objects are merged field by field (but for
// answer_schema), lists are replaced. So a client changes settings without reading them first.
type Settings struct {
	ID         string     `json:"id" jsonschema:"id of the input (UUIDv7); inputs are idempotent by their id, permanently"`
	Route      string     `json:"route,omitempty" jsonschema:"provider/model, or a pool of models of the deployment; empty means the deployment's default"`
	System     string     `json:"system,omitempty" jsonschema:"system prompt"`
	Tools      []string   `json:"tools,omitempty" jsonschema:"names or patterns (path.Match) of the tools offered; unset means all, none is [\"-\"]"`
	Parameters Parameters `json:"parameters,omitzero" jsonschema:"parameters of the generation"`
	// AnswerSchema is replaced as a whole: its members are not merged.
	AnswerSchema json.RawMessage `json:"answer_schema,omitempty" jsonschema:"JSON Schema of an object that the answers of turns must fit; null removes it"`
	Limits       Limits          `json:"limits,omitzero" jsonschema:"limits of a turn"`
	Policy       *Policy         `json:"policy,omitempty" jsonschema:"which calls run by themselves; unset means the deployment's policy"`
	// AddRules adds rules without knowledge of the existing ones, and
	// without overwriting what others add at the same time. Merged settings
	// have none.
	AddRules []Rule `json:"add_rules,omitempty" jsonschema:"rules to put before those of the policy; one that it already has moves to the front"`
	// WhileRunning and WhileWaiting apply to messages without an Arrival.
	WhileRunning Arrival    `json:"while_running,omitempty" jsonschema:"effect of a message while a turn runs: queue (the default), interrupt or refuse"`
	WhileWaiting Arrival    `json:"while_waiting,omitempty" jsonschema:"effect of a message while a turn waits: queue (the default), supersede, interrupt or refuse"`
	Compaction   Compaction `json:"compaction,omitzero" jsonschema:"when what is sent to the model is shortened"`
	Priority     Priority   `json:"priority,omitempty" jsonschema:"low for background work: its calls take a quarter of a worker's slots at most; normal when unset"`
	Hooks        []Hook     `json:"hooks,omitempty" jsonschema:"apps that are called before and after a turn"`
	Signature    *Signature `json:"signature,omitempty" jsonschema:"proof of the author; the last field of the line"`
}

// Priority is the order of calls.
type Priority string

// The priorities.
const (
	PriorityNormal Priority = "normal"
	PriorityLow    Priority = "low"
)

// UserMessage is a person's message.
type UserMessage struct {
	ID      string  `json:"id" jsonschema:"id of the input (UUIDv7); inputs are idempotent by their id, permanently"`
	Text    string  `json:"text" jsonschema:"text of the message; may be empty if there are parts"`
	From    string  `json:"from,omitempty" jsonschema:"author, as the app names them"`
	Arrival Arrival `json:"arrival,omitempty" jsonschema:"effect while a turn runs or waits: queue, interrupt, supersede or refuse; absent means the default in Settings"`
	// Parts follow Text. A message with a part that cannot be used is answered
	// invalid, as a whole.
	Parts     []InputPart `json:"parts,omitempty" jsonschema:"images, files and further text, after text; at most 32"`
	Signature *Signature  `json:"signature,omitempty" jsonschema:"proof of the author; the last field of the line"`
}

// Size returns the bytes of the message itself, without what it refers to.
func (m *UserMessage) Size() int64 {
	n := int64(len(m.Text))
	for i := range m.Parts {
		n += int64(len(m.Parts[i].Text) + len(m.Parts[i].Data))
	}
	return n
}

// InputPart is an image, a file or a text of a [UserMessage]. An image or a file has
// its bytes in data or is stored by reference, of this conversation.
type InputPart struct {
	Kind   PartKind `json:"kind" jsonschema:"text, image (PNG, JPEG, GIF or WebP) or file (PDF or UTF-8 text)"`
	Text   string   `json:"text,omitempty" jsonschema:"text: the text"`
	Name   string   `json:"name,omitempty" jsonschema:"image or file: its name, for people and models"`
	MIME   string   `json:"mime,omitempty" jsonschema:"image or file: media type, for viewers; what is sent to a model depends on the content"`
	Data   []byte   `json:"data,omitempty" jsonschema:"image or file: the bytes in base64, at most 262144 of them; more by reference"`
	Object *Object  `json:"object,omitempty" jsonschema:"image or file: reference to the bytes, in place of data"`
}

// Part returns the part of a [Message].
func (p InputPart) Part() Part {
	return Part{Kind: p.Kind, Text: p.Text, Name: p.Name, MIME: p.MIME, Data: p.Data, Object: p.Object}
}

// Ruling is the decision of a Verdict.
type Ruling string

// The rulings.
const (
	RulingApprove Ruling = "approve" // run the call
	RulingReject  Ruling = "reject"  // do not run it
	RulingEdit    Ruling = "edit"    // run it with other arguments
	RulingAnswer  Ruling = "answer"  // do not run it: this is its result
	// RulingAlways approves the call and creates a standing approval.
	RulingAlways Ruling = "approve_for_conversation"
	// RulingRevoke revokes standing approvals.
	RulingRevoke Ruling = "revoke"
)

// Verdict decides calls that wait for a person. Each call is decided by itself; the
// first valid verdict on a call wins.
type Verdict struct {
	ID        string        `json:"id" jsonschema:"id of the input (UUIDv7); inputs are idempotent by their id, permanently"`
	Verdict   Ruling        `json:"verdict" jsonschema:"approve, reject, edit, answer, approve_for_conversation or revoke"`
	Calls     []CallVerdict `json:"calls,omitempty" jsonschema:"the calls it decides"`
	Grants    []string      `json:"grants,omitempty" jsonschema:"revoke: ids of the standing approvals; absent means all"`
	Reason    string        `json:"reason,omitempty" jsonschema:"why; the model reads it after a reject"`
	From      string        `json:"from,omitempty" jsonschema:"author, as the app names them"`
	Signature *Signature    `json:"signature,omitempty" jsonschema:"proof of the author; the last field of the line"`
}

// CallVerdict is a Verdict's decision on one call.
type CallVerdict struct {
	Call      string          `json:"call" jsonschema:"id of the call, or of the question at a limit"`
	Digest    string          `json:"digest" jsonschema:"digest of the arguments that the person saw, as in Paused"`
	Arguments json.RawMessage `json:"arguments,omitempty" jsonschema:"edit: the arguments to run with, a JSON object"`
	Content   string          `json:"content,omitempty" jsonschema:"answer: the result, as the model reads it"`
	Sealed    string          `json:"sealed,omitempty" jsonschema:"answer to a question that has a key: the answer as JSON in a sealed box (libsodium's crypto_box_seal) for that key, in base64, instead of content, which would be stored in clear text"`
}

// Scope is what a Cancel stops.
type Scope string

// The scopes of a Cancel.
const (
	ScopeTurn  Scope = "turn"  // the current turn
	ScopeCall  Scope = "call"  // one call of it; the turn continues
	ScopeQueue Scope = "queue" // the messages that wait for the next turn
	ScopeAll   Scope = "all"   // the turn and the queue
)

// Cancel stops a turn, one of its calls, or queued messages.
type Cancel struct {
	ID        string     `json:"id" jsonschema:"id of the input (UUIDv7); inputs are idempotent by their id, permanently"`
	Scope     Scope      `json:"scope,omitempty" jsonschema:"turn, call, queue or all; if absent: call if a call is named, else turn"`
	Turn      string     `json:"turn,omitempty" jsonschema:"the turn to stop; the current one if absent"`
	Call      string     `json:"call,omitempty" jsonschema:"scope call: the call to stop"`
	Reason    string     `json:"reason,omitempty" jsonschema:"why"`
	From      string     `json:"from,omitempty" jsonschema:"author, as the app names them"`
	Signature *Signature `json:"signature,omitempty" jsonschema:"proof of the author; the last field of the line"`
}

// What returns the scope, also when it is not set.
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
