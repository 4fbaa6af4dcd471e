package orchestrator

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// publisher is a way to publish a job: for the first time, or again.
type publisher func(ctx context.Context, conversation, subject, id string, job events.Event) error

// publish publishes the jobs that a Decision's events request. It may be
// called again: a duplicate job is refused, or finds its lane ended.
func (s *shard) publish(ctx context.Context, c *conversation, es []events.Line, to publisher) error {
	for _, l := range es {
		var err error
		switch e := l.Event.(type) {
		case *events.GenerationRequested:
			if e.Generation == c.state.Generation {
				err = s.publishGeneration(ctx, c, e, to)
			}
		case *events.ToolCallRequested:
			err = s.publishCall(ctx, c, e, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *shard) publishGeneration(ctx context.Context, c *conversation, e *events.GenerationRequested, to publisher) error {
	queue, err := topology.LLMQueue(e.Route)
	if err != nil {
		return err
	}
	if err := s.o.Bus.Jobs().EnsureQueue(ctx, queue); err != nil {
		return err
	}
	settings := c.state.Transcript.Settings
	env := s.env(settings)
	a := topology.At(s.o.Bus.Shards(), c.id, events.ChannelGen)
	job := &events.GenerationJob{
		// An answer in the gap of a log that has lost its end does not count: its worker
		// must not find that the generation has ended.
		Conversation: c.id, Subject: a.Subject(topology.Conv), LaneSequence: max(c.requestedAt, s.o.Bus.Shard(s.n).GapEnd()), Decision: c.state.TurnLane,
		Turn: e.Turn, Generation: e.Generation, Step: e.Step, Route: e.Route, DelayMS: s.remaining(e.NotBefore), Requests: requestsLeft(e.Try),
		System: strings.Join(slices.Concat(nonEmpty(settings.System), c.state.Transcript.Context(e.Turn)), "\n\n"), Messages: c.state.Transcript.Prompt(), Parameters: settings.Parameters, AnswerSchema: settings.AnswerSchema,
		Extensions: c.state.Transcript.Extensions(e.Turn),
		Ceilings:   events.AnswerCeilings{AnswerBytes: env.Ceilings.AnswerBytes, AnswerCalls: env.Ceilings.AnswerCalls, ArgumentBytes: env.Ceilings.ArgumentBytes},
	}
	job.Tools = env.offered(c.state.Transcript).Tools
	subject, err := topology.GenerationJob(e.Route, e.Generation)
	if err != nil {
		return err
	}
	return to(ctx, c.id, subject, e.Generation, job)
}

// remaining returns the milliseconds until a time by the clock of decisions:
// a worker's clock may differ.
func (s *shard) remaining(ms int64) int64 {
	if ms == 0 {
		return 0
	}
	return max(ms-s.o.Bus.Now().UnixMilli(), 0)
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func (s *shard) publishCall(ctx context.Context, c *conversation, e *events.ToolCallRequested, to publisher) error {
	queueOf, subjectOf := topology.ToolQueue, topology.ToolJob
	if c.state.Transcript.Settings.Priority == events.PriorityLow && s.offers.low(e.Tool) {
		queueOf, subjectOf = topology.LowQueue, topology.LowToolJob
	}
	queue, err := queueOf(e.Tool)
	if err != nil {
		return err
	}
	if err := s.o.Bus.Jobs().EnsureQueue(ctx, queue); err != nil {
		return err
	}
	arguments, known := c.arguments(e)
	if !known {
		return nil
	}
	shards := s.o.Bus.Shards()
	job := &events.ToolJob{
		Conversation: c.id, Turn: e.Turn, Call: e.Call, Tool: e.Tool, Effect: e.Effect, Decision: cmp.Or(c.state.RequestedAt(e.Call), c.state.TurnLane),
		Subject: topology.OfCall(shards, c.id, events.ChannelCall, e.Call).Subject(topology.Conv),
		Output:  topology.OfCall(shards, c.id, events.ChannelOut, e.Call).Subject(topology.Conv),
		// A tool's parser may refuse what Go's reads as a replacement character.
		Arguments:  events.Arguments(events.WellFormed(arguments)),
		Extensions: c.state.Transcript.Extensions(e.Turn),
	}
	var left int64
	if stop := s.stop(c); stop > 0 {
		left = max(stop-s.o.Bus.Now().UnixMilli(), 1)
	}
	job.TimeoutMS = shorter(s.offers.env(time.Now()).Known[e.Tool].TimeoutMS, left)
	subject, err := subjectOf(e.Tool, e.Call)
	if err != nil {
		return err
	}
	return to(ctx, c.id, subject, e.Call, job)
}
