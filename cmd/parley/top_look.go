package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parleybus/parley"
)

const (
	// lookPatience is how long one look waits for the server.
	lookPatience = 2 * time.Second
	// knownTimeout is how long a list of workers is waited for at the start.
	knownTimeout = time.Second
	// askAgain is when something is asked again that could not be read.
	askAgain = 15 * time.Second
	// restFactor bounds what looking costs the server: what took long to read
	// rests that many times as long.
	restFactor = 5
)

// frame is how a deployment stands, as programs read it.
type frame struct {
	Time     time.Time     `json:"time"`
	Server   string        `json:"server"`
	Messages float64       `json:"messages_per_second"` // of all conversations
	Waiting  int           `json:"waiting"`             // conversations that wait for somebody
	Queues   []queueFrame  `json:"queues"`
	Workers  []workerFrame `json:"workers"`
	Shards   []shardFrame  `json:"shards"`
	Problems []string      `json:"problems,omitempty"` // what could not be read, and why
}

// QueueInfo is how a queue stands.
type QueueInfo = parley.Queue

type queueFrame struct {
	QueueInfo
	Workers int `json:"workers"`
}

type workerFrame struct {
	Name   string   `json:"name"`
	Routes []string `json:"routes,omitempty"`
	Tools  []string `json:"tools,omitempty"`
	// SeenSeconds is how long it has been seen; Before says that it was there when
	// the looking began.
	SeenSeconds float64 `json:"seen_seconds"`
	Before      bool    `json:"before"`
}

type shardFrame struct {
	Shard    int     `json:"shard"`
	Owner    string  `json:"owner,omitempty"`
	End      uint64  `json:"end"`
	Messages float64 `json:"messages_per_second"`
	at       time.Time
}

// observer looks at a deployment again and again.
type observer struct {
	s      *parley.Client
	server string
	began  time.Time
	seen   map[string]time.Time // since when, by worker

	mu      sync.Mutex
	last    frame
	next    map[string]time.Time // when something is read again, by its name
	problem map[string]string    // why it could not be read, by its name
	queues  []parley.Queue
	offers  []parley.Offer
	owners  map[int]string
}

func newObserver(s *parley.Client, server string) *observer {
	o := &observer{s: s, server: server, began: time.Now(),
		seen: map[string]time.Time{}, next: map[string]time.Time{}, problem: map[string]string{}, owners: map[int]string{}}
	for shard := range s.Shards() {
		o.last.Shards = append(o.last.Shards, shardFrame{Shard: shard})
	}
	return o
}

// follow takes in what workers serve until ctx ends. known is called after each list.
func (o *observer) follow(ctx context.Context, log *slog.Logger, known func()) {
	for offers, err := range o.s.FollowOffers(ctx) {
		if err != nil {
			log.Warn("cannot see who serves tools, trying again", "error", err)
			continue
		}
		o.mu.Lock()
		o.offers = offers
		o.mu.Unlock()
		known()
	}
}

// look reads how everything stands now. What could not be read stands as it was.
func (o *observer) look(ctx context.Context) *frame {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	var asking sync.WaitGroup
	ask := func(what string, read func(context.Context) error) {
		if began := time.Now(); o.s.Connected() && o.due(what, began) {
			asking.Go(func() { o.note(what, began, read(ctx)) })
		}
	}
	for shard := range o.s.Shards() {
		ask(fmt.Sprintf("shard %d", shard), func(ctx context.Context) error { return o.shard(ctx, shard) })
	}
	ask("owners of shards", o.leases)
	ask("queues", func(ctx context.Context) error {
		queues, err := o.s.Queues(ctx)
		if err == nil {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.queues = queues
		}
		return err
	})
	ask("what waits", func(ctx context.Context) error {
		n, err := o.s.WaitingCount(ctx)
		if err == nil {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.last.Waiting = n
		}
		return err
	})
	asking.Wait()
	return o.frame()
}

