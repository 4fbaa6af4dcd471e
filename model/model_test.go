package model_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/model"
)

func TestMain(m *testing.M) {
	// nats-server leaves it behind for a while when it stops.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

// streamed is what a function's provider yields: the types of its events, the last
// one whole, and the error beside it.
func streamed(t *testing.T, answer model.AnswerFunc) (types []string, end *parley.GenerationEnded, err error) {
	t.Helper()
	for e, problem := range model.Func("f", answer).Stream(t.Context(), model.Request{}) {
		if end != nil {
			t.Fatalf("%s follows the end", e.Type())
		}
		types = append(types, e.Type())
		if last, ok := e.(*parley.GenerationEnded); ok {
			end, err = last, problem
		}
	}
	return types, end, err
}

func TestAFunctionStreamsBlocksAndEndsOnce(t *testing.T) {
	tokens := int64(7)
	types, end, err := streamed(t, func(_ context.Context, _ model.Request, w *model.Writer) error {
		w.Reasoning("hm")
		w.Text("a")
		w.Text("b")
		w.Call("f", json.RawMessage(`{}`))
		w.Call("f", json.RawMessage(`{}`))
		w.Used(model.Usage{OutputTokens: &tokens})
		return nil
	})
	want := []string{"ReasoningChunk", "TextChunk", "TextChunk", "ToolCallStart", "ToolCallDelta", "ToolCallEnd", "ToolCallStart", "ToolCallDelta", "ToolCallEnd", "GenerationEnded"}
	if len(types) != len(want) {
		t.Fatalf("the events are %v", types)
	}
	for i := range want {
		if types[i] != want[i] {
			t.Fatalf("the events are %v", types)
		}
	}
	if err != nil || end.Finish != parley.FinishToolCalls || !end.Terminated || end.Usage == nil || *end.Usage.OutputTokens != 7 {
		t.Errorf("the end is %+v, %v", end, err)
	}
}

func TestAFunctionThatFailsEndsWithTheClassOfItsError(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want parley.FailureClass
	}{
		{"a failure of its own", &model.Failure{Class: parley.FailureRateLimited, Message: "slow down"}, parley.FailureRateLimited},
		{"any other error", errors.New("out of order"), parley.FailureInternal},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, end, err := streamed(t, func(context.Context, model.Request, *model.Writer) error { return c.err })
			if end == nil || end.Error == nil || end.Error.Class != c.want || err == nil {
				t.Errorf("the end is %+v, %v", end, err)
			}
		})
	}
}

func TestWhatCannotBeServedIsReportedBeforeAnythingIsServed(t *testing.T) {
	f := model.Func("f", nil)
	for name, providers := range map[string][]model.Served{
		"no provider":            nil,
		"an empty one":           {{}},
		"a name that is no name": {{Provider: model.Func("a b", nil)}},
		"one name twice":         {{Provider: f}, {Provider: f}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := model.Serve(t.Context(), parley.Config{URL: "nats://127.0.0.1:1"}, providers...); err == nil {
				t.Error("it was served")
			}
		})
	}
}
