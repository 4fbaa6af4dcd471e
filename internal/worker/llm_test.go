package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

// model is a provider that reports its calls and answers when the test lets it.
type model struct {
	calls chan llm.Request
	end   chan struct{}
}

func newModel() *model {
	return &model{make(chan llm.Request, 1000), make(chan struct{}, 1000)}
}

func (*model) Name() string                         { return "test" }
func (*model) Capabilities(string) llm.Capabilities { return llm.Capabilities{} }
func (m *model) Stream(ctx context.Context, r llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		m.calls <- r
		if !yield(&events.TextChunk{Text: "one"}, nil) {
			return
		}
		select {
		case <-ctx.Done():
			yield(&events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: events.ErrCancelled, Message: "stopped"}}, nil)
		case <-m.end:
			yield(&events.GenerationEnded{Finish: events.FinishStop, FinishWord: "stop", Terminated: true}, nil)
		}
	}
}

// models runs an LLM worker on a connection of its own.
func (s *stage) models(name string, m *model) (*bus.Bus, func()) { return s.modelsOf("test", name, m) }

func (s *stage) modelsOf(route, name string, m *model) (*bus.Bus, func()) {
	s.t.Helper()
	b := s.connect(nil)
	w := &worker.LLM{Bus: b, Name: name, Log: s.log(), Routes: map[string]worker.Route{route: {Provider: m, Model: "m"}}}
	stay := s.run(func(ctx context.Context) error { return b.Presence().Stay(ctx, w.Offers("")) })
	stop := s.run(w.Run)
	return b, func() { stop(); stay() }
}

// chat is a conversation whose Decisions the test writes.
type chat struct {
	*stage
	id       string
	decision uint64
	turn     string
}

func (s *stage) chat() *chat { return &chat{stage: s, id: newID(), turn: newID()} }

func (c *chat) lane(ch events.Channel) topology.Address { return topology.At(c.Shards(), c.id, ch) }

// request decides on a generation; publish puts its job in the queue.
func (c *chat) request() *events.GenerationJob {
	c.t.Helper()
	last, err := c.Lane(c.lane(events.ChannelGen)).Last(c.t.Context())
	c.done(err)
	job := &events.GenerationJob{Conversation: c.id, Subject: c.lane(events.ChannelGen).Subject(topology.Conv), LaneSequence: last.Sequence,
		Turn: c.turn, Generation: newID(), Step: 1, Route: "test/m", Messages: []events.Message{}}
	c.decision = c.write(c.lane(events.ChannelTurn), c.decision, &events.Decision{State: events.State{Phase: events.PhaseGenerating, Turn: c.turn, Generation: job.Generation}})
	job.Decision = c.decision
	return job
}

func (s *stage) publish(job *events.GenerationJob) (subject string) {
	s.t.Helper()
	s.queue(topology.LLMQueue(job.Route))
	subject, err := topology.GenerationJob(job.Route, job.Generation)
	s.done(err)
	s.done(s.Jobs().Publish(s.t.Context(), job.Conversation, subject, job.Generation, job))
	return subject
}

// TestAnInterruptNeverWaitsForTheGenerationBefore interrupts 50 generations in a
// row, while the one before still writes to the lane: none waits for its redelivery.
func TestAnInterruptNeverWaitsForTheGenerationBefore(t *testing.T) {
	s := newStage(t, topology.PresenceTTL)
	m := newModel()
	s.models("models", m)
	c := s.chat()
	s.publish(c.request())
	next(t, m.calls)
	for round := range 50 {
		job := c.request() // stops the one before, which then writes its end
		writing, stop := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { // a predecessor that writes more than its end
			defer close(over)
			c.babble(writing)
		}()
		began := time.Now()
		s.publish(job)
		c.started(job)
		if took := time.Since(began); took >= topology.JobAckWait { // what it waited for was its redelivery
			t.Errorf("interrupt %d was answered after %v", round, took)
		}
		stop()
		<-over
	}
}

// started waits until a generation has started.
func (c *chat) started(job *events.GenerationJob) {
	c.t.Helper()
	lane := c.lane(events.ChannelGen)
	c.eventually(soon, func() bool {
		found := false
		c.done(c.Shard(lane.Shard).Read(c.t.Context(), job.LaneSequence, job.Subject, func(m bus.Message) error {
			for _, l := range m.Lines {
				if e, ok := l.Event.(*events.GenerationStarted); ok && e.Generation == job.Generation {
					found = true
				}
			}
			return nil
		}))
		return found
	}, "the generation has not started")
}

// babble appends 500 events a second to the gen lane, as an older generation,
// until it is fenced.
func (c *chat) babble(ctx context.Context) {
	lane := c.lane(events.ChannelGen)
	last, err := c.Lane(lane).Last(ctx)
	if err != nil {
		return
	}
	attempt := newID()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 1; ctx.Err() == nil; i++ {
		<-tick.C
		e := &events.TextChunk{Text: "late"}
		e.Stamp(attempt, i)
		frame, err := events.AppendFrame(nil, e)
		if err != nil {
			return
		}
		if last.Sequence, err = c.Lane(lane).Append(ctx, last.Sequence, frame); err != nil {
			return
		}
	}
}

// TestADelayIsMeasuredByTheServer gives a generation a delay. Only the server's
// clock counts: the job has a duration, not a time.
func TestADelayIsMeasuredByTheServer(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	m := newModel()
	s.models("models", m)
	c := s.chat()
	job := c.request()
	job.DelayMS = 700
	frame, err := events.AppendFrame(nil, job)
	if err != nil || !strings.Contains(string(frame), `"delay_ms":700`) || strings.Contains(string(frame), "not_before") {
		t.Fatalf("the job is %s, %v", frame, err)
	}
	began := time.Now()
	subject := s.publish(job)
	next(t, m.calls)
	if took := time.Since(began); took < 650*time.Millisecond || took > 5*time.Second {
		t.Errorf("the model was called after %v", took)
	}
	m.end <- struct{}{}
	s.gone(subject, soon)
}

// late is a provider that refuses the history after a part of its answer.
type late struct {
	model
	streams int
}

func (l *late) Stream(context.Context, llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		l.streams++
		_ = yield(&events.TextChunk{Text: "one"}, nil) &&
			yield(&events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: events.ErrInvalidRequest, Message: "the history is not valid"}}, nil)
	}
}

// TestARefusalAfterAPartOfTheAnswerIsNotAskedAgain: the second answer would follow the
// first one in the same attempt.
func TestARefusalAfterAPartOfTheAnswerIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	l := &late{}
	w := &worker.LLM{Bus: s.connect(nil), Name: "models", Log: s.log(), Routes: map[string]worker.Route{"test": {Provider: l, Model: "m"}}}
	stop := s.run(w.Run)
	c := s.chat()
	job := c.request()
	text := func(role events.Role, text string) events.Message {
		m := events.Message{Role: role, Parts: []events.Part{{Kind: events.PartText, Text: text}}}
		if role == events.RoleAssistant {
			m.Provider, m.Model, m.Parts[0].Carry = "test", "m", []byte(`{"id":"1"}`) // which a second request would leave out
		}
		return m
	}
	job.Messages = []events.Message{text(events.RoleUser, "a"), text(events.RoleAssistant, "b"), text(events.RoleUser, "c")}
	s.gone(s.publish(job), soon)
	stop()
	end := await[*events.GenerationEnded](s, c.lane(events.ChannelGen), soon)
	if l.streams != 1 || end.Error == nil || end.Error.Class != events.ErrInvalidRequest {
		t.Errorf("it was called %d times and ended with %+v", l.streams, end.Error)
	}
}
