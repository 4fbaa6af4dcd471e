package chaos_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// witness records, over a connection without faults, what the log does not hold: who
// had leases, where checkpoints were, and which jobs were published.
type witness struct {
	bus *bus.Bus

	mu          sync.Mutex
	owners      map[int]map[string]bool    // of each shard
	checkpoints map[int]map[uint64]uint64  // of each shard, with the end of the log when it was seen first
	jobs        map[string]map[string]bool // message ids of each job, by subject
}

func newWitness(t *testing.T, b *bus.Bus) *witness {
	t.Helper()
	w := &witness{bus: b, owners: map[int]map[string]bool{}, checkpoints: map[int]map[uint64]uint64{}, jobs: map[string]map[string]bool{}}
	nc, _ := b.Raw()
	_, err := nc.Subscribe("jobs.>", func(m *nats.Msg) { // until the connection is closed
		w.mu.Lock()
		defer w.mu.Unlock()
		record(w.jobs, m.Subject, m.Header.Get(jetstream.MsgIDHeader))
	})
	if err == nil {
		err = nc.Flush()
	}
	owners, unknown := b.Deployment().Owners(t.Context())
	if err = cmp.Or(err, unknown); err != nil {
		t.Fatal(err)
	}
	for shard, owner := range owners {
		record(w.owners, shard, owner)
	}
	return w
}

func record[K, V comparable](all map[K]map[V]bool, key K, value V) {
	if all[key] == nil {
		all[key] = map[V]bool{}
	}
	all[key][value] = true
}

// watchTime is how long a watch of leases lives: one whose server was killed hears
// nothing, and the bucket may be another one.
const watchTime = 2 * time.Second

// watchLeases records every lease that is stored until ctx ends: one may be held for less
// than watch looks.
func (w *witness) watchLeases(ctx context.Context) {
	for ctx.Err() == nil {
		watching, cancel := context.WithTimeout(ctx, watchTime)
		if err := w.leases(watching); err != nil {
			bus.Pause(ctx, 50*time.Millisecond)
		}
		cancel()
	}
}

func (w *witness) leases(ctx context.Context) error {
	_, js := w.bus.Raw()
	kv, err := js.KeyValue(ctx, topology.BucketLeases)
	if err != nil {
		return err
	}
	all, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = all.Stop() }() // its consumer is removed in any case
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, open := <-all.Updates():
			if !open {
				return nil
			}
			if e == nil {
				continue // all that was there has come
			}
			w.mu.Lock()
			for shard := range w.bus.Shards() {
				if e.Key() == topology.ShardKey(shard) {
					record(w.owners, shard, string(e.Value()))
				}
			}
			w.mu.Unlock()
		}
	}
}

// lookTime bounds one look at leases and checkpoints.
const lookTime = time.Second

// watch looks at leases, which live for seconds, and checkpoints, which move once a
// second, until ctx ends.
func (w *witness) watch(ctx context.Context) {
	for {
		// A server that was killed never answers, and its successor says the same a moment
		// later: a lease lives for longer than lookTime, so that none is missed.
		asking, cancel := context.WithTimeout(ctx, lookTime)
		owners, _ := w.bus.Deployment().Owners(asking)
		for shard := range w.bus.Shards() {
			at, err := w.bus.Shard(shard).Checkpoint(asking)
			var end uint64
			if err == nil {
				end, _, err = w.bus.Shard(shard).End(asking)
			}
			w.mu.Lock()
			if w.checkpoints[shard] == nil {
				w.checkpoints[shard] = map[uint64]uint64{}
			}
			if _, seen := w.checkpoints[shard][at]; err == nil && !seen {
				w.checkpoints[shard][at] = end
			}
			if owners[shard] != "" {
				record(w.owners, shard, owners[shard])
			}
			w.mu.Unlock()
		}
		cancel()
		if !bus.Pause(ctx, 150*time.Millisecond) {
			return
		}
	}
}

