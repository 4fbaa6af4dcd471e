package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Call is a call of a tool that a person or a program makes, not a model: no
// policy applies and no turn begins.
type Call struct {
	Conversation string // the conversation with the call; a new one when empty
	Tool         events.ToolSpec
	Arguments    json.RawMessage
	// Output receives what the tool prints while it runs; may be nil.
	Output func(text string)
}

// Call runs a call and waits for its result. When ctx ends the call is
// cancelled, and ctx's cause returned.
func (j Jobs) Call(ctx context.Context, c Call) (*events.ToolResult, error) {
	job, err := j.bus.callJob(c)
	if err != nil {
		return nil, err
	}
	if until, ok := ctx.Deadline(); ok {
		job.TimeoutMS = max(time.Until(until).Milliseconds(), 1)
	}
	queue, err := topology.ToolQueue(job.Tool)
	if err != nil {
		return nil, err
	}
	if err := j.EnsureQueue(ctx, queue); err != nil {
		return nil, err
	}
	subject, err := topology.ToolJob(job.Tool, job.Call)
	if err != nil {
		return nil, err
	}
	var r *events.ToolResult
	if err = j.Publish(ctx, job.Conversation, subject, job.Call, job); err == nil {
		r, err = j.bus.await(ctx, job, c.Output)
	}
	// Also when ctx ended before the job's acknowledgement arrived: a worker may
	// have it already.
	if err != nil && ctx.Err() != nil {
		j.bus.cancelCall(ctx, job)
		return nil, context.Cause(ctx)
	}
	return r, err
}

func (b *Bus) callJob(c Call) (*events.ToolJob, error) {
	job := &events.ToolJob{Conversation: c.Conversation, Tool: c.Tool.Name, Effect: c.Tool.Effect, Arguments: c.Arguments}
	if !job.Effect.Known() {
		job.Effect = events.EffectOnce
	}
	for _, id := range []*string{&job.Conversation, &job.Turn, &job.Call} {
		if *id != "" {
			continue
		}
		made, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("mint an id: %w", err)
		}
		*id = made.String()
	}
	if err := topology.CheckID("conversation", job.Conversation); err != nil {
		return nil, err
	}
	job.Subject = topology.OfCall(b.Shards(), job.Conversation, events.ChannelCall, job.Call).Subject(topology.Conv)
	job.Output = topology.OfCall(b.Shards(), job.Conversation, events.ChannelOut, job.Call).Subject(topology.Conv)
	return job, nil
}

// await follows a call until its result.
func (b *Bus) await(ctx context.Context, job *events.ToolJob, output func(string)) (*events.ToolResult, error) {
	attempt := "" // that runs: the latest to start; results of others do not count
	for m, err := range b.Conversation(job.Conversation).Attach(ctx, From{Left: true}) {
		if err != nil {
			return nil, err
		}
		if m.Call != job.Call {
			continue
		}
		for _, l := range m.Lines {
			switch e := l.Event.(type) {
			case *events.ToolOutput:
				if output != nil {
					output(e.Text)
				}
			case *events.ToolStarted:
				attempt = e.Attempt
			case *events.ToolResult:
				if attempt != "" && e.Attempt == attempt {
					return e, nil
				}
			}
		}
	}
	return nil, errors.New("the log ended before the call did")
}

// cancelCall tells the worker, if it still runs the call.
func (b *Bus) cancelCall(ctx context.Context, job *events.ToolJob) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	id, err := uuid.NewV7()
	if err == nil {
		_, err = b.Conversation(job.Conversation).Publish(ctx, id.String(), &events.Cancel{ID: id.String(), Scope: events.ScopeCall, Call: job.Call})
	}
	if err != nil {
		b.log.Warn("a call continues that nobody waits for", "tool", job.Tool, "call", job.Call, "error", err)
	}
}
