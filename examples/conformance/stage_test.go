package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// ackWait is the queue's AckWait on the stage, shorter than the default to keep
// the tests short. Workers read it from the queue.
const ackWait = 2 * time.Second

// stage is a server on which workers have exactly the permissions of their role.
type stage struct {
	*bus.Bus
	t   *testing.T
	url string
	js  jetstream.JetStream
}

// newStage starts a stage on which tool-workers may also publish to these subjects.
func newStage(t *testing.T, also ...string) *stage {
	t.Helper()
	opts := &server.Options{ServerName: "stage", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()}
	for _, r := range []topology.Role{topology.ToolWorker, topology.Admin} {
		publish, subscribe := topology.Permissions(r, topology.Plan{Shards: 2})
		opts.Users = append(opts.Users, &server.User{Username: string(r), Password: "p",
			Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: append(publish, also...)}, Subscribe: &server.SubjectPermission{Allow: subscribe}}})
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	cfg := bus.Config{URL: ns.ClientURL(), User: string(topology.Admin), Password: "p"}
	b, err := bus.Connect(t.Context(), cfg, &topology.Plan{Shards: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	_, js := b.Raw()
	return &stage{Bus: b, t: t, url: ns.ClientURL(), js: js}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// within bounds one step.
func (s *stage) within(d time.Duration) context.Context {
	ctx, stop := context.WithTimeout(s.t.Context(), d)
	s.t.Cleanup(stop)
	return ctx
}

func (s *stage) done(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// eventually polls until a condition holds that the server does not announce.
func (s *stage) eventually(d time.Duration, what string, is func() bool) {
	s.t.Helper()
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end.C:
			s.t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// offer returns the worker's announcement of its tool, or nil. The worker appends
// a random part to its configured name to make it unique.
func (s *stage) offer(l language, worker string) *bus.Offer {
	s.t.Helper()
	kv, err := s.js.KeyValue(s.t.Context(), topology.BucketPresence)
	s.done(err)
	keys, err := kv.ListKeysFiltered(s.t.Context(), topology.PresenceKey("tool", l.tool, "*"))
	s.done(err)
	for key := range keys.Keys() {
		if !named(strings.TrimPrefix(key, topology.PresenceKey("tool", l.tool, "")), worker) {
			continue
		}
		e, err := kv.Get(s.t.Context(), key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // it left in between
		}
		s.done(err)
		var o bus.Offer
		s.done(json.Unmarshal(e.Value(), &o))
		return &o
	}
	return nil
}

// named reports whether a worker's name is derived from the configured one.
func named(own, given string) bool {
	return strings.HasPrefix(own, given+"-") && len(own) > len(given)+4
}

// queue creates the tool's queue as the orchestrator does, except for the AckWait.
func (s *stage) queue(l language) {
	s.t.Helper()
	q, err := topology.ToolQueue(l.tool)
	s.done(err)
	cfg := q.ConsumerConfig()
	cfg.AckWait = ackWait
	_, err = s.js.CreateOrUpdateConsumer(s.t.Context(), topology.StreamJobs, cfg)
	s.done(err)
}

// call is a call for a worker to run.
type call struct {
	*stage
	job      *events.ToolJob
	lane     topology.Address
	messages <-chan bus.Message // of the conversation, from its beginning
	subject  string             // of the job
}

// newCall writes the Decision for a call and returns its job without publishing it.
func (s *stage) newCall(l language, arguments string) *call {
	s.t.Helper()
	c := &call{stage: s, job: &events.ToolJob{Conversation: newID(), Turn: newID(), Call: newID(), Tool: l.tool,
		Effect: events.EffectPure, Arguments: json.RawMessage(arguments)}}
	c.lane = topology.OfCall(s.Shards(), c.job.Conversation, events.ChannelCall, c.job.Call)
	c.job.Subject = c.lane.Subject(topology.Conv)
	c.job.Output = topology.OfCall(s.Shards(), c.job.Conversation, events.ChannelOut, c.job.Call).Subject(topology.Conv)
	var err error
	c.subject, err = topology.ToolJob(l.tool, c.job.Call)
	s.done(err)
	c.job.Decision = c.decide(0, events.CallState{Call: c.job.Call, Tool: l.tool})
	messages := make(chan bus.Message, 1000)
	c.messages = messages
	ctx := s.within(time.Minute)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range s.Conversation(c.job.Conversation).Attach(ctx, bus.From{}) {
			if err != nil {
				return
			}
			messages <- m
		}
	}()
	s.t.Cleanup(func() { <-done }) // the test's context has ended by then
	return c
}

// decide appends a Decision with these calls in its state.
func (c *call) decide(after uint64, calls ...events.CallState) uint64 {
	c.t.Helper()
	frame, err := events.AppendFrame(nil, &events.Decision{State: events.State{Phase: events.PhaseCalling, Turn: c.job.Turn, Calls: calls}})
	c.done(err)
	at, err := c.Lane(topology.At(c.Shards(), c.job.Conversation, events.ChannelTurn)).Append(c.within(5*time.Second), after, frame)
	c.done(err)
	return at
}

// publish publishes the job to its queue.
func (c *call) publish() *call {
	c.t.Helper()
	c.done(c.Jobs().Publish(c.within(5*time.Second), c.job.Conversation, c.subject, c.job.Call, c.job))
	return c
}

// write appends to the call's lane as another worker would.
func (c *call) write(after uint64, e events.Event) uint64 {
	c.t.Helper()
	frame, err := events.AppendFrame(nil, e)
	c.done(err)
	at, err := c.Lane(c.lane).Append(c.within(5*time.Second), after, frame)
	c.done(err)
	return at
}

// publishInput publishes an input to the conversation.
func (c *call) publishInput(id string, e events.Event) {
	c.t.Helper()
	_, err := c.Conversation(c.job.Conversation).Publish(c.within(5*time.Second), id, e)
	c.done(err)
}

// jobRemoved blocks until the job has left its queue.
func (c *call) jobRemoved(d time.Duration) {
	c.t.Helper()
	jobs, err := c.js.Stream(c.t.Context(), topology.StreamJobs)
	c.done(err)
	c.eventually(d, "the job is acknowledged", func() bool {
		_, err := jobs.GetLastMsgForSubject(c.t.Context(), c.subject)
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
}

// written is one message of the call's lane as the server stores it.
type written struct {
	at     uint64
	after  string // the expected last sequence of the writer
	event  events.Event
	header map[string][]string
}

// read returns the messages of the call's lane.
func (c *call) read() []written {
	c.t.Helper()
	conv, err := c.js.Stream(c.t.Context(), topology.ConvStream(c.lane.Shard))
	c.done(err)
	var all []written
	for seq := uint64(1); ; {
		m, err := conv.GetMsg(c.t.Context(), seq, jetstream.WithGetMsgSubject(c.job.Subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all
		}
		c.done(err)
		lines, err := events.DecodeFrame(m.Data)
		c.done(err)
		for _, l := range lines {
			all = append(all, written{m.Sequence, m.Header.Get(jetstream.ExpectedLastSubjSeqHeader), l.Event, m.Header})
		}
		seq = m.Sequence + 1
	}
}

// await blocks until a worker writes an event of a type, and returns it.
func await[E events.Event](c *call, d time.Duration) E {
	c.t.Helper()
	end := time.NewTimer(d)
	defer end.Stop()
	for {
		select {
		case m := <-c.messages:
			for _, l := range m.Lines {
				if e, ok := l.Event.(E); ok {
					return e
				}
			}
		case <-end.C:
			var e E
			c.t.Fatalf("no %T within %v; the lane holds %s", e, d, c.lanes())
		}
	}
}

// lanes describes the call's lane for error messages.
func (c *call) lanes() string {
	c.t.Helper()
	all := c.read()
	text := strconv.Itoa(len(all)) + " events:"
	for _, w := range all {
		text += " " + w.event.Type()
	}
	return text
}
