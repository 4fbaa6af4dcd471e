// Package tool has the contract of a tool, the registry of the tools that a
// worker serves, the validation of their arguments, and a few built-in tools
// that are safe for everyone.
package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Tool is a tool that a model can call. It is safe for concurrent use.
type Tool interface {
	// Spec returns the tool's name, schemas and effect class. It never changes.
	Spec() events.ToolSpec
	// Run runs one call until it is done or ctx ends. Input.Arguments are valid
	// against the tool's schema. The error is one of [Fail] and [Retry], ctx's
	// own, or any other, which counts as a failure with its text.
	Run(ctx context.Context, in Input) (Result, error)
}

// Input is one call of a tool.
type Input struct {
	// Call is the id of the call: the key of effects that must not happen twice.
	Call string
	// Conversation and Turn identify the conversation and turn of the call.
	Conversation, Turn string
	// Arguments is a complete JSON object.
	Arguments json.RawMessage
	// Output receives interim text for viewers; the model never sees it. It is
	// nil if there is no receiver.
	Output func(text string)
	// Ask asks a person a question during the call and blocks until the answer
	// arrives; nil if no person can be asked.
	Ask func(ctx context.Context, q Question) (Answer, error)
}

// Question is a tool's question to a person during a call.
type Question struct {
	Message string
	// Server is the MCP server that asks; empty for other tools.
	Server string
	// URL is an address that the person is asked to open; the answer is yes or no.
	URL string
	// Schema is the JSON Schema of the answer's data; nil asks for yes or no.
	Schema json.RawMessage
}

// Answer is the person's answer.
type Answer struct {
	Declined bool
	Content  json.RawMessage // the data, a JSON object; nil if the answer is yes
}

// Print passes text to Output, if it is set.
func (in Input) Print(format string, args ...any) {
	if in.Output != nil {
		in.Output(fmt.Sprintf(format, args...))
	}
}

// Decode reads the arguments into a struct. It does not refuse unknown fields:
// the schema decides about them.
func (in Input) Decode(into any) error {
	if err := json.Unmarshal(events.Arguments(string(in.Arguments)), into); err != nil {
		return Fail("the arguments do not fit the tool: %v", err)
	}
	return nil
}

// Result is the result of a call.
type Result struct {
	// Content is the text that the model reads, valid UTF-8.
	Content string
	// Structured is the result as JSON, for programs; nil if there is none. If
	// it does not fit the spec's Output, the call fails.
	Structured json.RawMessage
	// Attachments are images and files; they are stored by reference.
	Attachments []Attachment
}

// Attachment is data other than text that a tool returns.
type Attachment struct {
	Name string // name or URI
	MIME string // media type
	Data []byte
}

// Failure is an error with a text for the model.
type Failure struct{ Message string }

// Error implements error.
func (f *Failure) Error() string { return f.Message }

// Fail returns a [Failure]. The message says what happened, to what, and what
// to do next.
func Fail(format string, args ...any) error {
	return &Failure{Message: fmt.Sprintf(format, args...)}
}

// Unavailable is a transient error: the same call may be retried, if the tool's
// effect class allows it.
type Unavailable struct {
	Err   error
	After time.Duration // delay before the retry; 0 means the worker's backoff
}

// Error implements error.
func (u *Unavailable) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u *Unavailable) Unwrap() error { return u.Err }

// Retry returns an [Unavailable].
func Retry(err error, after time.Duration) error { return &Unavailable{Err: err, After: after} }

// RetryAfter reports whether a run that ended with err may be retried, and
// after which delay; 0 means the worker's backoff.
func RetryAfter(err error) (after time.Duration, ok bool) {
	u, ok := errors.AsType[*Unavailable](err)
	if !ok {
		return 0, false
	}
	return u.After, true
}

// ended is an error with the status of the call.
type ended struct {
	status  events.Status
	message string
}

func (e *ended) Error() string         { return e.message }
func (e *ended) Status() events.Status { return e.status }

// End returns an error that ends a call with the given status: too_large,
// crashed, unknown, refused. The model reads the message.
func End(status events.Status, format string, args ...any) error {
	return &ended{status, fmt.Sprintf(format, args...)}
}

// StatusOf returns the status of a call whose last run ended with err: the
// result of the error's Status method, or the status for its kind of error.
func StatusOf(err error) events.Status {
	var says interface{ Status() events.Status }
	switch {
	case err == nil:
		return events.StatusOK
	case errors.As(err, &says):
		return says.Status()
	case errors.Is(err, context.DeadlineExceeded):
		return events.StatusTimeout
	case errors.Is(err, context.Canceled):
		return events.StatusCancelled
	}
	return events.StatusFailed
}
