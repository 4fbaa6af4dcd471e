package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// keepEvery is how often a Keeper looks for what is missing.
const keepEvery = time.Second

// Keeper watches the streams, buckets and queues of a deployment. In a process
// that may set up it creates again what is missing, and corrects settings that
// differ; elsewhere it only reports.
type Keeper struct {
	bus    *Bus
	looks  int
	logged string

	mu      sync.Mutex
	problem error
}

// NewKeeper returns a Keeper that has found nothing wrong yet.
func (d Deployment) NewKeeper() *Keeper { return &Keeper{bus: d.bus} }

// Problem is why the deployment cannot be used now; nil when it can.
func (k *Keeper) Problem() error {
	if !k.bus.Connected() {
		return errors.New("not connected to NATS")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.problem != nil {
		return k.problem
	}
	return k.bus.writeProblem()
}

// Run watches until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if k.bus.Connected() {
			k.look(ctx)
		}
	}
}

// look checks the deployment and repairs it where it may.
func (k *Keeper) look(ctx context.Context) {
	var err error
	if k.bus.said != nil {
		err = k.keep(ctx)
	} else if k.looks++; k.looks%2 == 0 {
		err = k.watch(ctx)
	} else {
		return
	}
	if ctx.Err() != nil || !k.bus.Connected() {
		return
	}
	k.mu.Lock()
	k.problem = err
	k.mu.Unlock()
	switch {
	case err == nil && k.logged != "":
		k.logged = ""
		k.bus.log.Warn("the deployment is complete again")
	case err != nil && err.Error() != k.logged:
		k.logged = err.Error()
		k.bus.log.Warn("not ready", "error", err)
	}
}

// keep creates again what is missing and corrects settings that differ.
func (k *Keeper) keep(ctx context.Context) error {
	var problems []error
	for _, p := range k.bus.parts(k.bus.plan) {
		change, err := k.bus.ensure(ctx, p, topology.Plan{}, true)
		switch {
		case err != nil:
			problems = append(problems, k.bus.explainDenied(err))
		case change != "":
			k.bus.log.Warn("a stream was missing or wrong", "stream", p.name, "change", change)
		}
	}
	problems = append(problems, k.queues(ctx))
	if err := errors.Join(problems...); err != nil {
		return err
	}
	return k.bus.probe(ctx)
}

// queues makes the queues again that this process made and somebody deleted.
func (k *Keeper) queues(ctx context.Context) error {
	jobs, err := k.bus.info(ctx, topology.StreamJobs)
	if err != nil || jobs == nil {
		return err
	}
	known := 0
	k.bus.queues.Range(func(_, _ any) bool { known++; return true })
	if jobs.State.Consumers >= known {
		return nil
	}
	queues, err := k.bus.Jobs().Queues(ctx)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, q := range queues {
		there[q.consumer()] = true
	}
	var problems []error
	k.bus.queues.Range(func(key, _ any) bool {
		if q := key.(topology.Queue); !there[q.Consumer] {
			k.bus.queues.Delete(q)
			k.bus.log.Warn("a queue was missing", "queue", q.Consumer, "change", "made again")
			problems = append(problems, k.bus.Jobs().EnsureQueue(ctx, q))
		}
		return true
	})
	return errors.Join(problems...)
}

// consumer is the durable name of the queue.
func (q QueueInfo) consumer() string {
	return topology.Consumer(q.Kind, q.Name, q.Low)
}

// watch looks for what a worker needs, with the permissions of a worker.
func (k *Keeper) watch(ctx context.Context) error {
	var missing []string
	for _, p := range k.bus.parts(k.bus.plan) {
		if !p.shard && p.name != topology.StreamHistory && p.name != topology.BucketStream(topology.BucketPresence) {
			continue
		}
		info, err := k.bus.info(ctx, p.name)
		if err != nil {
			return err
		}
		if info == nil {
			missing = append(missing, p.name)
		}
	}
	if gone, err := k.jobsGone(ctx); err != nil {
		return err
	} else if gone {
		missing = append(missing, topology.StreamJobs)
		k.bus.evict(topology.StreamJobs)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s missing on the server: an orchestrator or `parley up` makes them again", strings.Join(missing, ", "))
	}
	return nil
}

// jobsGone queries a queue: workers have no permission for JOBS itself.
func (k *Keeper) jobsGone(ctx context.Context) (bool, error) {
	needed := map[topology.Queue]bool{}
	k.bus.served.Range(func(key, _ any) bool {
		needed[*key.(*topology.Queue)] = true
		return true
	})
	k.bus.queues.Range(func(key, _ any) bool {
		needed[key.(topology.Queue)] = true
		return true
	})
	for q := range needed {
		_, err := k.bus.Jobs().Find(ctx, q)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return true, nil
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			if err := k.bus.Jobs().RemakeQueue(ctx, q); err != nil {
				return false, err
			}
		case err != nil:
			return false, err
		}
	}
	return false, nil
}
