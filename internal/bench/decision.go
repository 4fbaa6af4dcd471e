package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// toolName is the tool that the turns call.
const toolName = "bench_tool"

// turnsPerConversation is the number of turns in a conversation.
const turnsPerConversation = 25

// Beside which answers decisions are measured a second time.
const (
	busyConversations = 100
	busyRate          = 5000 // events per second of all of them, see [Options.Busy]
)

// Decisions holds the latencies of decisions, for one turn at a time, between the times at
// which the server stored the messages.
type Decisions struct {
	Turns       int     `json:"turns"`
	Beside      int     `json:"beside_events_per_second,omitempty"` // of other conversations
	Calls       int     `json:"calls"`
	CallP50MS   float64 `json:"call_p50_ms"` // GenerationEnded in the log to ToolJob in its queue
	CallP99MS   float64 `json:"call_p99_ms"`
	CallMaxMS   float64 `json:"call_max_ms"`
	AnswerP50MS float64 `json:"answer_p50_ms"` // UserMessage in the log to GenerationStarted there
	AnswerP99MS float64 `json:"answer_p99_ms"`
	AnswerMaxMS float64 `json:"answer_max_ms"`
}

// storeTimes holds the times at which the server stored messages.
type storeTimes struct {
	messages []time.Time // UserMessage
	started  []time.Time // the turn's first GenerationStarted
	ended    map[string]time.Time
	queued   map[string]time.Time // ToolJob, by call as ended
}

// decisions runs turns with one call each. It answers the calls itself to read
// the time at which a job was stored in its queue.
func (s *stage) decisions(ctx context.Context, turns int) (Decisions, error) {
	ctx, cancel := context.WithTimeout(ctx, rowTimeout)
	defer cancel()
	offer := bus.Offer{Kind: "tool", Name: toolName, Worker: "bench", Tool: &events.ToolSpec{Name: toolName, Effect: events.EffectPure,
		Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)}}
	if err := s.viewers.Presence().Announce(ctx, []bus.Offer{offer}); err != nil {
		return Decisions{}, err
	}
	times := &storeTimes{ended: map[string]time.Time{}, queued: map[string]time.Time{}}
	g, run := errgroup.WithContext(ctx)
	work, done := context.WithCancel(run)
	g.Go(func() error { return s.answerCalls(work, times) })
	g.Go(func() error {
		defer done()
		for left := turns; left > 0; left -= turnsPerConversation {
			if err := s.turns(run, min(left, turnsPerConversation), times); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return Decisions{}, fmt.Errorf("turns with calls: %w", err)
	}
	return times.sum(turns), nil
}

// busyDecisions is decisions while answers stream.
func (s *stage) busyDecisions(ctx context.Context, turns, rate int) (d Decisions, err error) {
	_, err = s.parleyBeside(ctx, busyConversations, float64(rate), 100*time.Millisecond, func(ctx context.Context) (err error) {
		d, err = s.decisions(ctx, turns)
		return err
	})
	d.Beside = rate
	return d, err
}

// answerCalls takes the tool's jobs and answers them until ctx ends.
func (s *stage) answerCalls(ctx context.Context, times *storeTimes) error {
	queue, err := topology.ToolQueue(toolName)
	if err != nil {
		return err
	}
	if err := s.raw.Jobs().EnsureQueue(ctx, queue); err != nil {
		return err
	}
	cons, err := s.raw.Jobs().Find(ctx, queue)
	if err != nil {
		return fmt.Errorf("queue %s: %w", queue.Consumer, err)
	}
	failed := make(chan error, 1)
	consume, err := cons.Consume(func(msg jetstream.Msg) {
		if err := s.answerCall(ctx, msg, times); err != nil && ctx.Err() == nil {
			select {
			case failed <- err:
			default:
			}
		}
	})
	if err != nil {
		return fmt.Errorf("queue %s: %w", queue.Consumer, err)
	}
	defer func() {
		consume.Stop()
		<-consume.Closed()
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (s *stage) answerCall(ctx context.Context, msg jetstream.Msg, times *storeTimes) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	lines, err := events.DecodeFrame(msg.Data())
	if err != nil {
		return err
	}
	job, ok := lines[0].Event.(*events.ToolJob)
	if !ok {
		return fmt.Errorf("a %s is in the queue of a tool", lines[0].Event.Type())
	}
	times.queued[job.Call] = meta.Timestamp
	frame, err := events.AppendFrame(nil, &events.ToolStarted{Call: job.Call, Attempt: job.Call, Tool: job.Tool},
		&events.ToolResult{Call: job.Call, Attempt: job.Call, Tool: job.Tool, Status: events.StatusOK, Content: "1"})
	if err != nil {
		return err
	}
	a := topology.OfCall(s.raw.Shards(), job.Conversation, events.ChannelCall, job.Call)
	if _, err := s.raw.Lane(a).Append(ctx, 0, frame); err != nil {
		return err
	}
	return msg.Ack()
}

// turns runs turns in a new conversation, one after the other.
func (s *stage) turns(ctx context.Context, n int, times *storeTimes) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	conversation := id.String()
	if err := s.send(ctx, conversation, "call the tool"); err != nil {
		return err
	}
	call := ""
	for m, err := range s.viewers.Conversation(conversation).Attach(ctx, bus.From{}) {
		if err != nil {
			return err
		}
		for _, l := range m.Lines[m.Skip:] {
			switch e := l.Event.(type) {
			case *events.UserMessage:
				times.messages = append(times.messages, m.Time)
			case *events.GenerationStarted:
				if len(times.started) < len(times.messages) {
					times.started = append(times.started, m.Time)
				}
			case *events.ToolCallStart:
				call = e.Call
			case *events.GenerationEnded:
				if e.Finish == events.FinishToolCalls {
					times.ended[call] = m.Time
				}
			case *events.Decision:
				end := turnEnd(e)
				if end == nil {
					continue
				}
				if err := checkOutcome(end); err != nil {
					return err
				}
				if n--; n == 0 {
					return nil
				}
				if err := s.send(ctx, conversation, "again"); err != nil {
					return err
				}
			}
		}
	}
	return errors.New("the viewer's log ended before the turns did")
}

func (t *storeTimes) sum(turns int) Decisions {
	var calls, answers []int64
	for call, at := range t.queued {
		if ended, ok := t.ended[call]; ok {
			calls = append(calls, int64(at.Sub(ended)))
		}
	}
	for i, at := range t.started {
		answers = append(answers, int64(at.Sub(t.messages[i])))
	}
	slices.Sort(calls)
	slices.Sort(answers)
	return Decisions{Turns: turns, Calls: len(calls),
		CallP50MS: quantile(calls, 0.5), CallP99MS: quantile(calls, 0.99), CallMaxMS: quantile(calls, 1),
		AnswerP50MS: quantile(answers, 0.5), AnswerP99MS: quantile(answers, 0.99), AnswerMaxMS: quantile(answers, 1)}
}
