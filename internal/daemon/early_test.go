package daemon_test

import (
	"context"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// halting is a provider that stops after each call that it has written, until the
// gate opens.
type halting struct {
	llm.Provider
	gate chan struct{}
}

// Stream implements [llm.Provider].
func (h *halting) Stream(ctx context.Context, req llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		for e, err := range h.Provider.Stream(ctx, req) {
			if !yield(e, err) {
				return
			}
			if _, ended := e.(*events.ToolCallEnd); !ended {
				continue
			}
			select {
			case <-h.gate:
			case <-ctx.Done():
				return
			}
		}
	}
}

// halts returns a stage whose model halts after each call, and a function that stops
// its llm-worker.
func halts(t *testing.T, arguments ...string) (s *stage, model *halting, stop func()) {
	t.Helper()
	s = withoutModels(t)
	model = &halting{gate: make(chan struct{})}
	stop = s.halting("models", model, callsScript("hold", arguments...))
	return s.begin(&events.Settings{System: "call it"}), model, stop
}

func (s *stage) halting(name string, model *halting, script string) (stop func()) {
	role, recorder := s.recorded(name, script)
	model.Provider, recorder.Provider = recorder.Provider, model
	return s.run(role)
}

func (s *stage) goes() {
	s.sendNew(s.conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
}

func TestAPureCallRunsWhileTheModelStillWrites(t *testing.T) {
	s, model, _ := halts(t, `{"as":"42"}`, `{"as":"43"}`)
	s.goes()
	s.until("a result, while the answer is not complete", func(e events.Event) bool {
		if _, complete := e.(*events.AssistantMessage); complete {
			t.Fatal("the answer is complete before its first call has a result")
		}
		r, is := e.(*events.ToolResult)
		return is && r.Content == "42"
	})
	close(model.gate)
	var calls int
	s.until("the end", func(e events.Event) bool {
		if _, is := e.(*events.ToolCallRequested); is {
			calls++
		}
		end, is := e.(*events.TurnEnded)
		return is && end.Outcome == events.OutcomeCompleted
	})
	if calls != 1 {
		t.Errorf("%d calls were requested after the first, want the second", calls)
	}
}

func TestTheCallsOfAWorkerThatStopsAreStoppedAndMadeAgain(t *testing.T) {
	s, _, stop := halts(t, `{"as":"run"}`)
	s.goes()
	var first string
	s.until("the start of the call", func(e events.Event) bool {
		started, is := e.(*events.ToolStarted)
		if is {
			first = started.Call
		}
		return is
	})
	next := &halting{gate: make(chan struct{})}
	close(next.gate)
	s.halting("next", next, callsScript("hold", `{"as":"again"}`))
	stop()
	s.until("the end of the first worker's call", func(e events.Event) bool {
		refused, is := e.(*events.ToolCallRefused)
		return is && refused.Call == first && refused.Status == events.StatusSuperseded
	})
	s.hold.wait(t)
	s.until("the end", func(e events.Event) bool {
		end, is := e.(*events.TurnEnded)
		return is && end.Outcome == events.OutcomeCompleted
	})
}
