package conformance_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/catalog"
)

// generate runs the Go llm-worker with a model that does what parameters.extra says:
// docs/checklists/llm-worker.md.
func generate(ctx context.Context) error {
	b, err := bus.Connect(ctx, bus.Environment(bus.Getenv), nil)
	if err != nil {
		return err
	}
	defer b.Close()
	b.WithoutConsumers()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	models := &catalog.Catalog{Default: "told/one", Entries: map[string]catalog.Entry{"told": {Model: "one", Provider: llm.Guard(told{}, time.Minute)}}}
	role := llmworker.Role(daemon.Config{Name: os.Getenv("PARLEY_NAME"), Slots: 4}, log, models, nil)
	return daemon.RunRoles(ctx, b, []daemon.Role{role}, func() {})
}

// told is a provider whose answers are told by the request.
type told struct{}

// Name implements [llm.Provider].
func (told) Name() string { return "told" }

// Capabilities implements [llm.Provider].
func (told) Capabilities(string) llm.Capabilities {
	return llm.Capabilities{Tools: true, StreamTools: true}
}

// Stream implements [llm.Provider].
func (told) Stream(ctx context.Context, req llm.Request) llm.Stream {
	var do struct {
		Pause int64             `json:"pause_ms"`
		Fail  events.ErrorClass `json:"fail"`
		Cut   bool              `json:"cut"`
		Call  *struct {
			Tool      string          `json:"tool"`
			Arguments json.RawMessage `json:"arguments"`
		} `json:"call"`
	}
	extra, err := json.Marshal(req.Parameters.Extra)
	if err == nil {
		err = json.Unmarshal(extra, &do)
	}
	return func(yield func(events.Event, error) bool) {
		w := llm.NewWriter(yield)
		switch {
		case err != nil:
			w.End(events.GenerationEnded{Error: &events.Error{Class: events.ErrInvalidRequest, Message: err.Error()}})
			return
		case do.Fail != "":
			w.End(events.GenerationEnded{Error: &events.Error{Class: do.Fail, Message: "the model was told to fail"}})
			return
		}
		w.Text("text", "One piece, ")
		select {
		case <-ctx.Done():
			w.End(events.GenerationEnded{Error: llm.FromRead(ctx, ctx.Err())})
			return
		case <-time.After(time.Duration(do.Pause) * time.Millisecond):
		}
		if do.Call != nil {
			arguments := string(do.Call.Arguments)
			w.CallStart("call", "provider_1", do.Call.Tool, false)
			w.CallDelta("call", arguments[:len(arguments)/2])
			if !do.Cut {
				w.CallDelta("call", arguments[len(arguments)/2:])
				w.CallEnd("call")
			}
		}
		if do.Cut {
			w.End(events.GenerationEnded{}) // without a terminal sign
			return
		}
		w.Text("text", "and another.")
		w.End(events.GenerationEnded{Finish: events.FinishStop, FinishWord: "stop", Terminated: true})
	}
}
