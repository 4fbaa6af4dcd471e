package conformance

import (
	"context"
	"reflect"
	"sync"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/recording"
)

func (c Case) answer(t *testing.T) {
	p, _ := c.start(t, c.calls())
	checkContent(t, read(t, p.Stream(t.Context(), c.Calls)))
	pieces := 0
	for e := range p.Stream(t.Context(), c.Calls) {
		if _, text := e.(*events.TextChunk); text {
			pieces++
		}
	}
	if pieces < 2 {
		t.Errorf("%d pieces of text: they are held back", pieces)
	}
}

// checkContent compares an answer with the content of the [Case].
func checkContent(t *testing.T, got recording.Answer) {
	t.Helper()
	if got.Text != Text || len(got.Calls) != 1 || got.Calls[0].Name != Tool || got.Calls[0].Arguments != Arguments || got.Calls[0].Invalid != "" {
		t.Errorf("the answer is %q with calls %+v", got.Text, got.Calls)
	}
	if got.End.Error != nil || got.End.Finish != events.FinishToolCalls || !got.End.Terminated {
		t.Errorf("the end is %+v", got.End)
	}
}

func (c Case) whole(t *testing.T) {
	p, _ := c.start(t, c.calls())
	streamed := read(t, p.Stream(t.Context(), c.Calls))
	req := c.Calls
	req.Whole = true
	p, s := c.start(t, answer{contentType: "application/json", body: c.bodies().Whole})
	whole := read(t, p.Stream(t.Context(), req))
	checkContent(t, whole)
	for _, a := range []recording.Answer{streamed, whole} {
		a.Calls[0].ProviderID, a.Calls[0].Carry = "", "" // they may differ from answer to answer
		a.End.ResponseID = ""
	}
	if !reflect.DeepEqual(streamed, whole) {
		t.Errorf("streamed it is\n%+v with end %+v, whole\n%+v with end %+v", streamed, streamed.End, whole, whole.End)
	}
	if s != nil {
		if _, stream := s.asked(t, c); stream {
			t.Error("the server is asked for a stream")
		}
	}
}

func (c Case) stopAnywhere(t *testing.T) {
	p, _ := c.start(t, c.calls())
	all := 0
	for range p.Stream(t.Context(), c.Calls) {
		all++
	}
	for stop := 1; stop <= all; stop++ {
		n := 0
		p.Stream(t.Context(), c.Calls)(func(events.Event, error) bool {
			n++
			return n < stop
		})
		if n != stop {
			t.Errorf("%d events came after a stop at %d", n, stop)
		}
	}
}

func (c Case) manyAtOnce(t *testing.T) {
	p, _ := c.start(t, c.calls())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got := recording.Collect(p.Stream(t.Context(), c.Calls))
			if len(got.Broken) > 0 || got.Text != Text || len(got.Calls) != 1 || got.End.Error != nil {
				t.Errorf("the answer is %+v with end %+v", got, got.End)
			}
		})
	}
	wg.Wait()
}

func (c Case) cancelledBefore(t *testing.T) {
	p, s := c.start(t, c.calls())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := read(t, p.Stream(ctx, c.Calls))
	failed(t, got, events.ErrCancelled)
	if got.Text != "" || len(got.Calls) > 0 {
		t.Errorf("the answer is %+v", got)
	}
	if s != nil && s.requests() > 0 {
		t.Error("the server is asked")
	}
}

func (c Case) cancelledInside(t *testing.T) {
	p, s := c.start(t, c.stalled())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := read(t, untilText(ctx, p, c.Stalled, cancel))
	failed(t, got, events.ErrCancelled)
	if got.Text != Beginning || got.End.Terminated {
		t.Errorf("the answer is %q with end %+v", got.Text, got.End)
	}
	s.disconnected(t)
}

func (c Case) cancelledWithReason(t *testing.T) {
	p, s := c.start(t, c.stalled())
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	reason := &events.Error{Class: events.ErrIdle, Message: "nothing came for 90 s"}
	got := read(t, untilText(ctx, p, c.Stalled, func() { cancel(reason) }))
	if err := failed(t, got, events.ErrIdle); *err != *reason {
		t.Errorf("the error is %v, want %v", err, reason)
	}
	s.disconnected(t)
}

func (c Case) stopInside(t *testing.T) {
	p, s := c.start(t, c.stalled())
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	for e := range p.Stream(ctx, c.Stalled) {
		if _, text := e.(*events.TextChunk); text {
			break
		}
	}
	if ctx.Err() != nil {
		t.Error("the text did not come before the end of the answer")
	}
	s.disconnected(t)
}
