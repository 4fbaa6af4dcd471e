package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

func TestMain(m *testing.M) {
	// nats-server requests HISTORY's source on a goroutine that outlives its
	// shutdown.
	//
	// nats.go waits forever for a channel that it has replaced, when an object is
	// stored and the goroutine for it starts late.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// soon is the timeout for what should happen at once, on a busy machine too.
const soon = 10 * time.Second

// stage is a server; the test plays the orchestrator.
type stage struct {
	*bus.Bus
	t    *testing.T
	dir  string
	port int

	mu     sync.Mutex
	server *broker.Broker // nil while it is stopped
}

// newStage starts a server on which workers count as present for ttl.
func newStage(t *testing.T, ttl time.Duration) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir()}
	s.up()
	t.Cleanup(s.down)
	s.Bus = s.connect(&topology.Plan{})
	_, js := s.Raw()
	for _, cfg := range (topology.Plan{}).Buckets() {
		if cfg.Name == topology.BucketStream(topology.BucketPresence) {
			cfg.MaxAge, cfg.Duplicates = ttl, ttl
			_, err := js.UpdateStream(t.Context(), cfg)
			s.done(err)
		}
	}
	return s
}

// up starts the server, with its previous port and data.
func (s *stage) up() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	server, err := broker.Start(broker.Config{Dir: s.dir, Port: s.port})
	s.done(err)
	u, err := url.Parse(server.URL())
	s.done(err)
	s.port, err = strconv.Atoi(u.Port())
	s.done(err)
	s.server = server
}

func (s *stage) down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		_ = s.server.Stop() // a test cannot do anything about it
		s.server = nil
	}
}

// connect gives a connection of its own, as a process has one.
func (s *stage) connect(setup *topology.Plan) *bus.Bus {
	s.t.Helper()
	b, err := bus.Connect(s.t.Context(), bus.Config{URL: "nats://127.0.0.1:" + strconv.Itoa(s.port), Log: s.log()}, setup)
	s.done(err)
	s.t.Cleanup(b.Close)
	return b
}

func (s *stage) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (s *stage) done(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// run runs a worker until stop, which waits for its end.
func (s *stage) run(work func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- work(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(stop)
	return stop
}

// tools runs a tool worker on a connection of its own.
func (s *stage) tools(name string, tools ...tool.Tool) (*bus.Bus, func()) {
	s.t.Helper()
	registry, err := tool.New(tools...)
	s.done(err)
	b := s.connect(nil)
	w := &worker.Tool{Bus: b, Name: name, Log: s.log(), Tools: registry, Drain: 5 * time.Second}
	return b, s.run(w.Run)
}

// call is a tool call that the test requests.
type call struct {
	*stage
	job     *events.ToolJob
	lane    topology.Address
	subject string
}

// request decides on a call and publishes its job.
func (s *stage) request(name string, effect events.Effect, arguments string) *call {
	s.t.Helper()
	c := &call{stage: s, job: &events.ToolJob{Conversation: newID(), Turn: newID(), Call: newID(), Tool: name, Effect: effect, Arguments: json.RawMessage(arguments)}}
	c.lane = topology.OfCall(s.Shards(), c.job.Conversation, events.ChannelCall, c.job.Call)
	c.job.Subject = c.lane.Subject(topology.Conv)
	c.job.Output = topology.OfCall(s.Shards(), c.job.Conversation, events.ChannelOut, c.job.Call).Subject(topology.Conv)
	var err error
	c.subject, err = topology.ToolJob(name, c.job.Call)
	s.done(err)
	c.job.Decision = s.write(topology.At(s.Shards(), c.job.Conversation, events.ChannelTurn), 0,
		&events.Decision{State: events.State{Phase: events.PhaseCalling, Turn: c.job.Turn, Calls: []events.CallState{{Call: c.job.Call, Tool: name}}}})
	return c
}

// ackWait is the AckWait of the queues in these tests.
const ackWait = 1500 * time.Millisecond

// queue makes a queue with a shorter AckWait than the real one.
func (s *stage) queue(q topology.Queue, err error) {
	s.t.Helper()
	s.done(err)
	cfg := q.ConsumerConfig()
	cfg.AckWait = ackWait
	_, js := s.Raw()
	_, err = js.CreateOrUpdateConsumer(s.t.Context(), topology.StreamJobs, cfg)
	s.done(err)
}

func (c *call) publish() *call {
	c.t.Helper()
	c.queue(topology.ToolQueue(c.job.Tool))
	c.done(c.Jobs().Publish(c.t.Context(), c.job.Conversation, c.subject, c.job.Call, c.job))
	return c
}

// write appends to a lane.
func (s *stage) write(a topology.Address, after uint64, e events.Event) uint64 {
	s.t.Helper()
	frame, err := events.AppendFrame(nil, e)
	s.done(err)
	at, err := s.Lane(a).Append(s.t.Context(), after, frame)
	s.done(err)
	return at
}

// events returns the events of a lane.
func (s *stage) events(a topology.Address) (all []events.Event) {
	s.t.Helper()
	s.done(s.Shard(a.Shard).Read(s.t.Context(), 0, a.Subject(topology.Conv), func(m bus.Message) error {
		for _, l := range m.Lines {
			all = append(all, l.Event)
		}
		return m.Bad
	}))
	return all
}

// await waits until a lane holds an event of a type, and returns the first.
func await[E events.Event](s *stage, a topology.Address, within time.Duration) E {
	s.t.Helper()
	var found E
	s.eventually(within, func() bool {
		for _, e := range s.events(a) {
			if is, ok := e.(E); ok {
				found = is
				return true
			}
		}
		return false
	}, "the lane does not hold it")
	return found
}

// eventually polls ok and fails the test after a timeout.
func (s *stage) eventually(within time.Duration, ok func() bool, otherwise string) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(within); !ok(); <-tick.C {
		if time.Now().After(end) {
			s.t.Fatalf("after %v: %s", within, otherwise)
		}
	}
}

// gone waits until a job is acknowledged.
func (s *stage) gone(subject string, within time.Duration) {
	s.t.Helper()
	_, js := s.Raw()
	jobs, err := js.Stream(s.t.Context(), topology.StreamJobs)
	s.done(err)
	s.eventually(within, func() bool {
		_, err := jobs.GetLastMsgForSubject(s.t.Context(), subject)
		return errors.Is(err, jetstream.ErrMsgNotFound)
	}, "the job is not acknowledged")
}

// step is a tool that reports its runs and ends when the test lets it.
type step struct {
	name   string
	effect events.Effect
	runs   chan string        // call of each run
	end    chan error         // what each run ends with
	result func() tool.Result // may be nil
}

func newStep(name string, effect events.Effect) *step {
	return &step{name: name, effect: effect, runs: make(chan string, 1000), end: make(chan error, 1000)}
}

func (s *step) Spec() events.ToolSpec {
	return events.ToolSpec{Name: s.name, Effect: s.effect, Schema: json.RawMessage(`{"type":"object"}`)}
}

func (s *step) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	s.runs <- in.Call
	select {
	case err := <-s.end:
		if s.result != nil {
			return s.result(), err
		}
		return tool.Result{Content: "done"}, err
	case <-ctx.Done():
		return tool.Result{}, context.Cause(ctx)
	}
}

// next waits for the next value.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		t.Fatalf("nothing came in %v", soon)
		panic("unreachable")
	}
}
