package parley

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// readTimeout is how long one state of the deployment waits for the server.
	readTimeout = 2 * time.Second
	// workersTimeout is how long the first state waits for the list of workers.
	workersTimeout = time.Second
	// retryEvery is how long after an error something is read again.
	retryEvery = 15 * time.Second
	// backoffFactor bounds what following costs the server: what took long to read is
	// read again after that many times as long.
	backoffFactor = 5
)

// FollowDeployment yields the state of the deployment, and then again each time that
// every has passed after the state before was processed, until ctx ends. What this user
// may not read is in its Problems. An error, yielded with the zero Deployment, is the reason why
// workers cannot be followed; it does not end the iterator.
func (c *Client) FollowDeployment(ctx context.Context, every time.Duration) iter.Seq2[Deployment, error] {
	return func(yield func(Deployment, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		o := newObserver(c)
		known, failed, ended := make(chan struct{}), make(chan error), make(chan struct{})
		go func() {
			defer close(ended)
			o.follow(ctx, sync.OnceFunc(func() { close(known) }), failed)
		}()
		defer func() { stop(); <-ended }()
		report := func(err error) bool { return yield(Deployment{}, err) }
		for listed, d := (<-chan struct{})(known), workersTimeout; reporting(ctx, failed, report, listed, d); listed, d = nil, every {
			o.read(ctx, o.request)
			if ctx.Err() != nil || !yield(o.state(), nil) {
				return
			}
		}
	}
}

// reporting waits until early is closed or d has passed, and reports what fails
// meanwhile. It returns false when ctx ended or report did.
func reporting(ctx context.Context, failed <-chan error, report func(error) bool, early <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case err := <-failed:
			if !report(err) {
				return false
			}
		case <-early:
			return true
		case <-timer.C:
			return true
		}
	}
}

// observer reads the state of a deployment again and again.
type observer struct {
	c       *Client
	started time.Time
	seen    map[string]time.Time // since when, by worker

	mu       sync.Mutex
	last     Deployment
	next     map[string]time.Time // when something is read again, by its name
	problems map[string]error     // why it could not be read, by its name
	queues   []Queue
	offers   []Offer
	owners   map[int]string
}

func newObserver(c *Client) *observer {
	o := &observer{c: c, started: time.Now(), seen: map[string]time.Time{}, next: map[string]time.Time{}, problems: map[string]error{}}
	for shard := range c.Shards() {
		o.last.Shards = append(o.last.Shards, ShardState{Shard: shard})
	}
	return o
}

// follow keeps the offers until ctx ends. known is called after each list.
func (o *observer) follow(ctx context.Context, known func(), failed chan<- error) {
	for offers, err := range o.c.FollowOffers(ctx) {
		if err != nil {
			select {
			case failed <- err:
			case <-ctx.Done():
			}
			continue
		}
		_ = o.set(nil, func() { o.offers = offers }) // returns its argument
		known()
	}
}

// set changes what was read unless reading it failed, and returns that error.
func (o *observer) set(err error, change func()) error {
	if err == nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		change()
	}
	return err
}

// read calls all, which requests what is to be read, and waits for the answers. What
// cannot be read stays as it was.
func (o *observer) read(ctx context.Context, all func(request func(what string, read func(context.Context) error))) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var asking sync.WaitGroup
	all(func(what string, read func(context.Context) error) {
		if started := time.Now(); o.c.Connected() && o.due(what, started) {
			asking.Go(func() { o.note(what, started, read(ctx)) })
		}
	})
	asking.Wait()
}

// request requests all but the offers.
func (o *observer) request(request func(what string, read func(context.Context) error)) {
	for shard := range o.c.Shards() {
		request(fmt.Sprintf("shard %d", shard), func(ctx context.Context) error {
			end, err := o.c.LogEnd(ctx, shard)
			return o.set(err, func() { o.last.Shards[shard].grow(end, time.Now()) })
		})
	}
	request("owners of shards", func(ctx context.Context) error {
		owners, err := o.c.Owners(ctx)
		if owners != nil {
			_ = o.set(nil, func() { o.owners = owners }) // also where only some can be read
		}
		return err
	})
	request("queues", func(ctx context.Context) error {
		queues, err := o.c.Queues(ctx)
		return o.set(err, func() { o.queues = queues })
	})
	request("what waits", func(ctx context.Context) error {
		n, err := o.c.WaitingCount(ctx)
		return o.set(err, func() { o.last.Waiting = n })
	})
}

