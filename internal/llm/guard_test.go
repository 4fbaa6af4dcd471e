package llm_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider is a provider whose answers a test writes.
type provider struct {
	can    llm.Capabilities
	answer func(ctx context.Context, req llm.Request, yield func(events.Event, error) bool)
}

func (p provider) Name() string                         { return "test" }
func (p provider) Capabilities(string) llm.Capabilities { return p.can }
func (p provider) Stream(ctx context.Context, req llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) { p.answer(ctx, req, yield) }
}

// hang ends like an adapter whose body breaks because the request is cancelled.
func hang(ctx context.Context, w *llm.Writer) {
	<-ctx.Done()
	w.End(events.GenerationEnded{Error: llm.FromRead(ctx, ctx.Err())})
}

const idle = time.Minute

// answer is a stream in short: its events, and how it ended.
type answer struct {
	events []string
	end    *events.GenerationEnded
	ends   int
}

func read(t *testing.T, s llm.Stream) answer {
	t.Helper()
	var a answer
	for e, err := range s {
		a.events = append(a.events, e.Type())
		if end, ok := e.(*events.GenerationEnded); ok {
			a.end = end
			a.ends++
			if (err != nil) != (end.Error != nil) {
				t.Errorf("the end has error %v, beside it is %v", end.Error, err)
			}
		} else if a.ends > 0 || err != nil {
			t.Errorf("%s with error %v after %d ends", e.Type(), err, a.ends)
		}
	}
	if a.ends != 1 {
		t.Fatalf("%d ends in %v", a.ends, a.events)
	}
	return a
}

func TestGuard(t *testing.T) {
	done := events.GenerationEnded{Finish: events.FinishStop, Terminated: true}
	cases := []struct {
		name   string
		answer func(ctx context.Context, yield func(events.Event, error) bool)
		events string
		class  events.ErrorClass
		took   time.Duration
	}{
		{"an answer that never begins ends idle", func(ctx context.Context, yield func(events.Event, error) bool) {
			hang(ctx, llm.NewWriter(yield))
		}, "GenerationEnded", events.ErrIdle, idle},
		{"each event gives a new time", func(ctx context.Context, yield func(events.Event, error) bool) {
			w := llm.NewWriter(yield)
			for range 5 {
				<-time.After(idle - time.Second)
				w.Text("0", "x")
			}
			hang(ctx, w)
		}, "TextChunk TextChunk TextChunk TextChunk TextChunk GenerationEnded", events.ErrIdle, 5*(idle-time.Second) + idle},
		{"an adapter that calls it cancelled is corrected", func(ctx context.Context, yield func(events.Event, error) bool) {
			<-ctx.Done()
			llm.NewWriter(yield).End(events.GenerationEnded{Error: &events.Error{Class: events.ErrCancelled, Message: "context canceled"}})
		}, "GenerationEnded", events.ErrIdle, idle},
		{"an adapter that ends in silence when cancelled is corrected", func(ctx context.Context, _ func(events.Event, error) bool) {
			<-ctx.Done()
		}, "GenerationEnded", events.ErrIdle, idle},
		{"an answer that comes whole in the last moment counts", func(ctx context.Context, yield func(events.Event, error) bool) {
			<-ctx.Done()
			llm.NewWriter(yield).End(done)
		}, "GenerationEnded", "", idle},
		{"the provider's own error counts", func(ctx context.Context, yield func(events.Event, error) bool) {
			<-ctx.Done()
			llm.NewWriter(yield).End(events.GenerationEnded{Error: &events.Error{Class: events.ErrOverloaded}})
		}, "GenerationEnded", events.ErrOverloaded, idle},
		{"an answer without an end was cut", func(_ context.Context, yield func(events.Event, error) bool) {
			yield(&events.TextChunk{Text: "x"}, nil)
		}, "TextChunk GenerationEnded", events.ErrCut, 0},
		{"an answer that has the provider's word for its end is complete", func(_ context.Context, yield func(events.Event, error) bool) {
			yield(&events.GenerationEnded{Finish: events.FinishStop, FinishWord: "stop"}, nil)
		}, "GenerationEnded", "", 0},
		{"an answer that was complete when the time ran out counts", func(ctx context.Context, yield func(events.Event, error) bool) {
			<-ctx.Done()
			yield(&events.GenerationEnded{Finish: events.FinishStop, FinishWord: "stop"}, nil)
		}, "GenerationEnded", "", idle},
		{"calls that are open at the end are closed", func(_ context.Context, yield func(events.Event, error) bool) {
			_ = yield(&events.ToolCallStart{Block: 1}, nil) && yield(&events.ToolCallStart{Block: 2}, nil) && yield(&events.ToolCallEnd{Block: 1}, nil)
		}, "ToolCallStart ToolCallStart ToolCallEnd ToolCallEnd GenerationEnded", events.ErrCut, 0},
		{"an error alone becomes the end", func(_ context.Context, yield func(events.Event, error) bool) {
			yield(nil, &events.Error{Class: events.ErrAuth})
		}, "GenerationEnded", events.ErrAuth, 0},
		{"an error beside an event becomes the end", func(_ context.Context, yield func(events.Event, error) bool) {
			yield(&events.TextChunk{Text: "x"}, errors.New("reset"))
		}, "TextChunk GenerationEnded", events.ErrNetwork, 0},
		{"nothing follows the end", func(_ context.Context, yield func(events.Event, error) bool) {
			if end := done; yield(&end, nil) {
				t.Error("the adapter is asked for more after its end")
			}
		}, "GenerationEnded", "", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := provider{answer: func(ctx context.Context, _ llm.Request, yield func(events.Event, error) bool) { c.answer(ctx, yield) }}
				start := time.Now()
				got := read(t, llm.Guard(p, idle).Stream(t.Context(), llm.Request{Model: "m"}))
				if had := strings.Join(got.events, " "); had != c.events {
					t.Errorf("events are %s, want %s", had, c.events)
				}
				var class events.ErrorClass
				if got.end.Error != nil {
					class = got.end.Error.Class
				}
				if class != c.class {
					t.Errorf("error is %v, want class %q", got.end.Error, c.class)
				}
				if (class != "") != (got.end.Finish == events.FinishError) {
					t.Errorf("finish is %s with error %v", got.end.Finish, got.end.Error)
				}
				if took := time.Since(start); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
			})
		})
	}
}