// due reports whether something is to be read now.
func (o *observer) due(what string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return now.After(o.next[what])
}

// note decides when something is read again.
func (o *observer) note(what string, began time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.problem, what)
	rest := restFactor * time.Since(began)
	switch {
	case err != nil && !o.s.Connected():
		rest = 0 // nothing is wrong with what was asked
	case err != nil:
		o.problem[what] = fmt.Sprintf("%s: %v", what, unanswered(err))
		rest = askAgain
	}
	o.next[what] = time.Now().Add(rest)
}

// unanswered explains an error of a read: the server says nothing to who asks for
// what they may not.
func unanswered(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer, as when this user may not read them: %w", err)
	}
	return err
}

// shard reads the end of a shard's log, and how fast it grew since.
func (o *observer) shard(ctx context.Context, shard int) error {
	end, err := o.s.LogEnd(ctx, shard)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	row, now := &o.last.Shards[shard], time.Now()
	row.Messages = 0
	if !row.at.IsZero() && end > row.End {
		row.Messages = float64(end-row.End) / now.Sub(row.at).Seconds()
	}
	row.End, row.at = end, now
	return nil
}

// leases reads who owns the shards.
func (o *observer) leases(ctx context.Context) error {
	owners, err := o.s.Owners(ctx)
	if owners == nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owners = owners
	return err
}

// frame puts together what was read.
func (o *observer) frame() *frame {
	o.mu.Lock()
	defer o.mu.Unlock()
	f, offers := o.last, o.offers
	f.Time, f.Server, f.Shards = time.Now(), o.server, slices.Clone(o.last.Shards)
	for i := range f.Shards {
		f.Shards[i].Owner = o.owners[i]
		f.Messages += f.Shards[i].Messages
	}
	f.Queues, f.Workers = queueFrames(o.queues, offers), o.workers(offers, f.Time)
	for _, p := range o.problem {
		f.Problems = append(f.Problems, p)
	}
	slices.Sort(f.Problems)
	if !o.s.Connected() {
		f.Messages = 0
		f.Problems = append(f.Problems, "the server cannot be reached, trying again")
	}
	return &f
}

// queueFrames puts the queues beside those who serve them. A queue that nobody
// serves and that holds nothing is left out: it stays when its tool is gone.
func queueFrames(queues []parley.Queue, offers []parley.Offer) []queueFrame {
	all := []queueFrame{}
	for _, q := range parley.UsedQueues(queues, offers) {
		f := queueFrame{QueueInfo: q}
		for _, o := range offers {
			if o.Kind == q.Kind && o.Name == q.Name {
				f.Workers++
			}
		}
		all = append(all, f)
	}
	return all
}

// workers lists who is there, and since when.
func (o *observer) workers(offers []parley.Offer, now time.Time) []workerFrame {
	all := []workerFrame{}
	there := map[string]bool{}
	for _, offer := range offers {
		i, found := slices.BinarySearchFunc(all, offer.Worker, func(w workerFrame, name string) int { return strings.Compare(w.Name, name) })
		if !found {
			all = slices.Insert(all, i, workerFrame{Name: offer.Worker})
		}
		w := &all[i]
		if offer.Kind == "tool" {
			w.Tools = append(w.Tools, offer.Name)
		} else {
			w.Routes = append(w.Routes, offer.Name)
		}
		there[offer.Worker] = true
	}
	first := len(o.seen) == 0
	for name := range o.seen {
		if !there[name] {
			delete(o.seen, name)
		}
	}
	for i := range all {
		w := &all[i]
		if _, known := o.seen[w.Name]; !known {
			o.seen[w.Name] = now
			if first {
				o.seen[w.Name] = o.began
			}
		}
		w.SeenSeconds, w.Before = now.Sub(o.seen[w.Name]).Seconds(), o.seen[w.Name].Equal(o.began)
	}
	return all
}