// checkOwners: only a process that held the shard's lease decides.
func (v *violations) checkOwners(k *talk, log []parley.Event, w *witness) {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := w.owners[topology.ShardOf(k.id, w.bus.Shards())]
	for _, e := range log {
		if d, is := e.Body.(*parley.Decision); is && !held[d.Owner] {
			v.add("lease", "%s %s: %s decided at %s and never held the shard's lease; %v did", k.name, k.id, d.Owner, e.Cursor, held)
			return
		}
	}
}

// checkCheckpoints: no checkpoint was ever past the beginning of work that was open
// when it was set. Work that ended before the checkpoint was seen may be on both sides.
func (v *violations) checkCheckpoints(k *talk, log []parley.Event, w *witness) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, end := range w.checkpoints[topology.ShardOf(k.id, w.bus.Shards())] {
		open := ""
		for _, e := range log {
			d, is := e.Body.(*parley.Decision)
			switch {
			case !is || e.Cursor.Sequence > end:
			case !d.State.Busy():
				open = ""
			case e.Cursor.Sequence <= at:
				open = fmt.Sprintf("%s since %d", d.State.Phase, e.Cursor.Sequence)
			}
		}
		if open != "" {
			v.add("checkpoint", "%s %s: the checkpoint was at %d when the log was at %d, and the conversation was %s", k.name, k.id, at, end, open)
			return
		}
	}
}

// checkMarks: a start that takes a generation or a call over names the attempt before.
func (v *violations) checkMarks(k *talk, log []parley.Event) {
	last := map[string]string{}
	for _, e := range log {
		var what, attempt string
		switch b := e.Body.(type) {
		case *parley.GenerationStarted:
			what, attempt = b.Generation, b.Attempt
		case *parley.ToolStarted:
			what, attempt = b.Call, b.Attempt
		default:
			continue
		}
		if last[what] != "" && e.Supersedes != last[what] {
			v.add("marks", "%s %s: %T at %s supersedes %q, and the attempt before is %q", k.name, k.id, e.Body, e.Cursor, e.Supersedes, last[what])
		}
		last[what] = attempt
	}
}

// checkJobs: each job is published under one message id, by which the queue refuses
// its doubles, or by an owner that takes the shard, without one, when the queue does not
// hold it.
func (v *violations) checkJobs(w *witness) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for subject, ids := range w.jobs {
		delete(ids, "")
		if len(ids) > 1 {
			v.add("jobs", "%s was published under the message ids %v", subject, ids)
		}
	}
}

// checkInputs: every input is answered under the id that it was published with, and
// nothing else is answered. The last may take a moment.
func (v *violations) checkInputs(ctx context.Context, c *parley.Client, k *talk) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		unanswered, unknown, err := inputs(ctx, c.Conversation(k.id))
		if err == nil && len(unanswered) == 0 && len(unknown) == 0 {
			return
		}
		if !bus.Pause(ctx, 200*time.Millisecond) {
			v.add("inputs", "%s %s: inputs without an answer: %v; answers to no input: %v; %v", k.name, k.id, unanswered, unknown, err)
			return
		}
	}
}

// inputs returns the ids of inputs without an answer, and of answers without an input.
func inputs(ctx context.Context, conv *parley.Conversation) (unanswered, unknown []string, err error) {
	published, answered := map[string]bool{}, map[string]bool{}
	for m, err := range conv.RawMessages(ctx, parley.From{NoFollow: true}) {
		if err != nil {
			return nil, nil, err
		}
		if !strings.HasSuffix(m.Subject, ".in") {
			continue
		}
		var input struct{ ID string }
		if err := json.Unmarshal(m.Data, &input); err != nil {
			return nil, nil, err
		}
		published[input.ID] = true
	}
	for e, err := range conv.Events(ctx, parley.From{NoFollow: true}) {
		if err != nil {
			return nil, nil, err
		}
		if a, is := e.Body.(*parley.InputAnswered); is {
			answered[a.Input] = true
		}
	}
	for id := range published {
		if !answered[id] {
			unanswered = append(unanswered, id)
		}
	}
	for id := range answered {
		if !published[id] {
			unknown = append(unknown, id)
		}
	}
	return unanswered, unknown, nil
}
