package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

// run is one attempt at a call, and the position of the lane that it writes.
type run struct {
	w       *Tool
	job     *events.ToolJob
	attempt string
	lane    topology.Address

	mu       sync.Mutex
	position uint64
}

// append appends to the lane. A tool may prompt from several goroutines.
func (r *run) append(ctx context.Context, e events.Event) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	frame, err := events.AppendFrame(nil, e)
	if err != nil {
		return 0, err
	}
	for tries := 1; ; tries++ {
		position, err := r.w.Bus.Lane(r.lane).Append(ctx, r.position, frame)
		if err == nil {
			r.position = position
			return position, nil
		}
		if !errors.Is(err, bus.ErrFenced) || !r.keeps(ctx, tries) {
			return 0, err
		}
	}
}

// keeps reports whether the attempt is still the one that runs although the lane
// has moved: a stranger may have written there, and only the start of another
// attempt takes the lane. The position is then that of the stranger's message.
func (r *run) keeps(ctx context.Context, tries int) bool {
	position, past, err := r.w.position(ctx, r.lane, r.job)
	if err != nil || !past.running(r.attempt) || startBackoff(ctx, tries) != nil {
		return false
	}
	r.position = position
	return true
}

// errNoTurn reports a question in a call that is not part of a turn.
var errNoTurn = errors.New("nobody can be asked: the call is not part of a turn")

// rereadInterval is how often the log is read for an answer whose live message
// may have been lost.
const rereadInterval = 5 * time.Second

// prompt asks a person and blocks until the answer is in the log. When the worker
// dies only the wait is lost.
func (r *run) prompt(ctx context.Context, q tool.Question) (tool.Answer, error) {
	if r.job.Decision == 0 {
		return tool.Answer{}, errNoTurn
	}
	if len(q.Schema) > 0 && !json.Valid(q.Schema) {
		return tool.Answer{}, fmt.Errorf("ask a person: the schema of the answer is no JSON: %.100s", q.Schema)
	}
	id, err := newID()
	if err != nil {
		return tool.Answer{}, err
	}
	answers := make(chan *events.QuestionAnswered, 1)
	take := func(m bus.Message) error {
		if a := answerIn(m, id); a != nil {
			select {
			case answers <- a:
			default: // the answer is there already
			}
		}
		return nil
	}
	stop, err := r.w.Bus.Conversation(r.job.Conversation).Listen(func(m bus.Message) { _ = take(m) })
	if err != nil {
		return tool.Answer{}, err
	}
	defer stop()
	at, err := r.append(ctx, &events.QuestionAsked{Call: r.job.Call, Attempt: r.attempt, Question: id, Message: q.Message, Schema: q.Schema})
	if err != nil {
		return tool.Answer{}, err
	}
	turn := r.lane
	turn.Channel, turn.Call = events.ChannelTurn, ""
	reread := time.NewTicker(rereadInterval)
	defer reread.Stop()
	for {
		select {
		case <-ctx.Done():
			return tool.Answer{}, context.Cause(ctx)
		case a := <-answers:
			return tool.Answer{Declined: a.Declined, Content: a.Content}, nil
		case <-reread.C:
			if err := r.w.Bus.Shard(turn.Shard).Read(ctx, at, turn.Subject(topology.Conv), take); err != nil {
				r.w.Log.Debug("the answer to a question could not be looked for", "call", r.job.Call, "error", err)
			}
		}
	}
}

// answerIn returns the answer to a question from a Decision; nil when it has none.
func answerIn(m bus.Message, question string) *events.QuestionAnswered {
	if m.Channel != events.ChannelTurn {
		return nil
	}
	for _, l := range m.Lines {
		d, ok := l.Event.(*events.Decision)
		if !ok {
			continue
		}
		for _, l := range d.Events {
			if a, ok := l.Event.(*events.QuestionAnswered); ok && a.Question == question {
				return a
			}
		}
	}
	return nil
}
