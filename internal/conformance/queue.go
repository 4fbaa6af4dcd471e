package conformance

import (
	"reflect"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// Consumer returns a queue as the server reports it.
func (s *Stage) Consumer(w Served) *jetstream.ConsumerInfo {
	c, err := s.JS.Consumer(s.Context(), topology.StreamJobs, s.queueOf(w).Consumer)
	s.Must(err)
	info, err := c.Info(s.Context())
	s.Must(err)
	return info
}

// queueRequests returns the requests for a queue from now on.
func (s *Stage) queueRequests(w Served) *nats.Subscription {
	nc, _ := s.Raw()
	sub, err := nc.SubscribeSync(topology.QueueRequest(s.queueOf(w).Consumer))
	s.Must(err)
	s.Must(nc.FlushWithContext(s.Within(Soon)))
	return sub
}

func (s *Stage) requested(sub *nats.Subscription, w Served) {
	if _, err := sub.NextMsg(Soon); err != nil {
		s.Fatalf("within %v no request on %s (%v), expected one: the queue is missing", Soon, topology.QueueRequest(s.queueOf(w).Consumer), err)
	}
}

// queueExists waits until a queue exists.
func (s *Stage) queueExists(w Served) {
	s.Eventually(2*Soon, "the queue "+s.queueOf(w).Consumer+" exists", func() bool {
		_, err := s.JS.Consumer(s.Context(), topology.StreamJobs, s.queueOf(w).Consumer)
		return err == nil
	})
}

// RequestsTheQueue checks that a worker has a missing queue created. run has it run a job.
func (s *Stage) RequestsTheQueue(w Served, run func()) {
	sub := s.queueRequests(w)
	s.Launch("one")
	s.requested(sub, w)
	s.queueExists(w)
	made := s.Consumer(w).Config
	// The orchestrator's call changes nothing.
	info, err := s.JS.CreateOrUpdateConsumer(s.Context(), topology.StreamJobs, s.queueOf(w).ConsumerConfig())
	s.Must(err)
	if want := info.CachedInfo().Config; !reflect.DeepEqual(made, want) {
		s.Errorf("the worker has the queue %+v, the orchestrator creates %+v", made, want)
	}
	run()
}

// RequestsAgain checks that a worker repeats the request for a queue that nobody answers.
func (s *Stage) RequestsAgain(w Served, run func()) {
	s.StopAnswers()
	sub := s.queueRequests(w)
	s.Launch("one")
	s.requested(sub, w)
	s.Must(sub.Unsubscribe()) // nobody answers now
	s.Answer()
	s.queueExists(w)
	run()
}

// LeavesTheQueue checks that a worker does not change an existing queue, which an
// administrator has given an AckWait of its own.
func (s *Stage) LeavesTheQueue(w Served, run func()) {
	cfg := s.queueOf(w).ConsumerConfig()
	cfg.AckWait += time.Second
	_, err := s.JS.CreateOrUpdateConsumer(s.Context(), topology.StreamJobs, cfg)
	s.Must(err)
	s.StartWorker(w, "one")
	run()
	if got := s.Consumer(w).Config.AckWait; got != cfg.AckWait {
		s.Errorf("AckWait of the queue is %v now, expected %v as before", got, cfg.AckWait)
	}
}

// AnnouncesAgain checks that a worker puts its key again in time.
func (s *Stage) AnnouncesAgain(w Served) {
	s.StartWorker(w, "one")
	kv, err := s.JS.KeyValue(s.Context(), topology.BucketPresence)
	s.Must(err)
	watch, err := kv.Watch(s.Within(topology.PresenceTTL), topology.PresenceKey(w.Kind, w.Name, "*"), jetstream.UpdatesOnly())
	s.Must(err)
	defer func() { s.Must(watch.Stop()) }()
	select {
	case e := <-watch.Updates():
		if e == nil || e.Operation() != jetstream.KeyValuePut {
			s.Errorf("its key changed to %v, expected it to be put again", e)
		}
	case <-time.After(topology.PresenceTTL / 2):
		s.Errorf("it did not put its key again within %v, half of the lifetime of a key", topology.PresenceTTL/2)
	}
}

// Leaves checks that a worker that gets SIGTERM deletes its key and exits with code 0.
func (s *Stage) Leaves(w Served, run func()) {
	s.MakeQueue(w)
	p := s.StartWorker(w, "one")
	run()
	p.Signal(syscall.SIGTERM)
	s.Eventually(Soon, "it deletes its key after SIGTERM", func() bool { return s.OfferOf(w, "one") == nil })
	if code := p.Exit(Soon); code != 0 {
		s.Errorf("it exits with code %d after SIGTERM, expected 0", code)
	}
}
