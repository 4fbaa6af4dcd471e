package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/credential"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// ackWait is the queue's AckWait on the stage, shorter than the default to keep
// the tests short. Workers read it from the queue.
const ackWait = 2 * time.Second

// stage is a server with an orchestrator that answers the requests of workers.
type stage struct {
	*bus.Bus // as the admin
	t        *testing.T
	js       jetstream.JetStream
	env      []string            // of the workers
	accounts brokertest.Accounts // if each role has an account of its own
	serving  *bus.Bus            // as an orchestrator
	stop     func()              // ends its answers
}

// newStage starts a stage on which each role has an account of its own, and the
// tool-worker may serve these tools only. It fails the test if a user sends a
// request that its permissions deny.
func newStage(t *testing.T, tools ...string) *stage {
	t.Helper()
	users := brokertest.RoleUsers(nil, tools)
	keys := credential.Dir(t.TempDir())
	const worker = string(topology.ToolWorker)
	key, err := keys.Key(worker)
	if err != nil {
		t.Fatal(err)
	}
	for i := range users {
		if users[i].Name == worker { // has a key, as `parley permissions` makes it
			users[i].Password, users[i].NKey = "", key
		}
	}
	accounts := brokertest.StartAccounts(t, topology.Plan{Shards: 2}, users)
	t.Cleanup(func() {
		for _, text := range accounts.Refused() {
			t.Errorf("a request was denied: %s", text)
		}
	})
	as := func(role topology.Role) bus.Config {
		return bus.Config{URL: accounts.URL, User: string(role), Password: brokertest.Password, InboxPrefix: accounts.Inbox(string(role))}
	}
	s := openStage(t, as(topology.Admin), as(topology.Orchestrator))
	s.accounts = accounts
	s.env = credential.Environment(accounts.Users[worker], accounts.URL, filepath.Join(string(keys), worker+".nk"), "")
	return s
}

// newPlainStage starts a stage on a server without accounts, for a user or a
// token. Workers find it in the URL, or in variables of their own.
func newPlainStage(t *testing.T, user *url.Userinfo, inURL bool) *stage {
	t.Helper()
	opts := &server.Options{ServerName: "stage", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()}
	if password, ok := user.Password(); ok {
		opts.Username, opts.Password = user.Username(), password
	} else {
		opts.Authorization = user.Username()
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
	cfg := bus.Config{URL: (&url.URL{Scheme: "nats", User: user, Host: ns.Addr().String()}).String()}
	s := openStage(t, cfg, cfg)
	s.env = []string{"NATS_URL=" + cfg.URL}
	if !inURL {
		s.env = []string{"NATS_URL=nats://" + ns.Addr().String(), "NATS_USER=" + opts.Username, "NATS_PASSWORD=" + opts.Password, "NATS_TOKEN=" + opts.Authorization}
	}
	return s
}

// openStage creates the streams as the admin, and answers requests as the
// orchestrator.
func openStage(t *testing.T, admin, orchestrator bus.Config) *stage {
	t.Helper()
	connect := func(cfg bus.Config, plan *topology.Plan) *bus.Bus {
		b, err := bus.Connect(t.Context(), cfg, plan)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	s := &stage{t: t, Bus: connect(admin, &topology.Plan{Shards: 2}), stop: func() {}}
	_, s.js = s.Raw()
	s.serving = connect(orchestrator, nil)
	s.answer()
	t.Cleanup(func() { s.stop() })
	return s
}

// answer answers the requests of workers as an orchestrator does, until stop.
func (s *stage) answer() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.serving.Deployment().ServeUsers(ctx, func() bool { return true }) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			s.t.Error(err)
		}
	})
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
