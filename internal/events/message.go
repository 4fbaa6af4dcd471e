package events

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Role is the author of a [Message].
type Role string

// The roles of a transcript. System text is not a message: it is in
// [Settings] and in the job.
const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
)

// Message is one entry of a transcript as it is sent to a model. A tool message
// holds exactly one result part and follows the assistant message that made the
// call, in the order of that message's calls.
type Message struct {
	Role  Role   `json:"role" jsonschema:"user, assistant or tool"`
	Parts []Part `json:"parts" jsonschema:"in log order"`
	// By is set where no person wrote a user's message: providers have no other role for
	// what Parley says to the model.
	By string `json:"by,omitempty" jsonschema:"of a user's message that no person wrote: parley, about an answer that it rejected or messages that it left out"`
	// Provider and Model wrote an assistant message. A part's Carry is
	// returned only to the model that wrote it, at the provider that served it.
	Provider string `json:"provider,omitempty" jsonschema:"provider that wrote an assistant message"`
	Model    string `json:"model,omitempty" jsonschema:"model that wrote an assistant message"`
	// Omitted is part of the prefix to which the carries of this message belong:
	// requests to the same model leave the same out again.
	Omitted Omission `json:"omitted,omitempty" jsonschema:"what the answered request left out of the history before this message, after the provider refused it whole: carries, calls, turns or images"`
}

// HasCall reports whether a message makes a call.
func HasCall(m Message, call string) bool {
	return slices.ContainsFunc(m.Parts, func(p Part) bool { return p.Kind == PartCall && p.Call == call })
}

// PartKind is the kind of a [Part].
type PartKind string

// The kinds of parts.
const (
	PartText      PartKind = "text"
	PartRefusal   PartKind = "refusal"
	PartReasoning PartKind = "reasoning"
	PartCall      PartKind = "call"
	PartResult    PartKind = "result"
	PartImage     PartKind = "image" // of a user's message
	PartFile      PartKind = "file"  // of a user's message
)

// Part is a piece of a [Message].
type Part struct {
	Kind       PartKind `json:"kind" jsonschema:"text, refusal, reasoning, call, result, image or file"`
	Text       string   `json:"text,omitempty" jsonschema:"text of a text, refusal, reasoning or result part"`
	Summary    bool     `json:"summary,omitempty" jsonschema:"reasoning: the text is a summary"`
	Call       string   `json:"call,omitempty" jsonschema:"call or result: our id of the call"`
	ProviderID string   `json:"provider_id,omitempty" jsonschema:"call or result: the provider's id of the call"`
	Name       string   `json:"name,omitempty" jsonschema:"call or result: the tool's name; image or file: its own"`
	Arguments  string   `json:"arguments,omitempty" jsonschema:"call: the arguments as the model wrote them; empty means {}"`
	Custom     bool     `json:"custom,omitempty" jsonschema:"call: the arguments are free text, not JSON"`
	Invalid    string   `json:"invalid,omitempty" jsonschema:"call: why it cannot run"`
	Status     Status   `json:"status,omitempty" jsonschema:"result: how the call ended"`
	Object     *Object  `json:"object,omitempty" jsonschema:"result: reference to the whole content when text is a preview; image or file: reference to the bytes"`
	MIME       string   `json:"mime,omitempty" jsonschema:"image or file: media type"`
	Data       []byte   `json:"data,omitempty" jsonschema:"image or file: the bytes in base64, if they are not stored by reference"`
	// Attachments are for people and apps. Images reach models that see; of others
	// providers get the text.
	Attachments []Attachment    `json:"attachments,omitempty" jsonschema:"result: images, files and other bytes that the tool gave"`
	Carry       json.RawMessage `json:"carry,omitempty" jsonschema:"opaque, returned to the provider and model that wrote it"`
}

// Usage is a provider's count for one generation, or the sum over several.
// A nil field was not reported; it is never faked as zero.
type Usage struct {
	InputTokens  *int64 `json:"input_tokens,omitempty" jsonschema:"tokens read"`
	OutputTokens *int64 `json:"output_tokens,omitempty" jsonschema:"tokens written"`
	TotalTokens  *int64 `json:"total_tokens,omitempty" jsonschema:"the provider's own total"`
	// CachedInputTokens (OpenAI, Gemini) are part of InputTokens; the two cache fields
	// of Anthropic are not.
	CachedInputTokens        *int64 `json:"cached_input_tokens,omitempty" jsonschema:"part of input_tokens that came from a cache"`
	ReasoningTokens          *int64 `json:"reasoning_tokens,omitempty" jsonschema:"tokens of reasoning"`
	CacheReadInputTokens     *int64 `json:"cache_read_input_tokens,omitempty" jsonschema:"tokens read from a cache, not part of input_tokens"`
	CacheCreationInputTokens *int64 `json:"cache_creation_input_tokens,omitempty" jsonschema:"tokens written to a cache, not part of input_tokens"`
	// Estimated is set when a part of the counts is Parley's estimate: the provider
	// reported nothing for an answer that was cancelled, cut or superseded.
	Estimated bool `json:"estimated,omitempty" jsonschema:"a part is an estimate, of answers that were cancelled, cut or superseded and whose count the provider did not report"`
}

