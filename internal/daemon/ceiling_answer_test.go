package daemon_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

// endless is a provider whose answers never end: it yields what next returns until
// its consumer stops.
type endless struct{ next func(n int) events.Event }

func (endless) Name() string { return "endless" }
func (endless) Capabilities(string) llm.Capabilities {
	return llm.Capabilities{Tools: true, StreamTools: true}
}
func (p endless) Stream(ctx context.Context, r llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		for n := 0; ctx.Err() == nil; n++ {
			if !yield(p.next(n), nil) {
				return
			}
		}
		yield(&events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: events.ErrCancelled, Message: "stopped"}}, nil)
	}
}

// provider runs an llm-worker with a provider of the test's.
func (d *deployment) provider(p llm.Provider) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker.LLM{Bus: d.Bus, Name: "endless", Log: d.log, Routes: map[string]worker.Route{p.Name(): {Provider: llm.Guard(llm.Fallback(p), time.Minute), Model: "m"}}}
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx, p.Name()+"/m") }()
	d.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			d.t.Error(err)
		}
	})
	if err := d.Presence().Announce(d.t.Context(), w.Offers(p.Name()+"/m")); err != nil {
		d.t.Fatal(err)
	}
}

// TestAnEndlessAnswerEndsItsTurn: whatever a provider sends without end, the turn
// fails with the code of the ceiling and is not retried.
func TestAnEndlessAnswerEndsItsTurn(t *testing.T) {
	piece := strings.Repeat("x", 16<<10)
	for _, c := range []struct {
		name, code string
		next       func(n int) events.Event
	}{
		{"text", ceilings.CodeAnswerBytes, func(int) events.Event { return &events.TextChunk{Text: piece} }},
		{"reasoning", ceilings.CodeAnswerBytes, func(n int) events.Event { return &events.ReasoningChunk{Text: piece, Summary: n%2 == 0} }},
		{"reasoning to send back", ceilings.CodeAnswerBytes, func(int) events.Event { return &events.ReasoningChunk{Carry: []byte(`"` + piece + `"`)} }},
		{"blocks of one byte", ceilings.CodeAnswerBytes, func(n int) events.Event { return &events.TextChunk{Block: n, Text: "x"} }},
		{"arguments", ceilings.CodeArgumentBytes, func(n int) events.Event {
			if n == 0 {
				return &events.ToolCallStart{Name: "now"}
			}
			return &events.ToolCallDelta{Arguments: piece}
		}},
		{"calls", ceilings.CodeAnswerCalls, func(n int) events.Event {
			if n%2 == 0 {
				return &events.ToolCallStart{Block: n / 2, Name: "now"}
			}
			return &events.ToolCallEnd{Block: n / 2}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := serve(t)
			d.provider(endless{c.next})
			d.run(d.orchestrator("orchestrator"))
			conversation := newID(t)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, end, err := d.tryTurn(ctx, conversation, "go")
			if err != nil {
				d.answersCancel(conversation)
				t.Fatalf("the turn does not end: %v", err)
			}
			if end.Outcome != events.OutcomeFailed || end.Reason != c.code || end.Error == nil || end.Error.Code != c.code || end.Error.Class != events.ErrCeiling {
				t.Errorf("the turn ended as %s, reason %s, error %+v; want failed, %s", end.Outcome, end.Reason, end.Error, c.code)
			}
			if end.Steps != 1 {
				t.Errorf("%d steps", end.Steps)
			}
			d.oneGeneration(conversation)
		})
	}
}

// answersCancel reports how long a Cancel of the turn takes to be answered.
func (d *deployment) answersCancel(conversation string) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	began, id := time.Now(), newID(d.t)
	if _, err := d.Conversation(conversation).Publish(ctx, id, &events.Cancel{ID: id}); err != nil {
		d.t.Errorf("the cancel cannot be published: %v", err)
		return
	}
	// The turn lane alone: the inputs of the conversation may be many and large.
	lane := topology.At(d.Shards(), conversation, events.ChannelTurn).Subject(topology.Conv)
	for found := false; !found; {
		err := d.Shard(0).Read(ctx, 0, lane, func(m bus.Message) error {
			found = found || answerTo(m, id) != nil
			return nil
		})
		if err != nil || !found && !bus.Pause(ctx, 20*time.Millisecond) {
			d.t.Errorf("the cancel has no answer after %s: %v", time.Since(began), err)
			return
		}
	}
	d.t.Logf("the cancel was answered after %s", time.Since(began))
}

// answerTo returns the answer to an input in a message; nil when it has none.
func answerTo(m bus.Message, input string) *events.InputAnswered {
	for _, l := range m.Lines {
		if dec, ok := l.Event.(*events.Decision); ok {
			for _, l := range dec.Events {
				if a, ok := l.Event.(*events.InputAnswered); ok && a.Input == input {
					return a
				}
			}
		}
	}
	return nil
}

// oneGeneration checks that the conversation has one generation with one attempt,
// and that its calls all have an end.
func (d *deployment) oneGeneration(conversation string) {
	d.t.Helper()
	started, open := 0, map[int]bool{}
	lane := topology.At(d.Shards(), conversation, events.ChannelGen).Subject(topology.Conv)
	err := d.Shard(0).Read(d.t.Context(), 0, lane, func(m bus.Message) error {
		for _, l := range m.Lines {
			switch e := l.Event.(type) {
			case *events.GenerationStarted:
				started++
			case *events.ToolCallStart:
				open[e.Block] = true
			case *events.ToolCallEnd:
				delete(open, e.Block)
			}
		}
		return nil
	})
	if err != nil || started != 1 || len(open) > 0 {
		d.t.Errorf("%d attempts, %d calls without an end, %v", started, len(open), err)
	}
}

// TestAWorkerWithoutCeilingsEndsItsTurn: a worker of another program writes to the
// lane without end. The orchestrator ends the turn.
func TestAWorkerWithoutCeilingsEndsItsTurn(t *testing.T) {
	d := serve(t)
	d.run(d.orchestrator("orchestrator"))
	conversation := newID(t)
	settings := newID(t)
	if _, err := d.Conversation(conversation).Publish(t.Context(), settings, &events.Settings{ID: settings, Route: "nobody/m"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	writing := make(chan error, 1)
	go func() {
		generation := ""
		for m, err := range d.Conversation(conversation).Attach(ctx, bus.From{}) {
			if err != nil {
				writing <- err
				return
			}
			for _, l := range m.Lines {
				if dec, ok := l.Event.(*events.Decision); ok && dec.State.Generation != "" {
					generation = dec.State.Generation
				}
			}
			if generation != "" {
				break
			}
		}
		a := topology.At(d.Shards(), conversation, events.ChannelGen)
		lane := d.Lane(a).Open(ctx, 0)
		start := &events.GenerationStarted{Generation: generation, Worker: "other"}
		start.Stamp("a", 0)
		err := lane.Append(start)
		for n := 1; err == nil && n < 4096; n++ {
			chunk := &events.TextChunk{Text: strings.Repeat("y", 16<<10)}
			chunk.Stamp("a", n)
			err = lane.Append(chunk)
		}
		_, closed := lane.Close()
		writing <- errors.Join(err, closed)
	}()
	_, end, err := d.tryTurn(ctx, conversation, "go")
	if err != nil {
		t.Fatalf("the turn does not end: %v", err)
	}
	if end.Outcome != events.OutcomeFailed || end.Reason != ceilings.CodeAnswerBytes {
		t.Errorf("the turn ended as %s, reason %s, error %v", end.Outcome, end.Reason, end.Error)
	}
	if err := <-writing; err != nil {
		t.Error(err)
	}
}
