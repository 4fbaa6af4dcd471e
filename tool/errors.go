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

// errorBytes is how much of an error the model reads that was not written for
// it, in bytes.
const errorBytes = 4 << 10

// Fail makes an error that the model reads as it is: say what happened, to what,
// and what to do next. The call is not run again.
func Fail(format string, args ...any) error { return contract.Fail(format, args...) }

// Retry makes an error that may pass: the call is run again after that time, or
// after one that grows with each run when it is 0. A [Once] tool is not run
// again, and after the last run the model reads err.
func Retry(err error, after time.Duration) error {
	if err == nil {
		err = errors.New("it is not available now")
	}
	return contract.Retry(err, max(after, 0))
}

// readable is what the model may read of the error of a function, and what the
// worker needs to know of it.
func readable(ctx context.Context, name string, err error) error {
	if f, ok := errors.AsType[*contract.Failure](err); ok && err.Error() != "" {
		if text := strings.ToValidUTF8(err.Error(), "\uFFFD"); text != f.Message {
			return contract.Fail("%s", text) // it was wrapped: what is around it counts
		}
		return f
	}
	if status := contract.StatusOf(err); status != events.StatusFailed && status != events.StatusTimeout && status != events.StatusCancelled {
		return err // [Ask] says how the call ends
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
	// A deadline of its own is a failure: the call was neither cancelled nor out
	// of time.
	return contract.Fail("%s", text)
}

// stopped is the error of a function whose context had ended.
type stopped struct {
	text string
	err  error
}

func (s *stopped) Error() string { return s.text }
func (s *stopped) Unwrap() error { return s.err }

// clip cuts a text to errorBytes, and says so.
func clip(text string) string {
	if len(text) <= errorBytes {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return strings.ToValidUTF8(text[:errorBytes], "") + fmt.Sprintf("… (the first %d of %d bytes)", errorBytes, len(text))
}