// bytesPerToken is the usual length of a token in English text and code.
const bytesPerToken = 4

// TokenBytes returns the bytes of a text of so many tokens, as EstimateTokens counts.
func TokenBytes(tokens int64) int64 { return tokens * bytesPerToken }

// EstimateTokens estimates the tokens of a text from its bytes.
func EstimateTokens(bytes int64) int64 { return (bytes + bytesPerToken - 1) / bytesPerToken }

// Add returns the sum of two usages, field by field; nil stays nil until a
// number is known.
func (u *Usage) Add(v *Usage) *Usage {
	if v == nil {
		return u
	}
	if u == nil {
		u = new(Usage)
	}
	sum := func(a, b *int64) *int64 {
		switch {
		case a == nil:
			return b
		case b == nil:
			return a
		}
		n := *a + *b
		return &n
	}
	return &Usage{
		InputTokens:              sum(u.InputTokens, v.InputTokens),
		OutputTokens:             sum(u.OutputTokens, v.OutputTokens),
		TotalTokens:              sum(u.TotalTokens, v.TotalTokens),
		CachedInputTokens:        sum(u.CachedInputTokens, v.CachedInputTokens),
		ReasoningTokens:          sum(u.ReasoningTokens, v.ReasoningTokens),
		CacheReadInputTokens:     sum(u.CacheReadInputTokens, v.CacheReadInputTokens),
		CacheCreationInputTokens: sum(u.CacheCreationInputTokens, v.CacheCreationInputTokens),
		Estimated:                u.Estimated || v.Estimated,
	}
}

// Total returns the tokens read and written, as far as they are known.
func (u *Usage) Total() int64 {
	if u == nil {
		return 0
	}
	var n int64
	for _, p := range []*int64{u.InputTokens, u.OutputTokens, u.CacheReadInputTokens, u.CacheCreationInputTokens} {
		if p != nil {
			n += *p
		}
	}
	return n
}

// ErrorClass is the kind of a failure, which determines what can be done.
type ErrorClass string

// The classes of provider errors.
const (
	ErrRateLimited    ErrorClass = "rate_limited"
	ErrOverloaded     ErrorClass = "overloaded"
	ErrAuth           ErrorClass = "auth"
	ErrInvalidRequest ErrorClass = "invalid_request"
	ErrContextLength  ErrorClass = "context_length"
	ErrContentFilter  ErrorClass = "content_filter"
	ErrNetwork        ErrorClass = "network"
	ErrCut            ErrorClass = "cut"
	ErrIdle           ErrorClass = "idle"
	ErrUnsupported    ErrorClass = "unsupported"
	ErrCancelled      ErrorClass = "cancelled"
	ErrInternal       ErrorClass = "internal"
	// ErrEmpty is the class of a complete answer without text and calls.
	ErrEmpty ErrorClass = "empty"
	// ErrInvalidAnswer is the class of an answer that does not fit the conversation's
	// schema, also when the model was asked again.
	ErrInvalidAnswer ErrorClass = "invalid_answer"
	// ErrCeiling is the class of what exceeds a ceiling of the deployment; Code names
	// the ceiling.
	ErrCeiling ErrorClass = "ceiling"
)

// Known reports whether the class exists; an empty one does not.
func (c ErrorClass) Known() bool {
	switch c {
	case ErrRateLimited, ErrOverloaded, ErrAuth, ErrInvalidRequest, ErrContextLength, ErrContentFilter, ErrNetwork, ErrCut,
		ErrIdle, ErrUnsupported, ErrCancelled, ErrInternal, ErrEmpty, ErrInvalidAnswer, ErrCeiling:
		return true
	}
	return false
}

// Error is a failure as it crosses the wire.
type Error struct {
	Class        ErrorClass `json:"class" jsonschema:"class of the failure"`
	Message      string     `json:"message" jsonschema:"what happened, to what, and what to do next"`
	Code         string     `json:"code,omitempty" jsonschema:"the provider's own code or type; for class ceiling the code of the ceiling"`
	HTTPStatus   int        `json:"http_status,omitempty" jsonschema:"status of the HTTP answer"`
	RetryAfterMS int64      `json:"retry_after_ms,omitempty" jsonschema:"the provider's requested delay, in milliseconds"`
	Object       *Object    `json:"object,omitempty" jsonschema:"reference to the whole text when message is a preview"`
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Class, e.Message) }

// Retryable reports whether the same request may succeed later.
func (e *Error) Retryable() bool {
	switch e.Class {
	case ErrRateLimited, ErrOverloaded, ErrNetwork, ErrCut, ErrIdle:
		return true
	}
	return false
}

// RetryAfter returns the time that the provider asked to wait; 0 when it did
// not.
func (e *Error) RetryAfter() time.Duration { return time.Duration(e.RetryAfterMS) * time.Millisecond }

// Object is a reference to bytes in the object store (claim check).
type Object struct {
	Bucket string `json:"bucket" jsonschema:"name of the object store"`
	Name   string `json:"name" jsonschema:"name of the object"`
	Size   int64  `json:"size" jsonschema:"bytes"`
	SHA256 string `json:"sha256" jsonschema:"digest of the bytes, hex"`
}