func TestGuardDoesNotCountTheTimeOfTheConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := provider{answer: func(_ context.Context, _ llm.Request, yield func(events.Event, error) bool) {
			w := llm.NewWriter(yield)
			w.Text("0", "a")
			w.Text("0", "b")
			w.End(events.GenerationEnded{Terminated: true})
		}}
		for e, err := range llm.Guard(p, idle).Stream(t.Context(), llm.Request{}) {
			<-time.After(2 * idle)
			if err != nil {
				t.Errorf("%s comes with %v", e.Type(), err)
			}
		}
	})
}

func TestGuardCancelsForItsCallerToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		p := provider{answer: func(ctx context.Context, _ llm.Request, yield func(events.Event, error) bool) {
			hang(ctx, llm.NewWriter(yield))
		}}
		time.AfterFunc(time.Second, func() { cancel(errors.New("the user stopped it")) })
		got := read(t, llm.Guard(p, idle).Stream(ctx, llm.Request{}))
		if e := got.end.Error; e.Class != events.ErrCancelled || !strings.Contains(e.Message, "the user stopped it") || got.end.Finish != events.FinishCancelled {
			t.Errorf("the end is %s with %v", got.end.Finish, e)
		}
	})
}

func TestGuardWithoutATimeWaitsForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := provider{answer: func(_ context.Context, _ llm.Request, yield func(events.Event, error) bool) {
			<-time.After(24 * time.Hour)
			llm.NewWriter(yield).End(events.GenerationEnded{Terminated: true})
		}}
		if got := read(t, llm.Guard(p, 0).Stream(t.Context(), llm.Request{})); got.end.Error != nil {
			t.Errorf("the end is %v", got.end.Error)
		}
	})
}

func TestAConsumerThatStopsCancelsTheRequest(t *testing.T) {
	var request context.Context
	p := provider{answer: func(ctx context.Context, _ llm.Request, yield func(events.Event, error) bool) {
		request = ctx
		if llm.NewWriter(yield).Text("0", "a") {
			t.Error("the adapter is asked for more")
		}
	}}
	for range llm.Guard(p, idle).Stream(t.Context(), llm.Request{}) {
		break
	}
	if request.Err() == nil {
		t.Error("the request continues")
	}
}

// An answer with many open calls costs by the call.
func TestGuardCostsByTheCall(t *testing.T) {
	cost := func(calls int) time.Duration {
		p := llm.Guard(provider{answer: func(_ context.Context, _ llm.Request, yield func(events.Event, error) bool) {
			for i := range calls {
				yield(&events.ToolCallStart{Block: i}, nil)
			}
			for i := range calls {
				yield(&events.ToolCallEnd{Block: i}, nil)
			}
			yield(&events.GenerationEnded{Terminated: true}, nil)
		}}, 0)
		best := time.Duration(1<<63 - 1)
		for range 5 {
			started, n := time.Now(), 0
			for range p.Stream(t.Context(), llm.Request{}) {
				n++
			}
			if best = min(best, time.Since(started)); n != 2*calls+1 {
				t.Fatalf("%d events of %d calls", n, calls)
			}
		}
		return best
	}
	// Eight times as many take 64 times as long where each call looks at all others.
	if few, many := cost(32_000), cost(256_000); many > 40*few {
		t.Errorf("32,000 calls take %s, eight times as many %s", few, many)
	}
}
