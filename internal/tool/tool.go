// Package tool runs what models call: the contract of a tool, the registry of
// those a worker serves, the check of their arguments, and a few built-in
// tools that are safe to offer to anyone.
package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Tool is something that a model can call. It is safe for concurrent use.
type Tool interface {
	// Spec tells what the tool is called, takes and does to the world. It is
	// always the same.
	Spec() events.ToolSpec
	// Run runs one call until it is done or ctx is. Input.Arguments are valid
	// against the tool's schema. The error is one of [Fail] and [Retry], ctx's
	// own, or any other, which counts as a failure with its text.
	Run(ctx context.Context, in Input) (Result, error)
}

// Input is one call of a tool.
type Input struct {
	// Call is the id of the call: the key of effects that must not happen twice.
	Call string
	// Conversation and Turn are whose call it is.
	Conversation, Turn string
	// Arguments is a whole JSON object.
	Arguments json.RawMessage
	// Output takes text for people who watch while the tool runs; the model
	// never sees it. nil when nobody does.
	Output func(text string)
	// Ask asks a person in the middle of the call and waits for the answer; nil
	// when nobody can be asked.
	Ask func(ctx context.Context, q Question) (Answer, error)
}

// Question is what a tool asks a person in the middle of a call.
type Question struct {
	Message string
	// Schema is the JSON Schema of the answer's data; nil asks for yes or no.
	Schema json.RawMessage
}

// Answer is what the person said.
type Answer struct {
	Declined bool
	Content  json.RawMessage // the data, a JSON object; nil for a yes
}

// Print hands text to Output, if there is one.
func (in Input) Print(format string, args ...any) {
	if in.Output != nil {
		in.Output(fmt.Sprintf(format, args...))
	}
}

// Decode reads the arguments into a struct. It does not refuse unknown fields:
// that is the schema's to say.
func (in Input) Decode(into any) error {
	if err := json.Unmarshal(events.Arguments(string(in.Arguments)), into); err != nil {
		return Fail("the arguments do not fit the tool: %v", err)
	}
	return nil
}

// Result is what a call came to.
type Result struct {
	// Content is what the model reads, valid UTF-8.
	Content string
	// Structured is the result as JSON, for programs; nil when there is none. One
	// that does not fit the spec's Output makes the call fail.
	Structured json.RawMessage
	// Attachments are images and files; they are stored by reference.
	Attachments []Attachment
}

// Attachment is something that a tool gives besides text.
type Attachment struct {
	Name string // name or URI
	MIME string // media type
	Data []byte
}

// Failure is an error that the model reads and can act on.
type Failure struct{ Message string }

// Error implements error.
func (f *Failure) Error() string { return f.Message }

// Fail makes a [Failure]. The message says what happened, to what, and what to
// do next.
func Fail(format string, args ...any) error {
	return &Failure{Message: fmt.Sprintf(format, args...)}
}

// Unavailable is an error that may pass: the same call may be run again, if the
// tool's effect class allows it.
type Unavailable struct {
	Err   error
	After time.Duration // how long to wait; 0 leaves it to the worker
}

// Error implements error.
func (u *Unavailable) Error() string { return u.Err.Error() }

// Unwrap gives the cause.
func (u *Unavailable) Unwrap() error { return u.Err }

// Retry makes an [Unavailable].
func Retry(err error, after time.Duration) error { return &Unavailable{Err: err, After: after} }

// RetryAfter reports whether a run that ended in err may be run again, and
// after how long; 0 leaves it to the worker.
func RetryAfter(err error) (after time.Duration, ok bool) {
	u, ok := errors.AsType[*Unavailable](err)
	if !ok {
		return 0, false
	}
	return u.After, true
}

// ended is an error that says how the call ended.
type ended struct {
	status  events.Status
	message string
}

func (e *ended) Error() string         { return e.message }
func (e *ended) Status() events.Status { return e.status }

// End makes an error that ends a call with a status of its own: too_large,
// crashed, unknown, refused. The model reads the message.
func End(status events.Status, format string, args ...any) error {
	return &ended{status, fmt.Sprintf(format, args...)}
}

// StatusOf is how a call ended whose run, without further tries, ended in err:
// what an error with a Status method says, or what kind of error it is.
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
