package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

// TestAJobThatCannotBeRunBecomesADeadLetter: the dead letter has the reason, and
// the generation or call ends, so that its turn continues.
func TestAJobThatCannotBeRunBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	x, m := newStep("x", events.EffectPure), newModel()
	s.tools("tools", x)
	s.models("models", m)
	s.queue(topology.ToolQueue("x"))
	s.queue(topology.LLMQueue("test"))
	foreign := topology.OfCall(s.Shards(), newID(), events.ChannelCall, newID()).Subject(topology.Conv)
	for name, c := range map[string]struct {
		event  events.Event // nil: bytes that are no event
		reason string
	}{
		"bytes":                       {nil, "line 1 of the frame"},
		"an event that is no job":     {&events.UserMessage{ID: newID(), Text: "hello"}, "UserMessage is no job for"},
		"a lane of somebody else":     {&events.ToolJob{Subject: foreign, Tool: "x"}, "is not the"},
		"a generation's lane, too":    {&events.GenerationJob{Subject: foreign, Route: "test/m"}, "is not the"},
		"a job that names no lane":    {&events.ToolJob{Tool: "x"}, "subject"},
		"a generation without a lane": {&events.GenerationJob{Route: "test/m"}, "subject"},
	} {
		_, generates := c.event.(*events.GenerationJob)
		if _, calls := c.event.(*events.ToolJob); !calls {
			t.Run(name+" for an llm-worker", func(t *testing.T) {
				g := s.chat()
				generation := g.request().Generation
				s.bad("jobs.llm.test."+generation, g.id, generation, c.event)
				if why := s.deadLetter("jobs.llm.test." + generation); !strings.Contains(why, c.reason) {
					t.Errorf("the reason is %q", why)
				}
				e := await[*events.GenerationEnded](s, g.lane(events.ChannelGen), soon)
				if e.Generation != generation || e.Finish != events.FinishError || e.Error == nil || !strings.Contains(e.Error.Message, c.reason) {
					t.Errorf("the generation ended as %+v", e)
				}
				s.gone("jobs.llm.test."+generation, soon)
			})
		}
		if !generates {
			t.Run(name+" for a tool-worker", func(t *testing.T) {
				k := s.request("x", events.EffectPure, "{}")
				s.bad(k.subject, k.job.Conversation, k.job.Call, c.event)
				if why := s.deadLetter(k.subject); !strings.Contains(why, c.reason) {
					t.Errorf("the reason is %q", why)
				}
				r := await[*events.ToolResult](s, k.lane, soon)
				if r.Call != k.job.Call || r.Status != events.StatusFailed || !strings.Contains(r.Content, c.reason) {
					t.Errorf("the call ended as %+v", r)
				}
				s.gone(k.subject, soon)
			})
		}
	}
	if n := len(x.runs) + len(m.calls); n > 0 {
		t.Errorf("%d of them ran", n)
	}
}

// bad publishes a job without checks, under the message id that our programs use.
func (s *stage) bad(subject, conversation, id string, e events.Event) {
	s.t.Helper()
	m := nats.NewMsg(subject)
	m.Header.Set(nats.MsgIdHdr, conversation+"/"+id)
	m.Data = []byte("\x00 no event")
	if e != nil {
		var err error
		m.Data, err = events.AppendFrame(nil, e)
		s.done(err)
	}
	_, js := s.Raw()
	_, err := js.PublishMsg(s.t.Context(), m)
	s.done(err)
}

// faulty is a provider whose answers are given by a function of the number of
// the call.
type faulty struct {
	answer func(call int) *events.GenerationEnded
	calls  int
}

func (*faulty) Name() string                         { return "faulty" }
func (*faulty) Capabilities(string) llm.Capabilities { return llm.Capabilities{} }
func (f *faulty) Stream(context.Context, llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		f.calls++
		if end := f.answer(f.calls); end != nil {
			yield(end, nil)
		}
	}
}

// fails is a provider that fails each time.
func fails(class events.ErrorClass) func(int) *events.GenerationEnded {
	return func(int) *events.GenerationEnded {
		return &events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: class, Message: "no"}}
	}
}

