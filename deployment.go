package parley

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/bus"
)

// Queue is the state of a queue of jobs: of a route to models (Kind "llm") or of a
// tool (Kind "tool", both priorities together).
type Queue = bus.QueueInfo

// Deployment is the state of a deployment.
type Deployment struct {
	// Server is the URL of the NATS server.
	Server string `json:"server"`
	// Shards is the number of shards; Owners are the orchestrators that own them. A
	// shard without an owner decides nothing until one takes it.
	Shards int            `json:"shards"`
	Owners map[int]string `json:"owners"`
	// Queues are those that hold jobs or have workers, Offers what workers serve.
	Queues []Queue `json:"queues"`
	Offers []Offer `json:"offers"`
	// Waiting counts the conversations that wait for somebody.
	Waiting int `json:"waiting"`
}

// Shards is the number of shards of the deployment.
func (c *Client) Shards() int { return c.bus.Shards() }

// Owners returns the orchestrators that own shards, by shard.
func (c *Client) Owners(ctx context.Context) (map[int]string, error) { return c.bus.Owners(ctx) }

// LogEnd returns the sequence of the last message in a shard's log, of all its
// conversations together; 0 for an empty one.
func (c *Client) LogEnd(ctx context.Context, shard int) (uint64, error) {
	end, _, err := c.bus.EndOf(ctx, shard)
	return end, err
}

// Queues returns all queues of jobs, also those without jobs and workers, by kind and
// name.
func (c *Client) Queues(ctx context.Context) ([]Queue, error) {
	queues, err := c.bus.Queues(ctx)
	return joinQueues(queues), err
}

// WaitingCount counts the conversations that wait for somebody.
func (c *Client) WaitingCount(ctx context.Context) (int, error) {
	ids, err := c.bus.Timers(ctx)
	return len(ids), err
}

// Deployment returns the state of the deployment. What this user may not read, or
// what cannot be read, is left empty and joined into the error.
func (c *Client) Deployment(ctx context.Context) (Deployment, error) {
	d := Deployment{Server: c.URL(), Shards: c.bus.Shards()}
	var errs [4]error
	d.Owners, errs[0] = c.bus.Owners(ctx)
	var queues []Queue
	queues, errs[1] = c.bus.Queues(ctx)
	d.Offers, errs[2] = c.bus.Offers(ctx)
	var waiting []string
	waiting, errs[3] = c.bus.Timers(ctx)
	d.Waiting = len(waiting)
	d.Queues = UsedQueues(queues, d.Offers)
	return d, errors.Join(errs[:]...)
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

// UsedQueues returns the queues with jobs or with workers among offers, by kind and
// name. A queue stays when its tool is gone.
func UsedQueues(queues []Queue, offers []Offer) []Queue {
	all := joinQueues(queues)
	for _, o := range offers {
		if !slices.ContainsFunc(all, func(q Queue) bool { return q.Kind == o.Kind && q.Name == o.Name }) {
			all = append(all, Queue{Kind: o.Kind, Name: o.Name})
		}
	}
	all = slices.DeleteFunc(all, func(q Queue) bool {
		return q.Lag == 0 && q.Running == 0 && !slices.ContainsFunc(offers, func(o Offer) bool { return o.Kind == q.Kind && o.Name == q.Name })
	})
	slices.SortFunc(all, func(a, b Queue) int { return strings.Compare(a.Kind+"."+a.Name, b.Kind+"."+b.Name) })
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
