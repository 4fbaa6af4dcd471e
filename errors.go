package parley

import (
	"errors"
	"fmt"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// Code is the kind of an error. Codes are stable; texts are not.
type Code string

// The codes of errors.
const (
	// CodeNoServer: no NATS server answers, or it refuses the credentials.
	CodeNoServer Code = "no_server"
	// CodeNotSetUp: the server has no Parley streams yet.
	CodeNotSetUp Code = "not_set_up"
	// CodeNoOrchestrator: the input is stored, and no orchestrator runs to answer
	// it. It is answered when one starts.
	CodeNoOrchestrator Code = "no_orchestrator"
	// CodeNoWorker: no worker serves what was requested.
	CodeNoWorker Code = "no_worker"
	// CodeNotStored: the server cannot store messages, for instance because its
	// disk is full.
	CodeNotStored Code = "not_stored"
	// CodeNoAnswer: an orchestrator runs and did not answer in time.
	CodeNoAnswer Code = "no_answer"
	// CodeRefused: the orchestrator refused an input; the error is an [AnswerError].
	CodeRefused Code = "refused"
	// CodeInvalid: an argument is wrong, such as an id that is not a UUID.
	CodeInvalid Code = "invalid"
	// CodeNotFound: there is no such conversation, call or tool.
	CodeNotFound Code = "not_found"
	// CodeDeleted: the conversation was deleted.
	CodeDeleted Code = "deleted"
	// CodeCursorExpired: the log does not hold what follows a cursor any more; the
	// error is a [CursorExpiredError].
	CodeCursorExpired Code = "cursor_expired"
	// CodeUnknown: any other error.
	CodeUnknown Code = "unknown"
)

// Error is an error with a code.
type Error struct {
	Code Code
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error behind it.
func (e *Error) Unwrap() error { return e.Err }

func errorf(code Code, format string, args ...any) error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// AnswerError reports that the orchestrator did not accept an input.
type AnswerError struct {
	// Answer has the reason, and the answers for each call of a [Verdict].
	Answer *InputAnswered
	// Dropped reports that a Cancel took the message off the queue.
	Dropped bool
}

// Error implements error.
func (e *AnswerError) Error() string {
	reason := e.Answer.Reason
	for _, c := range e.Answer.Calls {
		if c.Answer != events.AnswerAccepted && reason == "" {
			reason = c.Reason
		}
	}
	if reason == "" {
		return string(e.Answer.Answer)
	}
	return string(e.Answer.Answer) + ": " + reason
}

// CursorExpiredError reports that the log does not hold what follows a cursor, or
// its own beginning, any more. Its Resume is the cursor to continue from;
// [Conversation.Messages] still has inputs, decisions and results in
// between. OtherLog reports that the cursor is of a stream that was deleted.
type CursorExpiredError = bus.ExpiredError

// CodeOf returns the code of an error: that of the first error in its chain that
// has one, [CodeUnknown] when none has, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if _, ok := errors.AsType[*AnswerError](err); ok {
		return CodeRefused
	}
	if _, ok := errors.AsType[*bus.BadCursorError](err); ok {
		return CodeInvalid
	}
	switch {
	case errors.Is(err, bus.ErrCursorExpired):
		return CodeCursorExpired
	case bus.NotStored(err):
		return CodeNotStored
	case errors.Is(err, bus.ErrNotSetUp):
		return CodeNotSetUp
	}
	return CodeUnknown
}

func connectError(err error) error {
	if errors.Is(err, bus.ErrNotSetUp) {
		return &Error{CodeNotSetUp, err}
	}
	return &Error{CodeNoServer, err}
}

// accepted returns an [AnswerError] unless the answer is one of these.
func accepted(a *InputAnswered, also ...Answer) error {
	if a.Answer == events.AnswerAccepted {
		return nil
	}
	for _, ok := range also {
		if a.Answer == ok {
			return nil
		}
	}
	if a.Answer == events.AnswerDeleted {
		return &Error{CodeDeleted, &AnswerError{Answer: a}}
	}
	return &AnswerError{Answer: a}
}
