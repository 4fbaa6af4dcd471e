package llm_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func TestAnAcceptedBodyKnowsWhyItEnds(t *testing.T) {
	idle := &events.Error{Class: events.ErrIdle, Message: "nothing came"}
	broke := errors.New("connection reset by peer")
	cases := []struct {
		name   string
		end    error // of the body
		cancel error // nil: not cancelled
		class  events.ErrorClass
	}{
		{"an end in order is one", io.EOF, nil, ""},
		{"a connection that breaks is the network's", broke, nil, events.ErrNetwork},
		{"a cancel counts before what it does to the connection", broke, errors.New("stop"), events.ErrCancelled},
		{"a cancelled body has no end in order", io.EOF, errors.New("stop"), events.ErrCancelled},
		{"the reason of a cancel is kept", broke, idle, events.ErrIdle},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			res := &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader("said"), iotest.ErrReader(c.end)))}
			body, failed := llm.Accept(ctx, res)
			if failed != nil {
				t.Fatal(failed)
			}
			if c.cancel != nil {
				cancel(c.cancel)
			}
			said, err := io.ReadAll(body)
			var class events.ErrorClass
			if e, ok := errors.AsType[*events.Error](err); ok {
				class = e.Class
			}
			if string(said) != "said" || class != c.class || (err == nil) != (class == "") {
				t.Errorf("%q with error %v, want class %q", said, err, c.class)
			}
		})
	}
}

func TestARefusalThatCannotBeReadIsStillOne(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		res := &http.Response{StatusCode: 401, Header: http.Header{"X-Request-Id": {"r1"}}, Body: io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))}
		want := events.ErrAuth
		if cancelled {
			cancel()
			want = events.ErrCancelled
		}
		_, failed := llm.Accept(ctx, res)
		if failed == nil || failed.Class != want || strings.Contains(failed.Message, "(request r1)") == cancelled {
			t.Errorf("cancelled %v, the error is %v", cancelled, failed)
		}
		cancel()
	}
}
