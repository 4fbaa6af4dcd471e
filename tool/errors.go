package tool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	contract "github.com/parleybus/parley/internal/tool"
)

// errorBytes bounds the part of an ordinary error that the model reads, in
// bytes.
const errorBytes = 4 << 10

// Fail returns an error whose text the model reads unchanged: say what
// happened, to what, and what to do next. The call is not retried.
func Fail(format string, args ...any) error { return contract.Fail(format, args...) }

// Retry returns a transient error: the call is retried after the given delay,
// or, if it is 0, after a backoff that grows with each retry. A [Once] tool is
// not retried. After the last retry the model reads err.
func Retry(err error, after time.Duration) error {
	if err == nil {
		err = errors.New("it is not available now")
	}
	return contract.Retry(err, max(after, 0))
}

// readable converts the error of a function to one with the text that the model
// may read, and the status that the worker needs.
func readable(ctx context.Context, name string, err error) error {
	if f, ok := errors.AsType[*contract.Failure](err); ok && err.Error() != "" {
		if text := strings.ToValidUTF8(err.Error(), "\uFFFD"); text != f.Message {
			return contract.Fail("%s", text) // it was wrapped: the outer text counts
		}
		return f
	}
	if status := contract.StatusOf(err); status != events.StatusFailed && status != events.StatusTimeout && status != events.StatusCancelled {
		return err // the error of [Ask] has the status
	}
	text := clip(err.Error())
	if text == "" {
		text = "the tool " + name + " failed and did not say why"
	}
	if after, ok := contract.RetryAfter(err); ok {
		return contract.Retry(errors.New(text), after)
	}
	if ctx.Err() != nil {
		return &stopped{text, err}
	}
	// The function's own deadline is a failure: the call was neither cancelled
	// nor timed out.
	return contract.Fail("%s", text)
}

// stopped returns the error of a function whose context has ended.
type stopped struct {
	text string
	err  error
}

func (s *stopped) Error() string { return s.text }
func (s *stopped) Unwrap() error { return s.err }

// clip cuts a text to errorBytes and appends a note that it was cut.
func clip(text string) string {
	if len(text) <= errorBytes {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return strings.ToValidUTF8(text[:errorBytes], "") + fmt.Sprintf("… (the first %d of %d bytes)", errorBytes, len(text))
}
