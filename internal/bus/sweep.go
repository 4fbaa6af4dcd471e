package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// jobObject is the prefix, after the conversation's id, of the names of objects
// that hold the job of a generation or call. Each publish has an object of its
// own: the job in the queue names one by its digest.
func jobObject(id string) string { return "job." + id + "." }

// sweptJobs is how many jobs one sweep looks at; the next one continues there.
const sweptJobs = 1000

// Sweeper removes leftovers: queues of tools and routes that no worker
// offers, objects of jobs that are done, jobs that no turn waits for. One
// process does it at a time, but two do no harm.
type Sweeper struct {
	Bus *Bus
	// Unoffered is for how long a queue must have been idle and without a worker.
	Unoffered time.Duration
	// Grace is how old an object or a job must be: a younger one may be on its way.
	Grace time.Duration

	idle map[topology.Queue]time.Time // since when queues have been unused
	next uint64                       // job to continue with
}

// Swept counts what a sweep removed.
type Swept struct{ Queues, Objects, Jobs int }

// Sweep sweeps once, and removes the chunks of [Deployment.TestWrites], which it
// does not count. An error in one part does not stop the others.
func (s *Sweeper) Sweep(ctx context.Context) (n Swept, err error) {
	var failed [4]error
	n.Queues, failed[0] = s.queues(ctx)
	n.Jobs, failed[1] = s.jobs(ctx)
	n.Objects, failed[2] = s.objects(ctx)
	failed[3] = s.Bus.purgeSubject(ctx, topology.ObjectStream, topology.ChunksSubject(topology.ProbeKey), 0, new(uint64))
	return n, errors.Join(failed[:]...)
}

// queues deletes the queues without jobs and without requests of workers, whose
// tool or route no worker has offered for a while.
func (s *Sweeper) queues(ctx context.Context) (int, error) {
	offers, err := s.Bus.Presence().Offers(ctx)
	if err != nil {
		return 0, err
	}
	offered := map[string]bool{}
	for _, o := range offers {
		offered[o.Kind+" "+o.Name] = true
	}
	all, err := s.Bus.Jobs().Queues(ctx)
	if err != nil {
		return 0, err
	}
	before, now, n := s.idle, time.Now(), 0
	s.idle = map[topology.Queue]time.Time{}
	for _, info := range all {
		q, err := info.queue()
		if err != nil || info.used() || offered[info.Kind+" "+info.Name] {
			continue
		}
		since, ok := before[q]
		if !ok {
			since = now
		}
		if now.Sub(since) < s.Unoffered {
			s.idle[q] = since
			continue
		}
		if err := s.Bus.dropQueue(ctx, q); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// queue is the queue that an info is about.
func (q QueueInfo) queue() (topology.Queue, error) {
	switch {
	case q.Kind == "llm":
		return topology.LLMQueue(q.Name)
	case q.Low:
		return topology.LowQueue(q.Name)
	}
	return topology.ToolQueue(q.Name)
}

// used reports whether a queue has jobs or requests of workers.
func (q QueueInfo) used() bool { return q.Lag > 0 || q.Running > 0 || q.Waiting > 0 }

// objects deletes the objects of jobs that are not in JOBS any more.
func (s *Sweeper) objects(ctx context.Context) (int, error) {
	names, err := s.Bus.objectNames(ctx)
	if err != nil {
		return 0, err
	}
	old := map[string]string{} // the job's id by the object's name
	for _, name := range names {
		if id, at, ok := jobOfObject(name); ok && time.Since(at) > s.Grace {
			old[name] = id
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	there, err := s.Bus.jobIDs(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for name, id := range old {
		if there[id] {
			continue
		}
		dropped, err := s.Bus.Objects().Drop(ctx, name)
		if err != nil {
			return n, err
		}
		if dropped {
			n++
		}
	}
	return n, nil
}

// jobOfObject reads the name of a job's object: the generation or call, and when
// it was stored.
func jobOfObject(name string) (id string, at time.Time, ok bool) {
	_, rest, _ := strings.Cut(name, "/")
	id, version, _ := strings.Cut(strings.TrimPrefix(rest, "job."), ".")
	made, err := uuid.Parse(version)
	if !strings.HasPrefix(rest, "job.") || err != nil || made.Version() != 7 || topology.CheckID("job", id) != nil {
		return "", time.Time{}, false
	}
	return id, time.Unix(made.Time().UnixTime()), true
}

// jobIDs are the generations and calls whose jobs wait or run.
func (b *Bus) jobIDs(ctx context.Context) (map[string]bool, error) {
	s, err := b.stream(ctx, topology.StreamJobs)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime) // pages of 100,000
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(topology.AllJobs))
	if err != nil {
		return nil, fmt.Errorf("list the jobs: %w", explainJetStream(err))
	}
	ids := make(map[string]bool, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		ids[subject[strings.LastIndex(subject, ".")+1:]] = true
	}
	return ids, nil
}

// jobs purges the jobs that no turn waits for.
func (s *Sweeper) jobs(ctx context.Context) (int, error) {
	n := 0
	for range sweptJobs {
		m, err := s.Bus.firstOf(ctx, topology.StreamJobs, topology.AllJobs, s.next)
		if err != nil {
			return n, err
		}
		if m == nil {
			s.next = 1 // all were seen
			return n, nil
		}
		s.next = m.seq + 1
		if s.Bus.Now().Sub(m.at) < s.Grace {
			continue
		}
		over, err := s.Bus.jobOver(ctx, m.data)
		if err != nil {
			return n, err
		}
		var purged uint64
		if over {
			err = s.Bus.purgeSubject(ctx, topology.StreamJobs, m.subject, 0, &purged)
		}
		if n += int(purged); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Drop purges a job, whether it is there or not.
func (j Jobs) Drop(ctx context.Context, subject string) error {
	var purged uint64
	return j.bus.purgeSubject(ctx, topology.StreamJobs, subject, 0, &purged)
}

// jobOver reports whether a job's turn does not wait for it any more. One that
// names no Decision, as [Jobs.Call] publishes it, has no turn; one that cannot be
// read is its worker's to reject.
func (b *Bus) jobOver(ctx context.Context, data []byte) (bool, error) {
	lines, err := b.decode(ctx, data)
	if err != nil {
		return false, ctx.Err()
	}
	var conversation string
	wants := func(events.State) bool { return true }
	var decision uint64
	switch e := lines[0].Event.(type) {
	case *events.GenerationJob:
		conversation, decision = e.Conversation, e.Decision
		wants = func(s events.State) bool { return s.Generation == e.Generation }
	case *events.ToolJob:
		conversation, decision = e.Conversation, e.Decision
		wants = func(s events.State) bool { return s.Awaits(e.Call) }
	}
	if decision == 0 || topology.CheckID("conversation", conversation) != nil {
		return false, nil
	}
	last, lane, err := b.Conversation(conversation).LastDecision(ctx, 0)
	if err != nil || last == nil || lane < decision {
		return false, err
	}
	return !wants(last.State), nil
}
