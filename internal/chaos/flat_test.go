package chaos_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// Allowances over what a deployment has when it is ready and nothing has happened yet.
// A leak for each conversation, attempt or reconnect of a run exceeds them.
const (
	moreGoroutines = 12       // connections to a provider stay open for a while: two for each
	moreMemory     = 96 << 20 // bytes; what is free is not returned to the system at once
	moreConsumers  = 3        // of a stream: readers that ended are removed after seconds
)

// footprint is what a deployment has: goroutines and resident bytes of its processes, and
// consumers of its streams.
type footprint struct {
	goroutines, memory map[int]int
	consumers          map[string]int
}

// footprint measures the processes that answer.
func (d *deployment) footprint(ctx context.Context, b *bus.Bus) (footprint, error) {
	f := footprint{map[int]int{}, map[int]int{}, map[string]int{}}
	for n, role := range roles() {
		if role == "viewer" {
			continue
		}
		values, err := metrics(ctx, d.metricsAddress(n))
		if err != nil {
			return f, fmt.Errorf("%s %d: %w", role, n, err)
		}
		f.goroutines[n], f.memory[n] = values["go_goroutines"], values["process_resident_memory_bytes"]
	}
	_, js := b.Raw()
	streams := js.ListStreams(ctx)
	for s := range streams.Info() {
		f.consumers[s.Config.Name] = s.State.Consumers
	}
	return f, streams.Err()
}

// firstFootprint waits until all processes answer, the queue of each offer exists, so that
// its workers serve it, and they have as many goroutines as a moment before.
func (d *deployment) firstFootprint(ctx context.Context, b *bus.Bus) (f footprint) {
	var before footprint
	err := patiently(ctx, func(ctx context.Context) (err error) {
		before = f
		if f, err = d.footprint(ctx, b); err == nil && !maps.Equal(f.goroutines, before.goroutines) {
			err = errors.New("they are starting")
		}
		return cmp.Or(err, queued(ctx, b))
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return f
}

// queued returns an error while an offered tool has no queue.
func queued(ctx context.Context, b *bus.Bus) error {
	offers, err := b.Presence().Offers(ctx)
	if err != nil {
		return err
	}
	_, js := b.Raw()
	for _, o := range offers {
		if o.Tool == nil {
			continue
		}
		for _, queueOf := range []func(string) (topology.Queue, error){topology.ToolQueue, topology.LowQueue} {
			q, err := queueOf(o.Name)
			if err == nil {
				_, err = js.Consumer(ctx, topology.StreamJobs, q.Consumer)
			}
			if err != nil {
				return fmt.Errorf("queue of %s: %w", o.Name, err)
			}
		}
	}
	return nil
}

// metricsAddress returns where a process tells its metrics, as its log says: a port that
// was free before may be another's when a process is started again.
func (d *deployment) metricsAddress(n int) string {
	raw, _ := os.ReadFile(filepath.Join(d.dir, fmt.Sprintf("%s-%d.log", roles()[n], n))) // without it there is no address
	const before = `msg="health and metrics" address=`
	_, rest, _ := strings.Cut(string(raw[max(bytes.LastIndex(raw, []byte(before)), 0):]), before)
	address, _, _ := strings.Cut(rest, "\n")
	return address
}

// metrics reads the values without labels of a process.
func metrics(ctx context.Context, address string) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	r.Close = true // a connection would be a goroutine
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = io.Copy(io.Discard, res.Body); _ = res.Body.Close() }() // it was only read
	all, lines := map[string]int{}, bufio.NewScanner(res.Body)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				all[name] = int(v)
			}
		}
	}
	return all, lines.Err()
}

// exceeds returns where a footprint is larger than what was there at the beginning, by
// role: which of two processes has the work is by chance.
func (f footprint) exceeds(before footprint) (more []string) {
	most := func(values map[int]int, role string) (m int) {
		for n, r := range roles() {
			if r == role {
				m = max(m, values[n])
			}
		}
		return m
	}
	for n, role := range roles() {
		if had := most(before.goroutines, role); f.goroutines[n] > had+moreGoroutines {
			more = append(more, fmt.Sprintf("%s %d has %d goroutines, and one had %d", role, n, f.goroutines[n], had))
		}
		if had := most(before.memory, role); f.memory[n] > had+moreMemory {
			more = append(more, fmt.Sprintf("%s %d has %d bytes, and one had %d", role, n, f.memory[n], had))
		}
	}
	for stream, n := range f.consumers {
		// Queues are made when a tool or a route is offered or asked for the first time.
		if had := before.consumers[stream]; n > had+moreConsumers {
			more = append(more, fmt.Sprintf("%s has %d consumers, and had %d", stream, n, had))
		}
	}
	return more
}

// checkFlat waits until the deployment has about what it had before anything happened:
// goroutines, memory and consumers, no object of a deleted conversation, and offers of
// the running workers only.
func (v *violations) checkFlat(ctx context.Context, c *parley.Client, d *deployment, b *bus.Bus, before footprint) (now footprint) {
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	for {
		more, err := []string(nil), error(nil)
		round, done := context.WithTimeout(ctx, roundMost)
		if now, err = d.footprint(round, b); err == nil {
			more = now.exceeds(before)
		}
		left, objects := d.objects(round, b)
		offers, offered := c.Offers(round)
		done()
		workers := map[string]bool{}
		for _, o := range offers {
			workers[o.Worker] = true
		}
		if want := 4; offered == nil && len(workers) != want {
			more = append(more, fmt.Sprintf("%d workers offer something, and %d run: %v", len(workers), want, workers))
		}
		if more = append(more, left...); len(more) == 0 && err == nil && objects == nil && offered == nil {
			return now
		}
		if !bus.Pause(ctx, 250*time.Millisecond) {
			v.add("flat", "%s (%v, %v, %v)", strings.Join(more, "; "), err, objects, offered)
			return now
		}
	}
}

// objects returns the objects of conversations that were deleted. Those of finished jobs
// are swept after minutes.
func (d *deployment) objects(ctx context.Context, b *bus.Bus) (left []string, err error) {
	_, js := b.Raw()
	store, err := js.ObjectStore(ctx, topology.BucketObjects)
	if err != nil {
		return nil, err
	}
	all, err := store.List(ctx)
	if err != nil && err != jetstream.ErrNoObjectsFound {
		return nil, err
	}
	for _, o := range all {
		for i, s := range scenarios() {
			if s.deleted && strings.HasPrefix(o.Name, d.ids[i]+"/") {
				left = append(left, "the object "+o.Name+" of a deleted conversation")
			}
		}
	}
	return left, nil
}