// TestAnAttemptBeyondTheBudgetCallsNobody: workers that died on a generation have used
// up the step's requests.
func TestAnAttemptBeyondTheBudgetCallsNobody(t *testing.T) {
	t.Parallel()
	s := newStage(t, presence)
	f := &faulty{answer: fails(events.ErrOverloaded)}
	g := s.chat()
	job := g.request()
	job.Route, job.Requests = "faulty/m", 2
	var at uint64
	for range job.Requests {
		started := &events.GenerationStarted{Generation: job.Generation, Turn: job.Turn, Step: 1, Provider: "faulty", Model: "m"}
		started.Stamp(newID(), 0)
		at = s.write(g.lane(events.ChannelGen), at, started)
	}
	w := &worker.LLM{Bus: s.connect(nil), Name: "models", Log: s.log(), Routes: map[string]worker.Route{"faulty": {Provider: f}}}
	stop := s.run(w.Run)
	s.gone(s.publish(job), soon)
	stop()
	if e := await[*events.GenerationEnded](s, g.lane(events.ChannelGen), soon); f.calls != 0 || e.Error == nil || e.Error.Class != events.ErrInternal {
		t.Errorf("after %d calls it ended with %v", f.calls, e.Error)
	}
}

// TestAProviderThatFailsEndsItsGeneration: a provider's failure is written to the
// lane as the generation's end after one call; it is never an error of the job.
func TestAProviderThatFailsEndsItsGeneration(t *testing.T) {
	t.Parallel()
	busy := &events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: events.ErrOverloaded, Message: "busy", RetryAfterMS: 1}}
	for name, c := range map[string]struct {
		answer func(call int) *events.GenerationEnded
		route  string
		calls  int
		class  events.ErrorClass
		says   string
	}{
		"that panics":                  {func(int) *events.GenerationEnded { panic("oh") }, "faulty/m", 1, events.ErrInternal, "broke down: oh"},
		"that answers nothing":         {func(int) *events.GenerationEnded { return nil }, "faulty/m", 1, events.ErrCut, "cut"},
		"that is busy":                 {func(int) *events.GenerationEnded { e := *busy; return &e }, "faulty/m", 1, events.ErrOverloaded, "busy"},
		"whose request names no model": {nil, "faulty", 0, events.ErrInvalidRequest, "names no model"},
		"that is not configured here":  {nil, "faulty/", 0, events.ErrInvalidRequest, "names no model"},
		"that is silent":               {fails(events.ErrIdle), "faulty/m", 1, events.ErrIdle, "no"},
		"that counts the requests":     {fails(events.ErrRateLimited), "faulty/m", 1, events.ErrRateLimited, "no"},
		"whose connection fails":       {fails(events.ErrNetwork), "faulty/m", 1, events.ErrNetwork, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, topology.PresenceTTL)
			f := &faulty{answer: c.answer}
			w := &worker.LLM{Bus: s.connect(nil), Name: "models", Log: s.log(), Routes: map[string]worker.Route{"faulty": {Provider: f}}, Stats: new(worker.Stats)}
			stop := s.run(w.Run)
			g := s.chat()
			job := g.request()
			job.Route = c.route
			s.gone(s.publish(job), soon)
			stop()
			e := await[*events.GenerationEnded](s, g.lane(events.ChannelGen), soon)
			if f.calls != c.calls || e.Finish != events.FinishError || e.Error.Class != c.class || !strings.Contains(e.Error.Message, c.says) {
				t.Errorf("after %d calls it ended as %s: %+v", f.calls, e.Finish, e.Error)
			}
			if ended, failed := w.Stats.Generations.Load(), w.Stats.GenerationsFailed.Load(); ended != 1 || failed != 1 {
				t.Errorf("%d generations are counted, %d failed", ended, failed)
			}
		})
	}
}

// TestACallThatFailsTooOftenIsADeadLetterToo: the model reads the result, and the
// tool's operator reads the dead letter.
func TestACallThatFailsTooOftenIsADeadLetterToo(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	x := newStep("x", events.EffectPure)
	for range 6 {
		x.end <- tool.Retry(errors.New("out of order"), 1)
	}
	s.tools("tools", x)
	c := s.request("x", events.EffectPure, "{}").publish()
	c.gone(c.subject, 2*soon)
	if r := await[*events.ToolResult](s, c.lane, soon); r.Status != events.StatusFailed || !strings.Contains(r.Content, "tried 6 times") {
		t.Errorf("it ended as %s: %s", r.Status, r.Content)
	}
	if why := s.deadLetter(c.subject); why != "out of order" {
		t.Errorf("the reason is %q", why)
	}
}