// due reports whether something is to be read now.
func (o *observer) due(what string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return now.After(o.next[what])
}

// note decides when something is read again.
func (o *observer) note(what string, started time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.problems, what)
	backoff := backoffFactor * time.Since(started)
	switch {
	case err != nil && !o.c.Connected():
		backoff = 0 // the connection is the problem
	case err != nil:
		o.problems[what] = fmt.Errorf("%s: %w", what, explainTimeout(err))
		backoff = retryEvery
	}
	o.next[what] = time.Now().Add(backoff)
}

// explainTimeout explains the error of a read: the server does not answer requests
// for which the user has no permission.
func explainTimeout(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer, as when this user may not read them: %w", err)
	}
	return err
}

// grow sets the end of a shard's log, and how fast it grew.
func (s *ShardState) grow(end uint64, now time.Time) {
	s.Messages = 0
	if !s.read.IsZero() && end > s.End {
		s.Messages = float64(end-s.End) / now.Sub(s.read).Seconds()
	}
	s.End, s.read = end, now
}

// state puts together what was read.
func (o *observer) state() Deployment {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.last
	d.Time, d.Server, d.Shards = time.Now(), o.c.URL(), slices.Clone(o.last.Shards)
	for i := range d.Shards {
		d.Shards[i].Owner = o.owners[i]
		d.Messages += d.Shards[i].Messages
	}
	served := served(o.offers)
	d.Queues, d.Workers = queueStates(o.queues, served), o.workers(served, d.Time)
	for _, what := range slices.Sorted(maps.Keys(o.problems)) {
		d.Problems = append(d.Problems, o.problems[what].Error())
	}
	if !o.c.Connected() {
		d.Messages = 0
		d.Problems = append(d.Problems, "the server cannot be reached, trying again")
	}
	return d
}

// served returns the offers of workers: pools are the orchestrators', and no queues.
func served(offers []Offer) []Offer {
	return slices.DeleteFunc(slices.Clone(offers), func(o Offer) bool { return o.Kind == "pool" })
}

// queueStates returns the queues with jobs or with workers among offers, by kind and
// name. A queue stays when its tool is gone.
func queueStates(queues []Queue, offers []Offer) []QueueState {
	all := []QueueState{}
	at := map[[2]string]int{}
	of := func(q Queue) *QueueState {
		key := [2]string{q.Kind, q.Name}
		i, found := at[key]
		if !found {
			i = len(all)
			at[key] = i
			all = append(all, QueueState{Queue: q})
		}
		return &all[i]
	}
	for _, q := range queues {
		of(q)
	}
	for _, o := range offers {
		of(Queue{Kind: o.Kind, Name: o.Name}).Workers++
	}
	all = slices.DeleteFunc(all, func(q QueueState) bool { return q.Workers == 0 && q.Lag == 0 && q.Running == 0 })
	slices.SortFunc(all, func(a, b QueueState) int { return strings.Compare(a.Kind+"."+a.Name, b.Kind+"."+b.Name) })
	return all
}

// workers lists the workers of offers, and since when each has been seen.
func (o *observer) workers(offers []Offer, now time.Time) []WorkerState {
	all := []WorkerState{}
	first, before := len(o.seen) == 0, o.seen
	o.seen = map[string]time.Time{}
	for _, offer := range offers {
		i, found := slices.BinarySearchFunc(all, offer.Worker, func(w WorkerState, name string) int { return strings.Compare(w.Name, name) })
		if !found {
			since, known := before[offer.Worker]
			switch {
			case first:
				since = o.started
			case !known:
				since = now
			}
			o.seen[offer.Worker] = since
			all = slices.Insert(all, i, WorkerState{Name: offer.Worker, SeenSeconds: now.Sub(since).Seconds(), Before: since.Equal(o.started)})
		}
		if w := &all[i]; offer.Kind == "tool" {
			w.Tools = append(w.Tools, offer.Name)
		} else {
			w.Routes = append(w.Routes, offer.Name)
		}
	}
	return all
}
