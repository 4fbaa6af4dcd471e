package parley

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/bus"
)

// Queue is the state of a queue of jobs: of a route to models (Kind "llm") or of a
// tool (Kind "tool", both priorities together).
type Queue = bus.QueueInfo

// Deployment is the state of a deployment.
type Deployment struct {
	Time   time.Time `json:"time"`
	Server string    `json:"server"` // URL of the NATS server
	// Messages is the number of messages per second of all conversations together,
	// since the last state of [Client.FollowDeployment]; 0 in the first.
	Messages float64 `json:"messages_per_second"`
	// Waiting counts the conversations that wait.
	Waiting int `json:"waiting"`
	// Queues are those that hold jobs or have workers, by kind and name.
	Queues  []QueueState  `json:"queues"`
	Workers []WorkerState `json:"workers"` // by name
	Shards  []ShardState  `json:"shards"`
	// Problems are what could not be read, with the reason. What they name is as it was read
	// last.
	Problems []string `json:"problems,omitempty"`
}

// QueueState is the state of a queue and the number of workers that serve it.
type QueueState struct {
	Queue
	Workers int `json:"workers"`
}

// WorkerState is a worker and what it serves.
type WorkerState struct {
	Name   string   `json:"name"`
	Routes []string `json:"routes,omitempty"`
	Tools  []string `json:"tools,omitempty"`
	// SeenSeconds is how long it has been seen; Before reports that it was there when
	// the deployment was looked at first.
	SeenSeconds float64 `json:"seen_seconds"`
	Before      bool    `json:"before"`
}

// ShardState is the state of a shard.
type ShardState struct {
	Shard int `json:"shard"`
	// Owner is the orchestrator that owns it. A shard without an owner decides nothing
	// until one takes it.
	Owner string `json:"owner,omitempty"`
	// End is the sequence of the last message in its log, Messages the number of
	// messages per second.
	End      uint64  `json:"end"`
	Messages float64 `json:"messages_per_second"`
	read     time.Time
}

// Shards is the number of shards of the deployment.
func (c *Client) Shards() int { return c.bus.Shards() }

// Owners returns the orchestrators that own shards, by shard.
func (c *Client) Owners(ctx context.Context) (map[int]string, error) {
	return c.bus.Deployment().Owners(ctx)
}

// LogEnd returns the sequence of the last message in a shard's log, of all its
// conversations together; 0 for an empty one.
func (c *Client) LogEnd(ctx context.Context, shard int) (uint64, error) {
	end, _, err := c.bus.Shard(shard).End(ctx)
	return end, err
}

// Queues returns all queues of jobs, also those without jobs and workers, by kind and
// name.
func (c *Client) Queues(ctx context.Context) ([]Queue, error) {
	queues, err := c.bus.Jobs().Queues(ctx)
	return joinQueues(queues), err
}

// WaitingCount counts the conversations that wait.
func (c *Client) WaitingCount(ctx context.Context) (int, error) {
	ids, err := c.bus.Timers().List(ctx)
	return len(ids), err
}

// Deployment returns the state of the deployment, without rates. What this user may
// not read, or what cannot be read within 2 s, is left empty and joined into the error.
func (c *Client) Deployment(ctx context.Context) (Deployment, error) {
	o := newObserver(c)
	o.read(ctx, func(request func(string, func(context.Context) error)) {
		o.request(request)
		request("workers", func(ctx context.Context) error {
			offers, err := c.bus.Presence().Offers(ctx)
			return o.set(err, func() { o.offers = offers })
		})
	})
	return o.state(), errors.Join(slices.Collect(maps.Values(o.problems))...)
}

// joinQueues adds up the two queues of each tool.
func joinQueues(queues []Queue) []Queue {
	var all []Queue
	at := map[[2]string]int{}
	for _, q := range queues {
		key := [2]string{q.Kind, q.Name}
		i, found := at[key]
		if !found {
			i = len(all)
			at[key] = i
			all = append(all, Queue{Kind: q.Kind, Name: q.Name})
		}
		all[i] = all[i].And(q)
	}
	return all
}

// Writable returns an error with [CodeNotStored] if the server cannot store
// messages now, for instance because its disk is full.
func (c *Client) Writable(ctx context.Context) error {
	if err := c.testWrites(ctx); err != nil {
		return &Error{CodeNotStored, err}
	}
	return nil
}
