// Package tooltest helps to test tools: to run one as a worker does, and to tell
// how it failed.
package tooltest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// Run calls a tool and gives what the model reads.
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

// Ended checks that err is a failure, or one of the ends that have a status of
// their own, too large and crashed, in so many bytes at most.
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
