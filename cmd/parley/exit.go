package main

import (
	"errors"
	"fmt"

	"github.com/parleybus/parley"
)

// Exit codes. They are part of the interface: scripts depend on them.
const (
	exitOK        = 0
	exitFailed    = 1 // the turn failed, or the command did
	exitUsage     = 2 // wrong flags or arguments
	exitLimit     = 3 // the turn ended at a limit
	exitCancelled = 4 // the turn was cancelled
	exitNobody    = 5 // no server, or no workers to answer
	exitUnowned   = 6 // no orchestrator
	exitNotStored = 7 // the server stores nothing, or the orchestrator cannot write
)

const exitCodes = `Exit codes: 0 completed, 1 failed, 2 wrong usage, 3 ended at a limit,
4 cancelled, 5 no server or no workers, 6 no orchestrator, 7 messages cannot be
stored.`

// exitError is an error whose exit code follows from no [parley.Code].
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage is an error of the command line's flags or arguments.
func usage(err error) error { return &parley.Error{Code: parley.CodeInvalid, Err: err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// codeOf is the exit code of an error, by its type.
func codeOf(err error) int {
	if err == nil || errors.Is(err, errBrokenPipe) {
		return exitOK
	}
	if own, ok := errors.AsType[*exitError](err); ok {
		return own.code
	}
	switch parley.CodeOf(err) {
	case parley.CodeInvalid:
		return exitUsage
	case parley.CodeNoServer, parley.CodeNotSetUp, parley.CodeNoWorker:
		return exitNobody
	case parley.CodeNoOrchestrator:
		return exitUnowned
	case parley.CodeNotStored, parley.CodeNoAnswer:
		return exitNotStored
	}
	return exitFailed
}

// exitOf returns the exit code of a turn's end. The renderer has printed what
// happened, unless --quiet was given.
func exitOf(end *parley.TurnEnded, quiet bool) error {
	code := exitFailed
	switch end.Outcome {
	case parley.OutcomeCompleted:
		return nil
	case parley.OutcomeLimit:
		code = exitLimit
	case parley.OutcomeCancelled:
		code = exitCancelled
	}
	e := &exitError{code: code}
	if quiet {
		why := end.Reason
		if end.Error != nil {
			why = end.Error.Error()
		}
		e.err = fmt.Errorf("the turn ended as %s: %s", end.Outcome, why)
	}
	return e
}
