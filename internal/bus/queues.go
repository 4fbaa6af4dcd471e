package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// QueueInfo is the state of a queue of jobs.
type QueueInfo struct {
	Kind    string `json:"kind"`          // "llm" or "tool"
	Name    string `json:"name"`          // route or tool
	Low     bool   `json:"low,omitempty"` // of the calls that can wait
	Lag     uint64 `json:"lag"`           // jobs that nobody has taken
	Running int    `json:"running"`       // jobs that somebody has
	Retried int    `json:"retried"`       // of those, delivered more than once
	Waiting int    `json:"waiting"`       // workers' requests for more
}

// Queues lists the queues that exist, by kind and name, with what an autoscaler
// and a person need.
func (j Jobs) Queues(ctx context.Context) ([]QueueInfo, error) {
	s, err := j.bus.stream(ctx, topology.StreamJobs)
	if err != nil {
		return nil, err
	}
	ctx, cancel := answer(ctx)
	defer cancel()
	var all []QueueInfo
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		kind, name, low, ok := topology.ParseConsumer(info.Config.Durable)
		if !ok {
			continue // a stranger's
		}
		all = append(all, QueueInfo{Kind: kind, Name: name, Low: low, Lag: info.NumPending, Running: info.NumAckPending, Retried: info.NumRedelivered, Waiting: info.NumWaiting})
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the queues: %w", explainJetStream(err))
	}
	slices.SortFunc(all, func(a, b QueueInfo) int { return strings.Compare(a.Kind+"."+a.Name, b.Kind+"."+b.Name) })
	return all, nil
}

// And adds up the two queues of a tool.
func (q QueueInfo) And(o QueueInfo) QueueInfo {
	q.Lag, q.Running, q.Retried, q.Waiting, q.Low = q.Lag+o.Lag, q.Running+o.Running, q.Retried+o.Retried, q.Waiting+o.Waiting, false
	return q
}

// Find returns a queue; [jetstream.ErrConsumerNotFound] when it is missing.
func (j Jobs) Find(ctx context.Context, q topology.Queue) (jetstream.Consumer, error) {
	return ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return j.bus.js.Consumer(ctx, topology.StreamJobs, q.Consumer)
	})
}

// EnsureQueue makes a queue if it is missing, so that its jobs wait visibly until
// a worker comes. The limits of one that exists are the administrator's.
func (j Jobs) EnsureQueue(ctx context.Context, q topology.Queue) error {
	if _, ok := j.bus.queues.Load(q); ok {
		return nil
	}
	_, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		if j.bus.imported() {
			return nil, j.bus.requestQueue(ctx, q)
		}
		return j.bus.js.CreateConsumer(ctx, topology.StreamJobs, q.ConsumerConfig())
	})
	if err != nil && !errors.Is(err, jetstream.ErrConsumerExists) {
		return fmt.Errorf("make queue %s: %w", q.Consumer, explainJetStream(err))
	}
	j.bus.queues.Store(q, true)
	return nil
}

// Serve records, until ctx ends, that this process takes jobs from a queue. Its keeper
// then reports when JOBS is missing, from the start and for as long as it is.
func (j Jobs) Serve(ctx context.Context, q topology.Queue) {
	j.bus.served.Store(&q, true)
	context.AfterFunc(ctx, func() { j.bus.served.Delete(&q) })
}

// Found records that a queue exists. The keeper of this process then notices when
// it is deleted.
func (j Jobs) Found(q topology.Queue) { j.bus.queues.Store(q, true) }

// requestQueue asks an orchestrator to create a queue.
func (b *Bus) requestQueue(ctx context.Context, q topology.Queue) error {
	subject := topology.QueueRequest(q.Consumer)
	msg, err := b.request(ctx, subject, nil)
	if errors.Is(err, nats.ErrNoResponders) {
		return errors.New("no orchestrator answers: start one, it creates the queue")
	}
	if err != nil {
		return err
	}
	var resp readResponse
	if err := json.Unmarshal(msg.Data, &resp); err != nil {
		return fmt.Errorf("answer of an orchestrator to %s: %w", subject, err)
	}
	if resp.Error != "" {
		return errors.New(resp.Error)
	}
	return nil
}

// dropQueue deletes a queue. Workers that come later make it again, and so does
// whoever publishes a job and does not believe it to be there, see
// [Jobs.ForgetQueues].
func (b *Bus) dropQueue(ctx context.Context, q topology.Queue) error {
	ctx, cancel := answer(ctx)
	defer cancel()
	b.queues.Delete(q)
	err := b.js.DeleteConsumer(ctx, topology.StreamJobs, q.Consumer)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("delete the queue %s: %w", q.Consumer, explainJetStream(err))
	}
	return nil
}

// ForgetQueues empties the cache of queues that exist: another process may have
// deleted some.
func (j Jobs) ForgetQueues() { j.bus.queues.Clear() }
