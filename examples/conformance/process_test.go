package conformance_test

import (
	"net/url"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

func announces(s *stage, l language) {
	s.start(l, "one")
	o := s.offer(l, "one")
	if o.Kind != "tool" || o.Name != l.tool || !named(o.Worker, "one") || o.Tool == nil || o.Tool.Name != l.tool || o.Tool.Effect != events.EffectPure || o.Tool.Description == "" {
		s.t.Fatalf("it announces %+v", o)
	}
	var v tool.Validator
	if err := v.Check(*o.Tool); err != nil {
		s.t.Error(err)
	}
}

// consumer returns the tool's queue as the server reports it.
func (s *stage) consumer(l language) *jetstream.ConsumerInfo {
	s.t.Helper()
	queue, err := topology.ToolQueue(l.tool)
	s.done(err)
	c, err := s.js.Consumer(s.t.Context(), topology.StreamJobs, queue.Consumer)
	s.done(err)
	info, err := c.Info(s.t.Context())
	s.done(err)
	return info
}

// signsIn runs a call on servers without accounts, which want a token, or a user
// and a password.
func signsIn(s *stage, l language) {
	for _, user := range []*url.Userinfo{url.User("t0ken"), url.UserPassword("somebody", "s3cr3t")} {
		for _, inURL := range []bool{true, false} {
			plain := newPlainStage(s.t, user, inURL)
			plain.start(l, "one")
			plain.newCall(l, l.good+"}").publish().ended(events.StatusOK)
		}
	}
}

// requests returns the requests for the tool's queue from now on.
func (s *stage) requests(l language) (_ *nats.Subscription, consumer string) {
	s.t.Helper()
	queue, err := topology.ToolQueue(l.tool)
	s.done(err)
	nc, _ := s.Raw()
	sub, err := nc.SubscribeSync(topology.QueueRequest(queue.Consumer))
	s.done(err)
	s.done(nc.FlushWithContext(s.within(soon)))
	return sub, queue.Consumer
}

func requestsTheQueue(s *stage, l language) {
	sub, consumer := s.requests(l)
	s.launch(l, "one")
	_, err := sub.NextMsg(soon)
	s.done(err)
	s.exists(consumer)
	made := s.consumer(l).Config
	// The orchestrator's call changes nothing.
	queue, err := topology.ToolQueue(l.tool)
	s.done(err)
	info, err := s.js.CreateOrUpdateConsumer(s.t.Context(), topology.StreamJobs, queue.ConsumerConfig())
	s.done(err)
	if want := info.CachedInfo().Config; !reflect.DeepEqual(made, want) {
		s.t.Errorf("the worker has\n%+v\nthe orchestrator creates\n%+v", made, want)
	}
	s.newCall(l, l.good+"}").publish().ended(events.StatusOK)
}

// exists waits until a queue exists.
func (s *stage) exists(consumer string) {
	s.t.Helper()
	s.eventually(2*soon, "the queue is there", func() bool {
		_, err := s.js.Consumer(s.t.Context(), topology.StreamJobs, consumer)
		return err == nil
	})
}

func requestsAgain(s *stage, l language) {
	s.stop()
	sub, consumer := s.requests(l)
	s.launch(l, "one")
	_, err := sub.NextMsg(soon)
	s.done(err)
	s.done(sub.Unsubscribe()) // nobody answers now
	s.answer()
	s.exists(consumer)
	s.newCall(l, l.good+"}").publish().ended(events.StatusOK)
}

func leavesTheQueue(s *stage, l language) {
	s.queue(l)
	s.start(l, "one")
	s.newCall(l, l.good+"}").publish().ended(events.StatusOK)
	if got := s.consumer(l).Config.AckWait; got != ackWait {
		s.t.Errorf("AckWait is %v now, was %v", got, ackWait)
	}
}

func announcesAgain(s *stage, l language) {
	s.start(l, "one")
	kv, err := s.js.KeyValue(s.t.Context(), topology.BucketPresence)
	s.done(err)
	w, err := kv.Watch(s.within(topology.PresenceTTL), topology.PresenceKey("tool", l.tool, "*"), jetstream.UpdatesOnly())
	s.done(err)
	defer func() { s.done(w.Stop()) }()
	select {
	case e := <-w.Updates():
		if e == nil || e.Operation() != jetstream.KeyValuePut {
			s.t.Errorf("its key changed to %v", e)
		}
	case <-time.After(topology.PresenceTTL / 2):
		s.t.Errorf("not renewed within half of its lifetime of %v", topology.PresenceTTL)
	}
}

// handsBack starts a second worker, which takes the job that the first one hands
// back.
func handsBack(s *stage, l language) {
	c, first := running(s, l, events.EffectPure)
	started := await1(c)
	s.start(l, "two")
	stopped := time.Now()
	first.signal(syscall.SIGTERM)
	second := await[*events.ToolStarted](c, soon)
	if types := c.lanes(); !strings.Contains(types, "ToolReleased") {
		s.t.Errorf("the worker did not write that it handed the call back: the lane holds %s", types)
	}
	if took := time.Since(stopped); took >= ackWait {
		s.t.Errorf("another worker got the job after %v, when AckWait had expired", took)
	}
	if !named(second.Worker, "two") || second.Delivery != 2 || second.Attempt == started.Attempt {
		s.t.Errorf("after %+v comes %+v", started, second)
	}
}

// await1 returns the start on the lane.
func await1(c *call) *events.ToolStarted {
	c.t.Helper()
	e, ok := c.read()[0].event.(*events.ToolStarted)
	if !ok {
		c.t.Fatalf("the lane holds %s", c.lanes())
	}
	return e
}

func endsOnce(s *stage, l language) {
	c, p := running(s, l, events.EffectOnce)
	p.signal(syscall.SIGTERM)
	c.ended(events.StatusUnknown)
}

func leaves(s *stage, l language) {
	s.queue(l)
	p := s.start(l, "one")
	s.newCall(l, l.good+"}").publish().ended(events.StatusOK)
	p.signal(syscall.SIGTERM)
	s.eventually(soon, "its announcement is gone", func() bool { return s.offer(l, "one") == nil })
	select {
	case <-p.done:
		if p.err != nil {
			s.t.Errorf("it ended with %v", p.err)
		}
	case <-time.After(soon):
		s.t.Error("the worker does not end")
	}
}

func takesOver(s *stage, l language) {
	c, first := running(s, l, events.EffectIdempotent)
	started := await1(c)
	first.signal(syscall.SIGKILL)
	<-first.done
	s.start(l, "two")
	second := await[*events.ToolStarted](c, 2*soon)
	if !named(second.Worker, "two") || second.Delivery < 2 || second.Attempt == started.Attempt {
		s.t.Errorf("after %+v comes %+v", started, second)
	}
	id := newID()
	c.publishInput(id, &cancel{ID: id, Turn: c.job.Turn})
	if r := c.ended(events.StatusCancelled); r.Attempt != second.Attempt {
		s.t.Errorf("the result is of attempt %s, the latest is %s", r.Attempt, second.Attempt)
	}
}
