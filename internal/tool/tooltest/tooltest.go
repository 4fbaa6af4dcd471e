// Package tooltest helps to test tools: it runs one as a worker does, and
// checks how it failed.
package tooltest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// Run calls a tool and returns the text that the model reads.
func Run(t *testing.T, it tool.Tool, args string) (string, error) {
	t.Helper()
	result, err := it.Run(t.Context(), tool.Input{Call: "c1", Arguments: json.RawMessage(args)})
	return result.Content, err
}

// Failed checks that err is a [tool.Failure], whose text the model reads.
func Failed(t *testing.T, err error, text string) {
	t.Helper()
	if f, ok := errors.AsType[*tool.Failure](err); !ok || !strings.Contains(f.Message, text) {
		t.Fatalf("got %v, want a failure with %q", err, text)
	}
}

// Ended checks that err is a failure, or an end with the status too_large or
// crashed, of at most the given number of bytes.
func Ended(t *testing.T, err error, text string, most int) {
	t.Helper()
	_, failed := errors.AsType[*tool.Failure](err)
	switch tool.StatusOf(err) {
	case events.StatusTooLarge, events.StatusCrashed:
		failed = true
	}
	if !failed || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v, want a failure with %q", err, text)
	}
	if len(err.Error()) > most {
		t.Fatalf("the failure has %d bytes", len(err.Error()))
	}
}
